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


# Of the models of text: the length of an example, and how many tokens there are.
TEXTS = {"transformer": (64, 65), "lstm": (80, 86)}


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


class Residual(nn.Module):
    def __init__(self, *layers, projection=None):
        super().__init__()
        self.layers, self.projection = nn.Sequential(*layers), projection

    def forward(self, x):
        return self.layers(x) + (x if self.projection is None else self.projection(x))


class Attention(nn.Module):
    """nanoGPT's CausalSelfAttention, by PyTorch's own fused kernel."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.c_attn, self.c_proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = (part.view(batch, length, self.heads, -1).transpose(1, 2) for part in self.c_attn(x).split(width, 2))
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(batch, length, width))


class Embeddings(nn.Module):
    def __init__(self, tokens, width, length):
        super().__init__()
        self.tokens, self.places = nn.Embedding(tokens, width), nn.Parameter(torch.randn(length, width))

    def forward(self, x):
        return self.tokens(x) + self.places


class LSTM(nn.LSTM):
    def forward(self, x):
        return super().forward(x)[0]


def transformer():
    blocks = []
    for _ in range(4):
        blocks += [
            Residual(nn.LayerNorm(128), Attention(128, 4)),
            Residual(nn.LayerNorm(128), nn.Linear(128, 512), nn.GELU(), nn.Linear(512, 128))]  # fmt: skip
    return nn.Sequential(Embeddings(65, 128, 64), *blocks, nn.LayerNorm(128), nn.Linear(128, 65, bias=False))


def lstm():
    return nn.Sequential(nn.Embedding(86, 8), LSTM(8, 256, num_layers=2, batch_first=True), nn.Linear(256, 86))


def resnet():
    def conv(inputs, out, kernel=3, stride=1):
        return [nn.Conv2d(inputs, out, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(out)]

    def block(inputs, out, stride=1):
        projection = None if stride == 1 else nn.Sequential(*conv(inputs, out, 1, stride))
        return [
            Residual(*conv(inputs, out, 3, stride), nn.ReLU(), *conv(out, out), projection=projection), nn.ReLU()]

    return nn.Sequential(
        *conv(1, 32), nn.ReLU(), *block(32, 32), *block(32, 64, 2), *block(64, 64), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(64, 10))  # fmt: skip


def depthwise():
    def pair(inputs, out, stride):
        return [
            nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs), nn.ReLU(), nn.Conv2d(inputs, out, 1), nn.ReLU()]

    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), *pair(32, 64, 2), *pair(64, 64, 1), *pair(64, 128, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))  # fmt: skip


def optimizer(kind, model):
    if kind == "adamw":
        return torch.optim.AdamW(model.parameters(), lr=1e-3)
    if kind == "adam":
        return torch.optim.Adam(model.parameters(), lr=1e-3)
    return torch.optim.SGD(model.parameters(), lr=0.1)


def epoch(model, steps, x, y, batch):
    model.train()
    order = torch.randperm(len(x))
    for start in range(0, len(x), batch):
        rows = order[start : start + batch]
        steps.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(x[rows]).flatten(0, -2), y[rows].flatten()).backward()
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
        ("mlp", "adam", 64, 4096), ("mlp", "sgd", 10, 4000), ("cnn", "adam", 64, 128), ("cnn", "sgd", 10, 100),
        ("transformer", "adamw", 12, 96), ("lstm", "sgd", 10, 40), ("resnet", "sgd", 64, 128),
        ("depthwise", "sgd", 64, 128)
    ]:  # fmt: skip
        if arguments.only and name not in arguments.only:
            continue
        model = {"mlp": mlp, "cnn": cnn, "transformer": transformer, "lstm": lstm, "resnet": resnet,
                 "depthwise": depthwise}[name]()
        steps = optimizer(kind, model)
        if name in TEXTS:
            length, tokens = TEXTS[name]
            x, y = (torch.randint(tokens, (examples, length)) for _ in range(2))
        else:
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
parser.add_argument("--only", nargs="*", help="of training, these models alone")
parser.add_argument("--rounds", type=int, default=5)
chosen = parser.parse_args()
if chosen.threads:
    torch.set_num_threads(chosen.threads)
{"training": training, "worker": worker, "recipe": recipe, "round": fedavg_round}[chosen.what](chosen)
