#!/usr/bin/env python3
"""Peak memory of `deml-worker train`: the shard, a small multiple of the parameters, and the activations of one batch. At most
60 MB for the MNIST MLP on a shard of 20,000 examples and 150 MB for the CNN of the FedAvg paper, batches of 64. And of
`deml-worker evaluate`: the weights once, and a fifth."""

import json
import os
import pathlib
import subprocess
import sys

PYTHON = os.environ["DEML_TEST_PYTHON"]
if os.path.realpath(sys.prefix) != os.path.realpath(pathlib.Path(PYTHON).parent.parent):
    os.execv(PYTHON, [PYTHON, __file__])

import numpy  # noqa: E402
import safetensors.numpy  # noqa: E402

SCRATCH = pathlib.Path(os.environ["DEML_TEST_SCRATCH"])
CONV = [{"type": "relu"}, {"type": "max_pool2d", "kernel_size": 2}]
MODELS = {
    "mlp": (
        [{"type": "flatten"}, {"type": "linear", "out_features": 128}, {"type": "relu"},
         {"type": "dropout", "p": 0.2}, {"type": "linear", "out_features": 10}],
        {1: (128, 784), 4: (10, 128)}, 20000, 60),
    "cnn": (
        [{"type": "conv2d", "out_channels": 32, "kernel_size": 5, "padding": 2}, *CONV,
         {"type": "conv2d", "out_channels": 64, "kernel_size": 5, "padding": 2}, *CONV, {"type": "flatten"},
         {"type": "linear", "out_features": 512}, {"type": "relu"}, {"type": "linear", "out_features": 10}],
        {0: (32, 1, 5, 5), 3: (64, 32, 5, 5), 7: (512, 3136), 9: (10, 512)}, 640, 150),
}  # fmt: skip

failed = False


def inputs(layers, shapes, examples):
    """Writes weights and shard; the size of the weights in MB."""
    random = numpy.random.default_rng(0)
    tensors = {}
    for index, shape in shapes.items():
        bound = numpy.prod(shape[1:]) ** -0.5
        tensors[f"{index}.weight"] = random.uniform(-bound, bound, shape).astype("float32")
        tensors[f"{index}.bias"] = random.uniform(-bound, bound, shape[0]).astype("float32")
    model = {"input": {"shape": [1, 28, 28], "divide_by": 255}, "layers": layers, "loss": "cross_entropy"}
    safetensors.numpy.save_file(
        tensors, SCRATCH / "weights.safetensors", metadata={"deml.model": json.dumps(model), "deml.round": "0"})
    x = random.integers(0, 256, (examples, 1, 28, 28), dtype="uint8")
    y = random.integers(0, 10, examples, dtype="uint8")
    safetensors.numpy.save_file({"x": x, "y": y}, SCRATCH / "shard.safetensors")
    return (SCRATCH / "weights.safetensors").stat().st_size / (1 << 20)


def peak(name, command, limit, *options):
    """Runs the worker and compares its peak of resident memory with the limit in MB."""
    global failed
    # A child of a child, so that the largest of all children is this one alone.
    code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
    code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    command = [os.environ["DEML_WORKER"], command, "--weights", "weights.safetensors", "--shard", "shard.safetensors",
               "--report", "report.json", "--threads", "2", *options]  # fmt: skip
    output = subprocess.run(
        [sys.executable, "-S", "-c", code, *command], cwd=SCRATCH, check=True, capture_output=True, text=True).stdout
    megabytes = int(output) / 1024
    print(f"memory: {name} {megabytes:.0f} MB, at most {limit:.0f} MB")
    failed = failed or megabytes > limit


for name, (layers, shapes, examples, limit) in MODELS.items():
    inputs(layers, shapes, examples)
    peak(name, "train", limit, "--delta", "delta.safetensors.gz", "--batch-size", "64", "--optimizer", "adam")

# One tensor that is nearly all of the file, and one of several pieces.
WIDE = [{"type": "flatten"}, {"type": "linear", "out_features": 6000}, {"type": "relu"},
        {"type": "linear", "out_features": 7000}, {"type": "relu"}, {"type": "linear", "out_features": 10}]  # fmt: skip
size = inputs(WIDE, {1: (6000, 784), 3: (7000, 6000), 5: (10, 7000)}, 512)
peak("evaluation", "evaluate", size * 1.2 + 20)
sys.exit(1 if failed else 0)
