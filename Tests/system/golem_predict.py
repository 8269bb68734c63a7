#!/usr/bin/env python3
"""The twin on real daemons: predictions by rented machines are the bytes of this one, whoever dies, lies or is killed.

    Tests/system/golem_predict.py                   all
    Tests/system/golem_predict.py honest            only those

What README.md tells a reader to type is what is run here, with a test network's prices:

    deml predict --model runs/first --data mnist --on golem --output answers.csv
    deml evaluate --model runs/first --on golem
    deml generate --model runs/text --prompt 'MENENIUS:' --on golem
"""
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "golem"))
from checks import (DEML, SCRATCH, TREE, Run, Testnet, check_money, check_nothing_left, expect, image,  # noqa: E402
                    run_all, small_mnist)

MODEL = """\
input: {shape: [1, 28, 28], divide_by: 255}
layers:
  - {type: conv2d, out_channels: 16, kernel_size: 5, padding: 2}
  - {type: relu}
  - {type: max_pool2d, kernel_size: 2}
  - {type: conv2d, out_channels: 32, kernel_size: 5, padding: 2}
  - {type: relu}
  - {type: max_pool2d, kernel_size: 2}
  - {type: flatten}
  - {type: linear, out_features: 10}
loss: cross_entropy
"""
# MNIST's 10,000 test images; with DEML_TEST_SPLIT=train its 60,000, and shards as they are cut for those who do not say.
DATA = "mnist"
SPLIT = ["--split", os.environ.get("DEML_TEST_SPLIT") or "test"]
SHARD = [] if "DEML_TEST_SPLIT" in os.environ else ["--shard-rows", "556"]


def deml(*words):
    done = subprocess.run([DEML, *map(str, words)], capture_output=True, text=True, timeout=300, cwd=SCRATCH,
                          stdin=subprocess.DEVNULL)
    expect(done.returncode == 0, f"deml {words[0]} ended with {done.returncode}", done.stderr[-2000:])
    return done.stdout


def model():
    """A network that has learned something, and what it says here, in this process."""
    folder = SCRATCH / "run"
    if not folder.exists():
        (SCRATCH / "cnn.yaml").write_text(MODEL)
        deml("train", "--data", small_mnist(), "--model", SCRATCH / "cnn.yaml", "--on", "simulated", "--rounds", 1,
             "--local-epochs", 1, "--no-comparison", "--no-tensorboard", "--output", folder)
        deml("predict", "--model", folder, "--data", DATA, *SPLIT, "--count", 0, "--output", SCRATCH / "here.csv")
        (SCRATCH / "here.json").write_text(deml("evaluate", "--model", folder, "--data", DATA, *SPLIT, "--json"))
    return folder / "best.safetensors"


class Predict(Run):
    """One `deml predict --on golem --json`, started at once."""

    def __init__(self, network, name, *words, command="predict", data=None, **options):
        self.folder = SCRATCH / f"{name}.csv"
        self.work = SCRATCH / f"{name}.work"
        self.output = SCRATCH / f"{name}.txt"
        self.started = time.time()
        self.marks = [len(network.log(i)) for i in range(3)]
        options = {"budget": 2, "start-timeout": 60, "min-machines": 3, "image": image(), "threads": 1,
                   **{k.replace("_", "-"): v for k, v in options.items()}}
        options["work"] = self.work
        more = [str(x) for key, value in options.items() for x in (f"--{key}", value)]
        output = ["--output", str(self.folder)] if command == "predict" else []
        self.errors = open(self.output, "a")
        self.process = subprocess.Popen(
            [DEML, command, "--model", model(), "--data", DATA, *SPLIT, *words, *SHARD, "--on", "golem", *output, *more,
             "--json"],
            env=network.environment(DEML_GOLEM_DATA=str(SCRATCH / "data" / (data or name))), cwd=SCRATCH, text=True,
            stdout=subprocess.PIPE, stderr=self.errors, stdin=subprocess.DEVNULL)

    def wait(self, timeout=240):
        super().wait(timeout)
        self.said = self.process.stdout.read()
        return self

    def summary(self):
        return json.loads(self.said.splitlines()[-1])

    def done(self):
        """Shards that are done."""
        return sorted(p.name for p in (self.work / "done").glob("*.safetensors"))

    def await_done(self, count, timeout=60):
        end = time.time() + timeout
        while len(self.done()) < count:
            expect(self.process.poll() is None, f"it ended before {count} shards were done", self.text()[-2000:])
            expect(time.time() < end, f"no {count} shards within {timeout} s", self.text()[-2000:])
            time.sleep(0.05)


