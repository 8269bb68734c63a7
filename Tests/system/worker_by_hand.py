#!/usr/bin/env python3
"""The worker by hand, as README tells it: weights and shard made in Python go in, the delta opens in Python, and it
equals the same steps done by PyTorch within 1e-4."""

import gzip
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PYTHON = os.environ["DEML_TEST_PYTHON"]
TOLERANCE = 1e-4

# The private Python has torch; the one that a shell finds may not.
if os.path.realpath(sys.prefix) != os.path.realpath(pathlib.Path(PYTHON).parent.parent):
    os.execv(PYTHON, [PYTHON, __file__])

sys.path.insert(0, str(HERE / "worker"))
sys.dont_write_bytecode = True
import files  # noqa: E402
import numpy  # noqa: E402
import safetensors.numpy  # noqa: E402
import torch  # noqa: E402

RECIPES = [
    ("mlp", "sgd", 0.1, {"momentum": 0.9}),
    ("mlp", "adam", 0.001, {}),
    ("cnn", "sgd", 0.05, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.001}),
    ("cnn", "adamw", 0.002, {"weight_decay": 0.02}),
]
EPOCHS, BATCH, EXAMPLES = 2, 32, 200


def network(model):
    """The same network in PyTorch."""
    layers = []
    channels = 1
    for layer in files.MODELS[model]["layers"]:
        kind = layer["type"]
        if kind == "flatten":
            layers.append(torch.nn.Flatten())
        elif kind == "linear":
            shape = files.SHAPES[model][f"{len(layers)}.weight"]
            layers.append(torch.nn.Linear(shape[1], shape[0]))
        elif kind == "conv2d":
            layers.append(torch.nn.Conv2d(channels, layer["out_channels"], 5, stride=2, padding=2))
        elif kind == "max_pool2d":
            layers.append(torch.nn.MaxPool2d(2))
        else:
            kinds = {"relu": torch.nn.ReLU, "gelu": torch.nn.GELU, "tanh": torch.nn.Tanh, "dropout": torch.nn.Identity}
            layers.append(kinds[kind]())
    return torch.nn.Sequential(*layers)


def torch_steps(model, tensors, shard, optimizer, rate, options):
    """What the same training changes in PyTorch."""
    module = network(model)
    module.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in tensors.items()})
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    step = kinds[optimizer](module.parameters(), lr=rate, **options)
    description = files.MODELS[model]["input"]
    x = torch.from_numpy(shard["x"].astype(numpy.float32)) / description["divide_by"]
    x = (x - description.get("mean", [0])[0]) / description.get("std", [1])[0]
    y = torch.from_numpy(shard["y"].astype(numpy.int64))
    for _ in range(EPOCHS):
        for start in range(0, EXAMPLES, BATCH):
            loss = torch.nn.functional.cross_entropy(module(x[start : start + BATCH]), y[start : start + BATCH])
            step.zero_grad()
            loss.backward()
            step.step()
    return {name: value.numpy() - tensors[name] for name, value in module.state_dict().items()}


def worker_steps(folder, optimizer, rate, options):
    """What the worker changes: the delta file, opened with Python's own packages."""
    delta, report = folder / "delta.safetensors.gz", folder / "report.json"
    command = [os.environ["DEML_WORKER"], "train", "--weights", folder / "weights.safetensors"]
    command += ["--shard", folder / "shard.safetensors.gz", "--delta", delta, "--report", report, "--no-shuffle"]
    command += ["--epochs", str(EPOCHS), "--batch-size", str(BATCH), "--optimizer", optimizer]
    command += ["--learning-rate", str(rate)]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env={})
    report = json.loads(report.read_text())
    steps = EPOCHS * -(-EXAMPLES // BATCH)
    if (report["status"], report["steps"], report["examples"]) != ("ok", steps, EXAMPLES):
        sys.exit(f"worker_by_hand: the report is {report}")
    plain = folder / "delta.safetensors"
    plain.write_bytes(gzip.decompress(delta.read_bytes()))
    with safetensors.safe_open(plain, framework="numpy") as file:
        metadata = file.metadata()
        if metadata["deml.examples"] != str(EXAMPLES) or metadata["deml.steps"] != str(steps):
            sys.exit(f"worker_by_hand: the delta's metadata is {metadata}")
        if json.loads(metadata["deml.options"])["shuffle"] is not False:
            sys.exit(f"worker_by_hand: the delta's options are {metadata['deml.options']}")
        return {name: file.get_tensor(name) for name in file.keys()}


def main():
    torch.set_num_threads(1)
    wrong = 0
    for model, optimizer, rate, options in RECIPES:
        # Random numbers are the one thing that PyTorch cannot follow.
        for layer in files.MODELS[model]["layers"]:
            if layer["type"] == "dropout":
                layer["p"] = 0.0
        folder = pathlib.Path(os.environ["DEML_TEST_SCRATCH"]) / f"{model}-{optimizer}"
        folder.mkdir(parents=True)
        tensors, shard = files.weights(model), files.shard(EXAMPLES)
        files.write_weights(folder / "weights.safetensors", tensors, model)
        files.write_shard(folder / "shard.safetensors.gz", shard)
        ours = worker_steps(folder, optimizer, rate, options)
        theirs = torch_steps(model, tensors, shard, optimizer, rate, options)
        if sorted(ours) != sorted(theirs):
            sys.exit(f"worker_by_hand: {model}: tensors {sorted(ours)}, torch has {sorted(theirs)}")
        worst = max(float(abs(ours[name] - theirs[name]).max()) for name in ours)
        moved = max(float(abs(value).max()) for value in theirs.values())
        print(f"{model}, {optimizer}: largest change {moved:.4f}, largest difference from PyTorch {worst:.2e}")
        if not worst <= TOLERANCE or moved < 100 * TOLERANCE:
            print(f"worker_by_hand: {model}, {optimizer}: the delta is not PyTorch's", file=sys.stderr)
            wrong += 1
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
