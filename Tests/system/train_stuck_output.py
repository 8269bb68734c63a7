#!/usr/bin/env python3
"""A run does not wait for whoever reads its output: a terminal stopped by Ctrl-S, a pager, a pipe that nobody empties.

1. deml train writes into a pipe that holds a few lines and is not read: the run ends all the same, and whoever reads the
   pipe afterwards finds every round and the ending.
2. Ctrl-C stops such a run, with its finished rounds saved.
"""

import fcntl
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

DEML = os.environ["DEML"]
SCRATCH = pathlib.Path(os.environ["DEML_TEST_SCRATCH"])
SECONDS = 60


def start(name, *options):
    """deml train with its output in the smallest pipe there is; a round's lines are 150 bytes."""
    (SCRATCH / "data.csv").write_text(
        "label,a,b\n" + "".join(f"{i % 2},{(i * 7 % 10) / 10 + i % 2},{(i * 3 % 10) / 10}\n" for i in range(100))
    )
    (SCRATCH / "run.yaml").write_text(
        "data: data.csv\nmodel: {input: {shape: [2]}, layers: [{type: linear, out_features: 2}], loss: cross_entropy}\n"
        "fleet: simulated\nworkers: 2\nlocal_epochs: 1\ncomparison: false\n"
    )
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    command = [DEML, "train", "run.yaml", "--output", name, *options]
    process = subprocess.Popen(command, cwd=SCRATCH, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    return process, os.fdopen(reader, "rb")


def wait(condition, what, process):
    end = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > end or process.poll() not in (None, 0):
            process.kill()
            sys.exit(f"stuck output: {what} within {SECONDS} s; code {process.wait()}, {process.stderr.read()}")
        time.sleep(0.05)


def rounds(name):
    path = SCRATCH / name / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


process, output = start("ends", "--rounds", "200")
wait((SCRATCH / "ends" / "summary.json").exists, "no summary.json", process)
text = output.read().decode()
assert process.wait(SECONDS) == 0, process.stderr.read()
assert json.loads((SCRATCH / "ends" / "summary.json").read_text())["rounds"] == 200
missing = [n for n in range(1, 201) if f"round {n:3}/200   accuracy" not in text]
assert not missing, f"rounds {missing} are not in the output:\n{text[-3000:]}"
assert text.rstrip().splitlines()[-1].startswith("  report ends/report.html"), text[-500:]
print("a run ends though nobody reads its output, and nothing of it is lost")

process, output = start("stops", "--rounds", "100000")
wait(lambda: rounds("stops") > 100, "not 100 rounds", process)
process.send_signal(signal.SIGINT)
events = SCRATCH / "stops" / "events.jsonl"
wait(lambda: b'"run_interrupted"' in events.read_bytes()[-2000:], "Ctrl-C had no effect", process)
text = output.read().decode()
assert process.wait(SECONDS) == 130, process.returncode
assert "go on with: deml train --resume stops" in text.splitlines()[-1], text[-500:]
print("Ctrl-C stops it too")
