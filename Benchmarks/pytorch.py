#!/usr/bin/env python3
"""What Benchmarks/run measures, done by PyTorch on the CPU, as a careful user of PyTorch would write it: data in memory as
floats, batches by index, gradients set to None, no DataLoader.

    pytorch.py training --threads 2 --seconds 1     samples a second of the example models: the best epoch
    pytorch.py worker                               the MLP on 20,000 examples, 5 epochs (time the whole process)
    pytorch.py recipe                               make train's recipe: 3 workers, 3 rounds, 5 epochs (likewise)
    pytorch.py round --rounds 5                     seconds of FedAvg rounds of the 2NN: 10 clients of 600 examples
"""

import argparse
import copy
import gzip
import pathlib
import time

import torch
from torch import nn

MNIST = pathlib.Path(__file__).resolve().parent.parent / "requestor/Datasets/mnist"


def idx(name, header):
    content = gzip.decompress((MNIST / name).read_bytes())
    return torch.frombuffer(bytearray(content[header:]), dtype=torch.uint8)


def mnist(part):
    x = idx(f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28).float() / 255
    return x, idx(f"{part}-labels-idx1-ubyte.gz", 8).long()


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))


def two_nn():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10))


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, 10))  # fmt: skip


def optimizer(kind, model):
    if kind == "adam":
        return torch.optim.Adam(model.parameters(), lr=1e-3)
    return torch.optim.SGD(model.parameters(), lr=0.1)


def epoch(model, steps, x, y, batch):
    model.train()
    order = torch.randperm(len(x))
    for start in range(0, len(x), batch):
        rows = order[start : start + batch]
        steps.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        steps.step()


@torch.no_grad()
def accuracy(model, x, y):
    model.eval()
    return sum((model(x[i : i + 256]).argmax(1) == y[i : i + 256]).sum().item() for i in range(0, len(x), 256)) / len(x)


def average(model, states, examples):
    total = sum(examples)
    model.load_state_dict(
        {name: sum(state[name] * (n / total) for state, n in zip(states, examples)) for name in states[0]})


def training(arguments):
    for name, kind, batch, examples in [
        ("mlp", "adam", 64, 4096), ("mlp", "sgd", 10, 4000), ("cnn", "adam", 64, 128), ("cnn", "sgd", 10, 100)
    ]:  # fmt: skip
        model = {"mlp": mlp, "cnn": cnn}[name]()
        steps = optimizer(kind, model)
        x, y = torch.rand(examples, 1, 28, 28), torch.arange(examples) % 10
        best, start = 0, time.perf_counter()
        while time.perf_counter() - start < arguments.seconds or best == 0:
            before = time.perf_counter()
            epoch(model, steps, x, y, batch)
            best = max(best, examples / (time.perf_counter() - before))
        print(name, kind, batch, round(best), flush=True)


def worker(_):
    x, y = mnist("train")
    model = mlp()
    steps = optimizer("adam", model)
    for _ in range(5):
        epoch(model, steps, x[:20000], y[:20000], 64)


def recipe(_):
    x, y = mnist("train")
    shards = torch.randperm(len(x)).chunk(3)
    model = mlp()
    for number in range(3):
        states = []
        for shard in shards:
            local = copy.deepcopy(model)
            steps = optimizer("adam", local)
            for _ in range(5):
                epoch(local, steps, x[shard], y[shard], 64)
            states.append(local.state_dict())
        average(model, states, [len(shard) for shard in shards])
        print(f"round {number + 1}: {accuracy(model, *mnist('t10k')):.4f}", flush=True)


def fedavg_round(arguments):
    x, y = mnist("train")
    test = mnist("t10k")
    model = two_nn()
    times = []
    for _ in range(arguments.rounds):
        start = time.perf_counter()
        states = []
        for shard in torch.randperm(len(x))[:6000].chunk(10):
            local = copy.deepcopy(model)
            epoch(local, optimizer("sgd", local), x[shard], y[shard], 10)
            states.append(local.state_dict())
        average(model, states, [600] * 10)
        accuracy(model, *test)
        times.append(time.perf_counter() - start)
    print(sorted(times)[len(times) // 2])


parser = argparse.ArgumentParser()
parser.add_argument("what", choices=["training", "worker", "recipe", "round"])
parser.add_argument("--threads", type=int)
parser.add_argument("--seconds", type=float, default=1)
parser.add_argument("--rounds", type=int, default=5)
chosen = parser.parse_args()
if chosen.threads:
    torch.set_num_threads(chosen.threads)
{"training": training, "worker": worker, "recipe": recipe, "round": fedavg_round}[chosen.what](chosen)
