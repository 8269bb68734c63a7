#!/usr/bin/env python3
"""Who is believed, blamed and paid, on real daemons: honest work always, work that is wrong or missing never.

    Tests/system/golem_verdicts.py                   all
    Tests/system/golem_verdicts.py lost-stdout       only those
"""
import resource
import sqlite3
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "golem"))
from checks import (SCRATCH, Testnet, check_money, check_nothing_left, expect, local_reference, on_golem,  # noqa: E402
                    run_all, small_options)

REFERENCE = {}
LIGHT = """\
input: {shape: [1, 28, 28], divide_by: 255}
layers: [{type: flatten}, {type: linear, out_features: 10}]
loss: cross_entropy
"""
HEAVY = """\
input: {shape: [1, 28, 28], divide_by: 255}
layers:
  - {type: conv2d, out_channels: 16, kernel_size: 3, padding: 1}
  - {type: relu}
  - {type: conv2d, out_channels: 32, kernel_size: 3, padding: 1}
  - {type: relu}
  - {type: max_pool2d, kernel_size: 2}
  - {type: flatten}
  - {type: linear, out_features: 10}
loss: cross_entropy
"""


def reference(name="local", **changes):
    if name not in REFERENCE:
        REFERENCE[name] = local_reference(name, **changes).model()
    return REFERENCE[name]


def faults(network, **switches):
    """New agents with these switches (`p0="--slow 10"`), every other one without a fault."""
    network.control("providers")
    for name, text in switches.items():
        network.control("provider", name[1:], *text.split())


def same_model(run, name="local", **changes):
    expect(run.model() == reference(name, **changes), "the model of an undisturbed run, byte for byte")


def lines_of(run, provider):
    """The lines of the table of costs that are a provider's."""
    return [a for a in run.summary()["agreements"] if a["provider"]["name"] == provider]


def paid_in_full(run, *providers):
    for name in providers:
        for line in lines_of(run, name):
            expect(line["state"] in ("accepted", "settled") and line["paid_glm"] == line["billed_glm"] > 0,
                   f"{name} is paid what it billed", line)


def nobody_failed(run):
    expect(not run.failures(), "no attempt failed", [(e["provider"], e["message"]) for e in run.failures()])


