#!/usr/bin/env python3
"""A market of thousands of offers and a run on a hundred machines, on a scripted daemon (Tests/testnet/crowd.py).

    Tests/system/golem_crowd.py                     all
    Tests/system/golem_crowd.py offers twin         only those
"""
import json
import os
import resource
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "golem"))
from checks import SCRATCH, TREE, WORKER, Failed, Run, expect, run_all, small_options  # noqa: E402

PYTHON = subprocess.run(
    [TREE / "tools/python-environment", TREE / ".venv-crowd", "aiohttp", "flatbuffers", "uvloop"], check=True,
    stdout=subprocess.PIPE, text=True).stdout.strip()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Crowd:
    """The scripted daemon, while a case needs it."""

    def __init__(self, name, **switches):
        self.name = name
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        words = []
        for key, value in switches.items():
            words += [f"--{key}", str(value)]
        SCRATCH.mkdir(parents=True, exist_ok=True)
        self.log = open(SCRATCH / f"crowd-{name}.log", "w")
        # As many files as it needs, whatever the shell allows.
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self.process = subprocess.Popen(
            [PYTHON, TREE / "Tests/testnet/crowd.py", "--port", str(self.port), "--worker", WORKER,
             "--root", SCRATCH / f"crowd-{name}", *words], stdout=self.log, stderr=subprocess.STDOUT,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard)))

    def __enter__(self):
        end = time.time() + 30
        while True:
            try:
                return self.get("/me") and self
            except OSError:
                if time.time() > end or self.process.poll() is not None:
                    raise Failed(f"the scripted daemon does not come up: {self.log.name}")
                time.sleep(0.1)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=30) as reply:
            return json.load(reply)

    def train(self, budget=5, **changes):
        environment = {**os.environ, "YAGNA_API_URL": self.url, "YAGNA_APPKEY": "key", "YAGNA_PAYMENT_NETWORK": "hoodi",
                       "YAGNA_SUBNET": "public", "DEML_GOLEM_DATA": str(SCRATCH / f"crowd-data-{self.name}")}
        return Run(f"crowd-{self.name}", [
            *small_options(**changes), "--on", "golem", "--image-url", "http://127.0.0.1/x.gvmi",
            "--image-hash", "0" * 56, "--budget", str(budget)], environment)

    def check(self, run):
        """All is paid, nothing is left, nobody is blamed."""
        expect(not run.failures(), "nobody is blamed", run.failures()[:3])
        stats = self.get("/_stats")
        expect(not any(stats["left"].values()), "nothing is left running or allocated", stats["left"])
        expect(set(stats["bills"]) == {"ACCEPTED"}, "every bill is accepted", stats["bills"])
        return stats


def peak_megabytes():
    """Of the largest child so far."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def first_task(run):
    events = run.events()
    begun = next(e for e in events if e["event"] == "run_started")
    task = next(e for e in events if e["event"] == "attempt_started")
    return seconds_between(begun, task)


def seconds_between(first, second):
    from datetime import datetime
    return (datetime.fromisoformat(second["time"].replace("Z", "+00:00"))
            - datetime.fromisoformat(first["time"].replace("Z", "+00:00"))).total_seconds()


def offers():
    """Of thousands, the cheapest are taken, and soon."""
    with Crowd("offers", offers=4000, spread=1, dear=0.2) as crowd:
        run = crowd.train(workers=3, rounds=1).good()
        stats = crowd.check(run)
        ranks = [stats["prices"].index(p) for p in stats["rented_prices"]]
        market = [e for e in run.events("fleet_notice") if e.get("details", {}).get("kind") == "market"]
        expect(market and any("too dear" in e["details"]["refused"] for e in market), "the market is told of", market[:2])
        expect(stats["rejects"] == 0, "offers that are not taken are left alone", stats["rejects"])
        expect(max(ranks) < 400, "the cheap ones are taken", ranks)
        return f"ranks {ranks} of 4000, first task after {first_task(run):.1f} s"


def twin():
    """A node's later, dear offer does not take the place of its cheap one."""
    with Crowd("twin", offers=3, twin="1,1,9") as crowd:
        run = crowd.train(workers=3, rounds=1).good(60)
        stats = crowd.check(run)
        return f"{stats['agreements']} agreements"


def slow():
    """Providers that answer late are doubled, and no more are rented than are wanted."""
    with Crowd("slow", offers=200, latency=6) as crowd:
        run = crowd.train(workers=3, rounds=1).good(120)
        stats = crowd.check(run)
        expect(stats["activities"] <= 4, "no more are rented than are wanted", stats["activities"])
        return f"{stats['activities']} machines for 3, {stats['agreements']} agreements"


def machines():
    """A hundred machines: three rounds, bounded connections, nobody blamed for our own limits."""
    with Crowd("machines", offers=300) as crowd:
        run = crowd.train(workers=100, rounds=3, **{"local-epochs": 1}).good(200)
        stats = crowd.check(run)
        # Each machine that works holds one long poll and a way for each file; the rest is shared.
        expect(stats["most_open"] < 250, "connections are bounded", stats["most_open"])
        return f"{run.seconds:.1f} s, at most {stats['most_open']} calls open, {peak_megabytes():.0f} MB"


if __name__ == "__main__":
    sys.exit(run_all([("offers", offers), ("twin", twin), ("slow", slow), ("machines", machines)]))
