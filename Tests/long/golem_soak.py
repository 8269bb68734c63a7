#!/usr/bin/env python3
"""Thousands of rounds on the test network, where providers fail, vanish and return, and our own daemon is restarted now and then.

    Tests/long/golem_soak.py --rounds 2000 --seed 0           an hour or so; DEML and DEML_WORKER name the programs

By a seed, so that a trouble comes again. It holds when the model is that of an undisturbed training, byte for byte; the table
of money, the daemon's invoices and `deml payments` agree to the last digit; nothing is left running; and the memory of the last
third is that of the second. Not part of `make test`; Tests/system/golem_faults.py looks at each trouble by itself.
"""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path

words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
words.add_argument("--rounds", type=int, default=2000)
words.add_argument("--seed", type=int, default=0)
words.add_argument("--providers", type=int, default=5)
words.add_argument("--pause", type=float, default=12.0, help="seconds between two troubles, on average")
words.add_argument("--restarts", type=float, default=0.06, help="which share of troubles is a restart of our own daemon")
words.add_argument("--scratch", default="/tmp/deml-soak")
options = words.parse_args()
os.environ["DEML_TEST_SCRATCH"] = options.scratch
sys.argv = sys.argv[:1]

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system/golem"))
from checks import DEML, SCRATCH, Run, Testnet, check_money, expect, on_golem, small_options  # noqa: E402

TROUBLES = [
    "--crash-after {n} --crash-kind agent", "--crash-after {n} --crash-kind exeunit", "--crash-after {n} --crash-kind reported",
    "--corrupt-output 1", "--hang-run {n}", "--reject-agreement", "--never-start", "--start-delay 3", "--cut-stdout 0.5",
    "--tell-twice", "--at-least 1",
]


class Troubles(threading.Thread):
    """Makes trouble until it is told to stop; what it did is in `log`."""

    def __init__(self, network):
        super().__init__(daemon=True)
        self.network, self.random, self.log, self.error = network, random.Random(options.seed), [], None
        self.over, self.started, self.late = threading.Event(), time.time(), 0

    def run(self):
        troubled = {}
        while not self.over.wait(self.random.expovariate(1 / options.pause)):
            try:
                if self.random.random() < options.restarts:
                    self.act("restart", "requestor", *(["kill"] if self.random.random() < 0.5 else []),
                             str(self.random.randint(1, 8)))
                    continue
                # At most two providers are in trouble at a time: a market with nobody in it is another test.
                who = self.random.randrange(options.providers)
                if who in troubled or len(troubled) >= 2:
                    who = self.random.choice(sorted(troubled))
                    del troubled[who]
                    self.act("provider", str(who))
                elif self.random.random() < 0.2:
                    troubled[who] = "gone"
                    self.act("without", str(who))
                else:
                    text = self.random.choice(TROUBLES).format(n=self.random.randint(1, 20))
                    troubled[who] = text
                    self.act("provider", str(who), *text.split())
            except (RuntimeError, OSError, ValueError) as error:
                # Where this computer is busy, a new offer is seen late: the agent is there, and the trouble is made.
                if "offers were seen" in str(error):
                    self.late += 1
                    continue
                self.error = f"{self.log[-1:]}: {error}"
                print(f"no more troubles: {self.error}", flush=True)
                return

    def act(self, *what):
        self.log.append((round(time.time() - self.started, 1), " ".join(what)))
        print(f"{self.log[-1][0]:8.1f} s  {self.log[-1][1]}", flush=True)
        self.network.control(*what)


def resident(pid):
    """Megabytes, or nothing once the process has gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return None


def owed(network):
    """What the daemon says was accepted: invoices and, of a provider that died before it sent one, the last debit note of
    each activity, which counts all before it."""
    accepted = ("ACCEPTED", "SETTLED")
    invoices = [i for i in network.control("invoices") if i["status"] in accepted]
    billed = {i["agreementId"] for i in invoices}
    notes = {}
    for note in network.control("debit-notes"):
        if note["status"] in accepted and note["agreementId"] not in billed:
            notes[note["activityId"]] = max(notes.get(note["activityId"], Decimal(0)), Decimal(note["totalAmountDue"]))
    return sum((Decimal(i["amount"]) for i in invoices), Decimal(0)) + sum(notes.values(), Decimal(0))


def main():
    SCRATCH.mkdir(parents=True, exist_ok=True)
    settings = {"rounds": options.rounds, "local_epochs": 1, "straggler_factor": 3}
    # In threads of one process: the same bytes in a tenth of the time.
    reference = Run("soak-local", [*small_options(**settings), "--on", "simulated", "--no-tensorboard"]).good(36_000)
    with Testnet(options.providers) as network:
        run = on_golem(network, "soak", small_options(**settings), budget=500, audit=0.1)
        troubles = Troubles(network)
        troubles.start()
        memory = []
        while run.process.poll() is None:
            memory.append(resident(run.process.pid))
            time.sleep(2)
        troubles.over.set()
        troubles.join()
        run.good(1)
        expect(troubles.error is None, "the network could be steered", troubles.error)
        expect(run.model() == reference.model(), "the model of an undisturbed training, byte for byte")

        check_money(network, run)
        daemon = owed(network)
        environment = network.environment(DEML_GOLEM_DATA=str(SCRATCH / "data/soak"))
        page = json.loads(subprocess.run([DEML, "payments", run.folder, "--json"], env=environment, check=True,
                                         capture_output=True, text=True).stdout)[0]
        expect(not page.get("note"), "the ledger is closed", page.get("note"))
        table = sum(Decimal(str(a["paid_glm"])) for a in run.summary()["agreements"])
        expect(abs(table - daemon) < Decimal("1e-12"), "table and daemon agree", (table, daemon))
        left = network.await_nothing_left(30)
        expect(not left, "nothing is left running or allocated", left)

        memory = [m for m in memory if m]
        third = len(memory) // 3
        second, last = statistics.median(memory[third:2 * third] or [0]), statistics.median(memory[2 * third:] or [0])
        expect(last < 1.15 * second + 5, "memory is flat", (second, last))
        failures = run.failures()
        kinds = {kind: sum(e["failure"] == kind for e in failures) for kind in {e["failure"] for e in failures}}
        print(json.dumps({
            "rounds": options.rounds, "seconds": round(run.seconds), "troubles": len(troubles.log),
            "offers seen late": troubles.late,
            "restarts": sum("requestor" in what for _, what in troubles.log), "failures": kinds,
            "agreements": len(run.summary()["agreements"]), "paid_glm": float(daemon),
            "megabytes": {"second third": round(second), "last third": round(last), "most": round(max(memory))},
        }, indent=1))
        print("1 passed, 0 failed")


if __name__ == "__main__":
    main()