def remembered(data):
    """What the provider memory in a data folder holds, by name."""
    with sqlite3.connect(f"file:{SCRATCH / 'data' / data / 'providers.sqlite'}?mode=ro", uri=True) as database:
        database.row_factory = sqlite3.Row
        return {row["name"]: dict(row) for row in database.execute("SELECT * FROM provider")}


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cases(network):
    def lost_stdout():
        """What a program prints is for eyes only: cut short, drowned in empty lines, told twice."""
        faults(network, p0="--cut-stdout 0.95", p1="--stdout-lines 3000000", p2="--tell-twice --cut-stdout 0")
        reference()
        before = cpu_seconds()
        run = on_golem(network, "stdout", small_options(), min_machines=3).good()
        spent = cpu_seconds() - before
        same_model(run)
        nobody_failed(run)
        check_money(network, run)
        paid_in_full(run, "provider-0", "provider-1", "provider-2")
        expect(spent < 60, "empty lines cost no time to speak of", f"{spent:.1f} s of processor time")
        check_nothing_left(network)
        return f"{run.seconds:.1f} s, {spent:.1f} s of processor time"

    def light_then_heavy():
        """A light model first, a heavy one on the same machines: what is remembered of their speed is of work."""
        faults(network)
        light = SCRATCH / "light.yaml"
        light.write_text(LIGHT)
        on_golem(network, "light", small_options(model=light, local_epochs=1, rounds=2), data="speed").good()
        expect(len(remembered("speed")) >= 2, "speeds are remembered", remembered("speed"))
        heavy = SCRATCH / "heavy.yaml"
        heavy.write_text(HEAVY)
        run = on_golem(network, "heavy", small_options(model=heavy, local_epochs=1, rounds=1), data="speed").good()
        same_model(run, "local-heavy", model=heavy, local_epochs=1, rounds=1)
        nobody_failed(run)
        check_money(network, run)
        paid_in_full(run, *{a["provider"]["name"] for a in run.summary()["agreements"]})
        check_nothing_left(network)
        return f"{run.seconds:.1f} s"

    def own_disk_full():
        """Our own disk: the run ends with 74, and nobody who worked is blamed or unpaid."""
        faults(network, p0="--at-least 2", p1="--at-least 2", p2="--at-least 2")
        disk = SCRATCH / "runs" / "full"
        disk.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(disk)], check=True)
        try:
            before = {i["invoiceId"] for i in network.control("invoices")}
            run = on_golem(network, "full", small_options(rounds=5), min_machines=3)
            run.await_event(lambda e: e["event"] == "attempt_started" and e["round"] == 2, "task of round 2")
            with open(disk / "filler", "wb", buffering=0) as filler:
                try:
                    while True:
                        filler.write(bytes(1 << 16))
                except OSError:
                    pass
                try:
                    while True:
                        filler.write(bytes(64))
                except OSError:
                    pass
            run.wait(120)
            expect(run.code == 74, "the exit code for a disk that is full", (run.code, run.text()[-1500:]))
            expect("No space left" in run.text() or "free some space" in run.text(), "and it says so", run.text()[-800:])
            check_nothing_left(network)
            invoices = [i for i in network.control("invoices") if i["invoiceId"] not in before]
            expect(len(invoices) >= 3 and all(i["status"] in ("ACCEPTED", "SETTLED") for i in invoices),
                   "all who worked are paid", [(i["status"], i["amount"]) for i in invoices])
            blamed = {k: v for k, v in remembered("full").items() if v["failures"] > 0}
            expect(not blamed, "nobody is blamed", blamed)
            return f"{run.seconds:.1f} s; {[x for x in run.text().splitlines() if x.startswith('error')][:1]}"
        finally:
            subprocess.run(["umount", "-l", str(disk)])

    def output_full():
        """A provider without room for what the work gives is left and remembered, the others do its work."""
        faults(network, p0="--output-size 64k")
        run = on_golem(network, "no-room", small_options(straggler_factor=0), min_machines=3).good()
        same_model(run)
        expect(run.failures("provider-0"), "provider-0 could not deliver")
        check_money(network, run)
        bad = lines_of(run, "provider-0")
        # On a slow computer one more machine than wanted may be rented of it for a moment, and is paid for its time.
        failed = [a for a in bad if "No space left" in a.get("reason", "")]
        expect(failed and all(a["paid_glm"] == 0 for a in failed), "what did not deliver is not paid", bad)
        expect(all(a["tasks"] == 0 for a in bad), "and nothing else was done there", bad)
        paid_in_full(run, "provider-1", "provider-2")
        memory = remembered("no-room")
        expect(memory["provider-0"]["failures"] > 0, "it is remembered", memory)
        expect(memory["provider-1"]["failures"] == memory["provider-2"]["failures"] == 0, "nobody else is", memory)
        check_nothing_left(network)
        return f"{run.seconds:.1f} s; {run.failures('provider-0')[0]['message'][:90]}"

    def refuser():
        """A provider that answers every job with a refusal is left and unpaid as soon as another does the work."""
        faults(network, p0="--refuse labels_reach_12")
        run = on_golem(network, "refuser", small_options(straggler_factor=0), min_machines=3).good()
        same_model(run)
        seen = run.failures("provider-0")
        expect(len(seen) == 1 and "labels reach 12" in seen[0]["message"], "it was believed once, at most", seen)
        check_money(network, run)
        expect(all(a["paid_glm"] == 0 for a in lines_of(run, "provider-0")), "and is not paid",
               lines_of(run, "provider-0"))
        paid_in_full(run, "provider-1", "provider-2")
        memory = remembered("refuser")
        expect(memory["provider-0"]["failures"] >= 1.5, "it is remembered", memory)
        check_nothing_left(network)
        return f"{run.seconds:.1f} s"

    def lies(name, audit="auto", **kinds):
        """Providers that send wrong values with right digests: `p0="scaled:-3"`."""
        liars = sorted(f"provider-{key[1:]}" for key in kinds)

        def case():
            faults(network, **{key: f"--tamper {kind}" for key, kind in kinds.items()})
            run = on_golem(network, name, [*small_options(straggler_factor=0), "--audit", audit], min_machines=3).good()
            same_model(run)
            audits = run.summary()["audits"]
            blamed = sorted(p["provider"]["name"] for p in audits["providers"] if p["mismatches"] or p["false_refusals"])
            expect(blamed == liars, "who lied is found, and nobody else is blamed", audits)
            check_money(network, run)
            for liar in liars:
                expect(lines_of(run, liar) and all(a["paid_glm"] == 0 for a in lines_of(run, liar)),
                       "wrong work is not paid", lines_of(run, liar))
                expect(remembered(name)[liar]["failures"] >= 1.5, "it is remembered", remembered(name))
            paid_in_full(run, *{a["provider"]["name"] for a in run.summary()["agreements"]} - set(liars))
            expect("mismatch" in run.text(), "the table at the end says so", run.text()[-1500:])
            told = {e["provider"]["name"] for e in run.events("audited") if e["verdict"] == "wrong"}
            expect(sorted(told) == liars, "the journal tells each", run.events("audited"))
            check_nothing_left(network)
            return (f"{run.seconds:.1f} s; {audits['audited']} of {audits['answers']} audited, "
                    f"{audits['rounds_redone']} rounds again")
        return name, case

    def honest():
        """Three honest providers: audits change nothing, and the run waits for none that was merely drawn."""
        faults(network)
        run = on_golem(network, "honest", small_options(), min_machines=3).good()
        same_model(run)
        nobody_failed(run)
        audits = run.summary()["audits"]
        expect(audits["policy"] == "auto" and audits["audited"] >= 1 and audits["mismatches"] == 0, "audits by default",
               audits)
        check_money(network, run)
        paid_in_full(run, "provider-0", "provider-1", "provider-2")
        check_nothing_left(network)
        return f"{run.seconds:.1f} s; {audits['audited']} of {audits['answers']} audited"

    return [("honest", honest), lies("scaled", p0="scaled:-3"), lies("zero-random", p0="zero", p1="random"),
            lies("huge-replayed", p0="huge", p1="replayed"), lies("copied", p0="copied"),
            lies("less", audit="all", p0="less"), ("refuser", refuser), ("lost-stdout", lost_stdout),
            ("light-then-heavy", light_then_heavy), ("own-disk-full", own_disk_full), ("output-full", output_full)]


if __name__ == "__main__":
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with Testnet(3) as net:
        sys.exit(run_all(cases(net)))
