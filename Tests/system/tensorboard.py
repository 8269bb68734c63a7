#!/usr/bin/env python3
"""A run's curves as TensorBoard's own reader sees them: of an undisturbed run, and of one that was gone on with."""

import json
import os
import pathlib
import subprocess
import sys

SCRATCH = pathlib.Path(os.environ["DEML_TEST_SCRATCH"])
ROOT = pathlib.Path(__file__).resolve().parents[2]
DEML = os.environ["DEML"]
# Without what TensorBoard's page needs: only its reader is run. It lives beside the tests' other environment.
PACKAGES = ["--no-deps", "tensorboard==2.21.0", "protobuf==7.36.2", "numpy==2.4.6", "absl-py==2.5.1"]
READ = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
reader = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
reader.Reload()
print(json.dumps({tag: [[e.step, e.value, e.wall_time] for e in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}))
"""
failures = []


def check(what, holds):
    print(("ok   " if holds else "FAIL ") + what)
    if not holds:
        failures.append(what)


def deml(*arguments):
    subprocess.run([DEML, *map(str, arguments)], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def curves(python, run):
    out = subprocess.run([python, "-c", READ, run / "tensorboard"], check=True, capture_output=True, text=True).stdout
    return json.loads(out)


def near(first, second):
    return abs(first - second) <= 1e-6 * max(1, abs(second))


def main():
    python = subprocess.run(
        [ROOT / "tools/python-environment", os.environ.get("DEML_TENSORBOARD_FOLDER", ".venv-tensorboard"), *PACKAGES],
        check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout.strip()
    python = ROOT / python
    options = ["examples/mnist-mlp.yaml", "--on", "simulated", "--local-epochs", 1, "--validation-fraction", 0.1]
    deml("train", *options, "--rounds", 3, "--output", SCRATCH / "whole")
    deml("train", *options, "--rounds", 2, "--output", SCRATCH / "parts", "--no-comparison")
    deml("train", "--resume", SCRATCH / "parts", "--rounds", 3)
    for name in ("whole", "parts"):
        run = SCRATCH / name
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        scalars = curves(python, run)
        for tag, key in [("test/accuracy", "accuracy"), ("test/loss", "loss"), ("train/loss", "train_loss"),
                         ("validation/accuracy", "validation_accuracy"), ("round/update_norm", "update_norm")]:
            points = {step: value for step, value, _ in scalars.get(tag, [])}
            check(f"{name}: {tag} has a point a round", [s for s in points if s > 0] == [1, 2, 3]
                  and len(points) == len(scalars[tag]))
            check(f"{name}: {tag} is that of metrics.jsonl",
                  all(near(points[line["round"]], line[key]) for line in lines[1:]))
        check(f"{name}: the untrained model is there", near(scalars["test/loss"][0][1], lines[0]["loss"]))
        check(f"{name}: measures too", near(scalars["test/roc_auc"][-1][1], lines[-1]["metrics"]["roc_auc"]))
        times = [time for _, _, time in scalars["test/loss"]]
        check(f"{name}: times go forward", times == sorted(times) and times[0] > 1.6e9)
    summary = json.loads((SCRATCH / "whole/summary.json").read_text())
    place = summary["comparison"]["one_place"]["curve"]
    scalars = curves(python, SCRATCH / "whole")
    check("the comparison is drawn", [round(v, 6) for _, v, _ in scalars["comparison/one_place/accuracy"]]
          == [round(point["accuracy"], 6) for point in place])
    deml("train", *options, "--rounds", 1, "--output", SCRATCH / "without", "--no-comparison", "--no-tensorboard")
    check("--no-tensorboard writes none", not (SCRATCH / "without/tensorboard").exists())
    print(f"{0 if failures else 1} passed, {len(failures)} failed")
    sys.exit(bool(failures))


main()
