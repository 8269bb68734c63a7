#!/usr/bin/env python3
"""A training that is killed in the middle of an epoch, again and again, goes on from its state file: same delta as one
that was left alone, by arguments and by a job's file. A state of another job and a damaged one are not gone on with, and
refused where the job names them as what to go on from."""

import hashlib
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
    return launch("train", "--weights", SCRATCH / "weights.safetensors", "--shard", SCRATCH / "shard.safetensors.gz",
                  "--delta", SCRATCH / f"{name}.safetensors.gz", "--report", SCRATCH / f"{name}.json", *OPTIONS, *options)


def launch(*arguments, **options):
    return subprocess.Popen([os.environ["DEML_WORKER"], *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            **options)


def finish(name, *options):
    """The delta's bytes and the report."""
    assert start(name, *options).wait() == 0
    return results(name)


def results(name):
    return (SCRATCH / f"{name}.safetensors.gz").read_bytes(), json.loads((SCRATCH / f"{name}.json").read_text())


def killed(begin, state):
    """Begins a training three times and kills it as soon as its state has moved on: wherever the worker is then. The
    steps it was killed after, and how often that was in the middle of an epoch."""
    steps, inside = [], 0
    for kill in range(3):
        worker = begin()
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
    check(steps == sorted(set(steps)), f"it was killed after steps {steps}")
    check(inside > 0, f"{inside} times in the middle of an epoch")
    return steps


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
    steps = killed(lambda: start("killed", *options), state)
    check(steps[-1] < undisturbed["steps"], f"before the last of {undisturbed['steps']}")
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
    jobs(expected, undisturbed, kept)
    sys.exit(1 if failed else 0)


def jobs(expected, undisturbed, kept):
    """The same by a job's file, and a state that a job names as what to go on from."""
    schedule = json.loads(OPTIONS[OPTIONS.index("--schedule") + 1])
    job = {
        "kind": "train",
        "options": {"epochs": 2, "batch_size": 5, "optimizer": {"type": "adam", "learning_rate": 0.01},
                    "accumulate_steps": 2, "clip_grad_norm": 0.5, "schedule": schedule},
        "inputs": {"weights": {"file": "weights.safetensors"}, "shard": {"file": "shard.safetensors.gz"}},
        "output": "job.safetensors.gz", "report": "job.json", "limits": {"threads": 2},
        "state": {"output": "job.state", "every_seconds": 0.05},
    }  # fmt: skip

    def run(name="task.json", **changes):
        (SCRATCH / name).write_text(json.dumps({**job, **changes}))
        return launch("run", name, cwd=SCRATCH, stderr=subprocess.PIPE, text=True)

    steps = killed(run, SCRATCH / "job.state")
    check(steps[-1] < undisturbed["steps"], f"before the last of {undisturbed['steps']}")
    check(run().wait() == 0, "the job's file is run again")
    delta, report = results("job")
    check(delta == expected, "the delta is the undisturbed one's")
    check(report["steps"] == undisturbed["steps"], f"the report's steps: {report['steps']}")
    check(not (SCRATCH / "job.state").exists(), "the state is removed when the delta is there")

    # On another machine: the state comes as an input, and stays.
    given = SCRATCH / "given.state"
    given.write_bytes(kept)
    named = {"file": "given.state", "sha256": hashlib.sha256(kept).hexdigest()}
    (SCRATCH / "job.safetensors.gz").unlink()
    check(run(state={"input": named}).wait() == 0, "a job goes on from a state that it is given")
    check(results("job")[0] == expected, "with the undisturbed one's delta")
    check(given.read_bytes() == kept, "the given state is left as it was")
    left = set(os.listdir(SCRATCH))
    cut, changed = kept[: len(kept) // 2], kept[:-100] + bytes([kept[-100] ^ 1]) + kept[-99:]
    other = {**job["options"], "seed": 1}
    for what, content, state, options, code in (
        ("cut", cut, {"file": "given.state"}, job["options"], 65),
        ("changed", changed, {"file": "given.state"}, job["options"], 65),
        ("not the one that was named", kept, {**named, "sha256": "0" * 64}, job["options"], 65),
        ("of another training", kept, named, other, 65),
        ("not there", kept, {"file": "none.state"}, job["options"], 66),
    ):
        given.write_bytes(content)
        (SCRATCH / "job.safetensors.gz").unlink(missing_ok=True)
        worker = run(state={"input": state, "output": "job.state"}, options=options)
        _, said = worker.communicate()
        report = json.loads((SCRATCH / "job.json").read_text())
        check(
            worker.returncode == code and report["status"] == "error" and report["stage"] == "read-state"
            and len(said.splitlines()) == 1 and state["file"] in said,
            f"a given state that is {what} is refused: {said.strip()}")
        check(set(os.listdir(SCRATCH)) == left - {"job.safetensors.gz"}, "and nothing is left")


if __name__ == "__main__":
    main()