def same_rows(run):
    ours, here = run.folder.read_bytes(), (SCRATCH / "here.csv").read_bytes()
    expect(ours == here, "the very file that this machine writes", (len(ours), len(here)))
    expect(not run.work.exists(), "nothing is left of the work", list(run.work.glob("*")))


def faults(network, **switches):
    network.control("providers")
    for name, text in switches.items():
        network.control("provider", name[1:], *text.split())


def lines_of(run, provider):
    return [a for a in run.summary()["agreements"] if a["provider"]["name"] == provider]


def figures(network, run):
    """What it took, and where the time of each machine went: computing, the rest of the worker's run (starting, files), the
    provider's transfers, and what is left, in which the machine waited for us."""
    summary, parts, busiest = run.summary(), [], 0.0
    work = summary["work_seconds"]
    for i in range(3):
        log = network.log(i)[run.marks[i]:]
        told = next((m for m in summary["machines"] if m["provider"]["name"] == f"provider-{i}"), None)
        if not told:
            continue
        ran = sum(float(s) for s in re.findall(r"\] ran for ([0-9.]+) s", log))
        moved = sum(float(s) for s in re.findall(r"\] transfer (?:in|out) \d+ B in ([0-9.]+) s", log))
        computing = told["computing_seconds"]
        busiest = max(busiest, ran + moved)
        parts.append(f"provider-{i} {told['rows']} rows in {told['shards']} shards: {computing:.2f} s computing, {ran - computing:.2f} s "
                     f"besides, {moved:.2f} s transfers, {work - ran - moved:.2f} s waiting")
    return f"{run.seconds:.1f} s, {work:.2f} s of work, {work - busiest:.2f} s beyond the busiest machine's runs and transfers; " + "; ".join(parts)


