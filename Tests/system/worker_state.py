#!/usr/bin/env python3
"""A training that is killed in the middle of an epoch, again and again, goes on from its state file: same delta as one
that was left alone. A state of another job and a damaged one are not gone on with."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
SCRATCH = pathlib.Path(os.environ["DEML_TEST_SCRATCH"])
OPTIONS = ["--epochs", "2", "--batch-size", "5", "--optimizer", "adam", "--accumulate-steps", "2",
           "--clip-grad-norm", "0.5", "--schedule", '{"type": "cosine", "t_max": 4000, "warmup_steps": 50}',
           "--threads", "2"]  # fmt: skip
failed = 0


def check(condition, what):
    global failed
    print(f"{'ok   ' if condition else 'FAIL '} {what}", file=sys.stdout if condition else sys.stderr)
    failed += not condition


def start(name, *options):
    """The worker on its way; delta and report are called `name`."""
    command = [os.environ["DEML_WORKER"], "train", "--weights", SCRATCH / "weights.safetensors",
               "--shard", SCRATCH / "shard.safetensors.gz", "--delta", SCRATCH / f"{name}.safetensors.gz",
               "--report", SCRATCH / f"{name}.json", *OPTIONS, *options]  # fmt: skip
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def finish(name, *options):
    """The delta's bytes and the report."""
    assert start(name, *options).wait() == 0
    return (SCRATCH / f"{name}.safetensors.gz").read_bytes(), json.loads((SCRATCH / f"{name}.json").read_text())


def position(state):
    """Where the training of a state stands."""
    with open(state, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return json.loads(header["__metadata__"]["deml.state"])["position"]


def main():
    subprocess.run(
        [os.environ["DEML_TEST_PYTHON"], HERE / "worker/files.py", SCRATCH, "--model", "cnn", "--examples", "20000"],
        check=True)
    expected, undisturbed = finish("undisturbed")
    state = SCRATCH / "state.safetensors"
    options = ["--state", state, "--state-every", "0.05"]
    steps, inside = [], 0
    for kill in range(3):
        # Killed as soon as the state has moved on: wherever the worker is then.
        worker = start("killed", *options)
        while worker.poll() is None:
            now = position(state) if state.exists() else None
            if now and now["steps"] > (steps[-1] if steps else 0):
                break
            time.sleep(0.005)
        worker.send_signal(signal.SIGKILL)
        check(worker.wait() == -signal.SIGKILL, "the worker is killed at its work")
        now = position(state)
        steps.append(now["steps"])
        inside += now["batches"] > 0
    check(steps == sorted(set(steps)) and steps[-1] < undisturbed["steps"], f"it was killed after steps {steps}")
    check(inside > 0, f"{inside} times in the middle of an epoch")
    kept = state.read_bytes()
    delta, report = finish("killed", *options)
    check(delta == expected, "the delta is the undisturbed one's")
    for key in ("steps", "examples", "delta_sha256"):
        check(report[key] == undisturbed[key], f"the report's {key}: {report[key]}")
    losses = [[epoch["loss"] for epoch in one["epochs"]] for one in (report, undisturbed)]
    check(losses[0] == losses[1], f"the losses: {losses[0]}")
    check(not state.exists(), "the state is removed when the delta is there")

    # Of another job, or damaged: training begins anew, with the right result.
    state.write_bytes(kept)
    other, _ = finish("other", *options, "--seed", "1")
    clean, _ = finish("clean", "--seed", "1")
    check(other == clean, "a state of another job is not gone on with")
    for name, bytes_ in (
        ("cut", kept[: len(kept) // 2]),
        ("changed", kept[:-100] + bytes([kept[-100] ^ 1]) + kept[-99:]),
        ("empty", b""),
    ):
        state.write_bytes(bytes_)
        check(finish(name, *options)[0] == expected, f"a state that is {name} is not gone on with")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
