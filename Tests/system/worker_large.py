#!/usr/bin/env python3
"""Files larger than memory: a shard, compressed or not, trains under a limit of data pages that it does not fit into, with
the bytes of one that is read without a limit; weights are evaluated with the memory of one copy.

    worker_large.py [--shard-megabytes 200] [--shard-limit 100] [--weights-megabytes 200] [--weights-limit 260]
"""

import argparse
import hashlib
import json
import os
import pathlib
import resource
import subprocess
import sys

PYTHON = os.environ["DEML_TEST_PYTHON"]
if os.path.realpath(sys.prefix) != os.path.realpath(pathlib.Path(PYTHON).parent.parent):
    os.execv(PYTHON, [PYTHON, __file__, *sys.argv[1:]])

import numpy  # noqa: E402
import safetensors.numpy  # noqa: E402

SCRATCH = pathlib.Path(os.environ["DEML_TEST_SCRATCH"])
parser = argparse.ArgumentParser()
for option, value in (("shard-megabytes", 200), ("shard-limit", 100), ("weights-megabytes", 200), ("weights-limit", 260)):
    parser.add_argument(f"--{option}", type=int, default=value)
arguments = parser.parse_args()
failed = 0


def check(condition, what):
    global failed
    print(f"{'ok   ' if condition else 'FAIL '} {what}", file=sys.stdout if condition else sys.stderr)
    failed += not condition


def weights(path, shape, hidden, classes):
    """A model of one hidden layer."""
    random = numpy.random.default_rng(0)
    features = int(numpy.prod(shape))
    tensors = {}
    for index, (out, into) in {1: (hidden, features), 3: (classes, hidden)}.items():
        tensors[f"{index}.weight"] = random.uniform(-1, 1, (out, into)).astype("float32") / numpy.float32(into**0.5)
        tensors[f"{index}.bias"] = numpy.zeros(out, "float32")
    layers = [{"type": "flatten"}, {"type": "linear", "out_features": hidden}, {"type": "relu"},
              {"type": "linear", "out_features": classes}]  # fmt: skip
    model = {"input": {"shape": shape, "divide_by": 255}, "layers": layers, "loss": "cross_entropy"}
    safetensors.numpy.save_file(tensors, path, metadata={"deml.model": json.dumps(model), "deml.round": "0"})


def shard(path, shape, count):
    """Written row block by row block: this program has no such memory either."""
    size = int(numpy.prod(shape))
    header = json.dumps({
        "x": {"dtype": "U8", "shape": [count, *shape], "data_offsets": [0, count * size]},
        "y": {"dtype": "U8", "shape": [count], "data_offsets": [count * size, count * size + count]},
    })  # fmt: skip
    header += " " * (-len(header) % 8)
    random = numpy.random.default_rng(1)
    block = random.integers(0, 256, (1024, size), dtype="uint8") * (random.random((1024, size)) < 0.1)
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header.encode())
        for first in range(0, count, len(block)):
            rows = block[: min(len(block), count - first)]
            file.write(numpy.roll(rows, first // len(block), axis=1).astype("uint8").tobytes())
        file.write((numpy.arange(count) % 10).astype("uint8").tobytes())


def worker(limit, *options):
    """Runs the worker with at most `limit` megabytes of data pages (None: as many as it wants)."""
    def lower():
        if limit:
            resource.setrlimit(resource.RLIMIT_DATA, (limit << 20, limit << 20))

    return subprocess.run(
        [os.environ["DEML_WORKER"], *options], cwd=SCRATCH, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        preexec_fn=lower)


def train(name, limit, shard_name):
    """The delta's digest, and what the worker said."""
    done = worker(
        limit, "train", "--weights", "weights.safetensors", "--shard", shard_name, "--delta", f"{name}.safetensors",
        "--report", f"{name}.json", "--batch-size", "256", "--threads", "2", "--learning-rate", "0.05")
    if done.returncode:
        return None, done.stderr
    return hashlib.sha256((SCRATCH / f"{name}.safetensors").read_bytes()).hexdigest(), done.stdout


def main():
    shape = [1, 28, 28]
    count = (arguments.shard_megabytes << 20) // 785
    weights(SCRATCH / "weights.safetensors", shape, 16, 10)
    shard(SCRATCH / "shard.safetensors", shape, count)
    expected, said = train("free", None, "shard.safetensors")
    check(expected is not None, f"{count} examples train without a limit {said.strip()}")
    got, said = train("limited", arguments.shard_limit, "shard.safetensors")
    check(got == expected, f"and with {arguments.shard_limit} MB for {arguments.shard_megabytes}: {said.strip()}")
    subprocess.run(["gzip", "-1", "-k", "shard.safetensors"], cwd=SCRATCH, check=True)
    before = set(os.listdir(SCRATCH))
    got, said = train("packed", arguments.shard_limit, "shard.safetensors.gz")
    # The delta does not depend on how the shard was packed, but names the file it was made of.
    same = read(SCRATCH / "packed.safetensors") == read(SCRATCH / "free.safetensors") if got else False
    check(same, f"and packed: {said.strip()}")
    left = set(os.listdir(SCRATCH)) - before
    check(left == {"packed.safetensors", "packed.json"}, f"nothing is left beside the results: {sorted(left)}")
    os.remove(SCRATCH / "shard.safetensors")
    os.remove(SCRATCH / "shard.safetensors.gz")

    hidden = (arguments.weights_megabytes << 20) // 4 // 795
    weights(SCRATCH / "wide.safetensors", shape, hidden, 10)
    shard(SCRATCH / "few.safetensors", shape, 40)
    for command in ("evaluate", "predict"):
        output = ["--predictions", "predictions.safetensors"] if command == "predict" else []
        done = worker(
            arguments.weights_limit, command, "--weights", "wide.safetensors", "--shard", "few.safetensors", *output,
            "--report", "report.json", "--threads", "2")
        size = os.path.getsize(SCRATCH / "wide.safetensors") >> 20
        check(
            done.returncode == 0,
            f"{command} with weights of {size} MB and a limit of {arguments.weights_limit} {done.stderr.strip()}")
    sys.exit(1 if failed else 0)


def read(path):
    """The tensors of a file, as bytes."""
    return {name: value.tobytes() for name, value in safetensors.numpy.load_file(path).items()}


if __name__ == "__main__":
    main()