def cases(network):
    def honest():
        """Three honest providers: the bytes, the money, and the model once to each."""
        faults(network)
        sent = rf"transfer in {model().stat().st_size} B"
        before = [len(re.findall(sent, network.log(i))) for i in range(3)]
        run = honest.run = Predict(network, "honest").good()
        same_rows(run)
        text = run.text()
        expect("likely below" in text and "worst case" in text, "what it may cost is said before", text[:2000])
        summary = run.summary()
        expect(sum(m["rows"] for m in summary["machines"]) == summary["rows"], "each row once", summary["machines"])
        expect(len(summary["machines"]) == 3, "three providers worked", summary["machines"])
        audits = summary["audits"]
        expect(audits["audited"] == audits["answers"] >= 9 and audits["mismatches"] == 0, "rows of all were looked at",
               audits)
        invoices = check_money(network, run)
        expect(len(invoices) == 3 and all(invoices.values()), "three invoices", invoices)
        after = [len(re.findall(sent, network.log(i))) for i in range(3)]
        expect([a - b for a, b in zip(after, before)] == [1, 1, 1], "each provider got the model once", (before, after))
        check_nothing_left(network)
        return figures(network, run)

    def settled():
        """The three invoices of the honest run, by now."""
        wanted, end = {a["agreement"] for a in honest.run.summary()["agreements"]}, time.time() + 60
        while True:
            statuses = [i["status"] for i in network.control("invoices") if i["agreementId"] in wanted]
            if statuses == ["SETTLED"] * 3 or time.time() > end:
                break
            time.sleep(0.5)
        expect(statuses == ["SETTLED"] * 3, "all invoices are settled", statuses)
        return f"{len(statuses)} invoices settled"

    def trouble():
        """In one run a provider that is honest at first and then turns rows round, and one that dies in the middle."""
        faults(network, p0="--tamper rows:0.3 --tamper-from 2", p1="--crash-after 3 --crash-kind reported")
        run = Predict(network, "trouble").good()
        same_rows(run)
        summary = run.summary()
        blamed = [p["provider"]["name"] for p in summary["audits"]["providers"] if p["mismatches"] or p["false_refusals"]]
        expect(blamed == ["provider-0"], "who lied is found, and nobody else is blamed", summary["audits"])
        rows = {m["provider"]["name"]: m["rows"] for m in summary["machines"]}
        expect(rows.get("provider-0", 0) == 0, "nothing of it is in the answer", rows)
        expect(lines_of(run, "provider-0") and all(a["paid_glm"] == 0 for a in lines_of(run, "provider-0")),
               "and it is not paid", lines_of(run, "provider-0"))
        expect(all(a["paid_glm"] == a["billed_glm"] > 0 for a in lines_of(run, "provider-2")), "honest work is paid",
               lines_of(run, "provider-2"))
        expect("provider-1" in run.text() and "given to another worker" in run.text(), "the loss is told",
               run.text()[-2000:])
        check_money(network, run)
        check_nothing_left(network)
        return figures(network, run)

    def killed():
        """`kill -9` in the middle: the same command goes on, to the very measures of this machine; of 60,000 images to the
        very file."""
        command = "evaluate" if SHARD else "predict"
        faults(network, p0="--at-least 0.7", p1="--at-least 0.7", p2="--at-least 0.7")
        run = Predict(network, "killed", command=command, min_machines=1)
        run.await_done(2)
        run.process.send_signal(signal.SIGKILL)
        run.wait()
        before = run.done()
        expect(len(before) >= 2, "shards are done", before)
        faults(network)
        again = Predict(network, "killed", command=command, min_machines=1).good()
        if command == "evaluate":
            expect(again.said == (SCRATCH / "here.json").read_text(), "the same measures, bit by bit", again.said[:500])
        else:
            same_rows(again)
        expect(f"{len(before)} shards done before" in again.text(), "what was done is not done again",
               again.text()[-2000:])
        left = {k: v for k, v in network.await_nothing_left(5).items() if k != "demands"}
        expect(not left, "what the killed one left is released", left)
        network.forget_demands()
        accepted = [i for i in network.control("invoices") if i["status"] in ("ACCEPTED", "SETTLED")]
        expect(len({i["agreementId"] for i in accepted}) == len(accepted), "no agreement is paid twice", accepted)
        return f"{len(before)} shards before, then {again.seconds:.1f} s"

    def text():
        """A text is written by the one provider that writes it as it is; two that turn it round are found and not paid."""
        faults(network, p0="--tamper rows:1", p1="--tamper rows:1")
        (SCRATCH / "fox.txt").write_text("the quick brown fox jumps over the lazy dog.\n" * 80)
        folder = SCRATCH / "text"
        deml("train", "--data", "fox.txt", "--text", "{block: 24, stride: 5}", "--on", "simulated", "--workers", 1,
             "--rounds", 1, "--local-epochs", 2, "--no-comparison", "--no-tensorboard", "--output", folder)
        asked = ["generate", "--model", folder, "--prompt", "the quick ", "--tokens", 200, "--seed", 3]
        here = deml(*asked)
        expect(len(here) >= 210, "a text", here)
        environment = network.environment(DEML_GOLEM_DATA=str(SCRATCH / "data" / "text"))
        done = subprocess.run(
            [DEML, *map(str, asked), "--on", "golem", "--machines", "1", "--budget", "2", "--start-timeout", "60",
             "--image", image(), "--work", SCRATCH / "text.work"], env=environment, cwd=SCRATCH, text=True, timeout=240,
            capture_output=True, stdin=subprocess.DEVNULL)
        expect(done.returncode == 0, f"deml generate ended with {done.returncode}", done.stderr[-2000:])
        expect(done.stdout == here, "the very text that this machine writes", (done.stdout[:200], here[:200]))
        expect("provider-2" in done.stderr and "recomputed here" in done.stderr, "who wrote it, and that it was looked at",
               done.stderr)
        expect("likely below" in done.stderr, "what it may cost is said before", done.stderr)
        expect(not (SCRATCH / "text.work").exists(), "nothing is left of the work")
        wrong = done.stderr.count("provider-0") + done.stderr.count("provider-1")
        check_nothing_left(network)
        faults(network)
        return f"{len(here)} characters; " + ("liars were met" if wrong else "no liar was met")

    return [("honest", honest), ("trouble", trouble), ("killed", killed), ("text", text), ("settled", settled)]


if __name__ == "__main__":
    if "settled" in sys.argv and "honest" not in sys.argv:
        sys.argv.append("honest")
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with Testnet(3) as net:
        sys.exit(run_all(cases(net)))
