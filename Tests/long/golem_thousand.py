#!/usr/bin/env python3
"""A thousand machines, three rounds, on the scripted daemon (Tests/testnet/crowd.py): how long, how much memory, how many calls.

    Tests/long/golem_thousand.py                             DEML and DEML_WORKER name the programs
    Tests/long/golem_thousand.py --machines 200 --seconds 20

A thousand workers on this computer would wait for each other, so the same run is made twice: first every job is done by the real
worker, at its leisure; then, measured, the daemon gives each machine the answer that the worker gave to the very same job (same
options, same bytes of weights and shard). What the requestor does is the same in both. It holds when the second run gives the
model of the first, nobody is blamed, everybody is paid, and time and memory are within the bounds. Not part of `make test`.
"""
import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
words.add_argument("--machines", type=int, default=1000)
words.add_argument("--rounds", type=int, default=3)
words.add_argument("--seconds", type=float, default=60, help="the measured run may take so long")
words.add_argument("--megabytes", type=float, default=600, help="and so much memory")
words.add_argument("--scratch", default="/tmp/deml-thousand")
options = words.parse_args()
os.environ["DEML_TEST_SCRATCH"] = options.scratch
sys.argv = sys.argv[:1]

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))
from golem_crowd import Crowd, first_task  # noqa: E402
from checks import SCRATCH, expect  # noqa: E402


def watched(run, limit):
    """Waits for the end of a run; its greatest memory in megabytes, and the processor time that it took in seconds."""
    most, used, end = 0, 0, time.time() + limit
    while run.process.poll() is None and time.time() < end:
        try:
            for line in Path(f"/proc/{run.process.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    most = max(most, int(line.split()[1]) / 1024)
            fields = Path(f"/proc/{run.process.pid}/stat").read_text().rpartition(")")[2].split()
            used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, IndexError):
            pass
        time.sleep(0.1)
    run.good(1)
    return most, used


def main():
    shutil.rmtree(SCRATCH, ignore_errors=True)
    SCRATCH.mkdir(parents=True)
    settings = {"workers": options.machines, "rounds": options.rounds, "local_epochs": 1, "budget": 1000}
    switches = {"offers": options.machines + options.machines // 5, "answers": SCRATCH / "answers"}
    with Crowd("prepared", **switches) as crowd:
        first = crowd.train(parallel=8, straggler_factor=1000, timeout=3600, **settings).good(3600)
        print(f"prepared by the worker in {first.seconds:.0f} s: {crowd.check(first)['worked']} jobs", flush=True)
    with Crowd("measured", **switches) as crowd:
        run = crowd.train(**settings)
        megabytes, cpu = watched(run, 20 * options.seconds)
        stats = crowd.check(run)
        expect(run.model() == first.model(), "the model of the first run, byte for byte")
        expect(stats["told_again"] >= options.machines * options.rounds, "every machine worked in every round", stats["told_again"])
        print(json.dumps({
            "machines": options.machines, "rounds": options.rounds, "seconds": round(run.seconds, 1),
            "first_task_after_seconds": round(first_task(run), 1), "cpu_seconds": round(cpu, 1),
            "megabytes": round(megabytes), "most_calls_open": stats["most_open"], "agreements": stats["agreements"],
            "worker_jobs_meanwhile": stats["worked"],
        }, indent=1), flush=True)
        expect(megabytes < options.megabytes, "memory", megabytes)
        expect(run.seconds < options.seconds, "time", run.seconds)
        print("1 passed, 0 failed")


if __name__ == "__main__":
    main()
