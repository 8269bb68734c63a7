#!/usr/bin/env python3
"""A round of two thousand simulated clients takes the memory of a few models, not of two thousand deltas."""
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

DEML = os.environ["DEML"]
SCRATCH = Path(os.environ["DEML_TEST_SCRATCH"])
ROOT = Path(__file__).resolve().parents[2]
CLIENTS = 2000
# The deltas alone would be 1.6 GB: 199,210 parameters of four bytes, two thousand times.
LIMIT_MB = 300

run = SCRATCH / "run"
command = [DEML, "train", "examples/mnist-2nn.yaml", "--workers", str(CLIENTS), "--fraction", "1", "--rounds", "2",
           "--no-comparison", "--output", str(run)]
result = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
failures = 0


def check(what, holds, found):
    global failures
    failures += not holds
    print(f"{'ok   ' if holds else 'FAIL '} {what}: {found}", file=sys.stdout if holds else sys.stderr)


check("the run ends well", result.returncode == 0, result.stderr[-2000:] or "no word of error")
check(f"at most {LIMIT_MB} MB", peak_mb <= LIMIT_MB, f"{peak_mb:.0f} MB")
if result.returncode == 0:
    rounds = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    check("every client counts", [r["answers"] for r in rounds] == [0, CLIENTS, CLIENTS], [r["answers"] for r in rounds])
    check("it learns", rounds[-1]["loss"] < rounds[0]["loss"], [round(r["loss"], 4) for r in rounds])
    files = sorted(path.name for path in (run / "rounds/0002").iterdir())
    check("a round is a few files", files == ["reports.jsonl", "round.json", "weights.safetensors"], files)
    reports = [json.loads(line) for line in (run / "rounds/0002/reports.jsonl").read_text().splitlines()]
    check("a line a client, in order", [r["client"] for r in reports] == list(range(CLIENTS)), len(reports))
print(f"{'no' if not failures else failures} failed")
sys.exit(1 if failures else 0)
