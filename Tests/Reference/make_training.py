#!/usr/bin/env python3
"""Makes Tests/Reference/training/*.safetensors: what PyTorch does with the options of a training, for
NeuralNetworkTests/TrainingOptionsTests.

    pip install torch numpy safetensors
    python3 Tests/Reference/make_training.py

Each file is one model with one training set: the tensors `x`, `y`, `weights/NAME` (before training), and for each way to
train `losses/WAY` (mean loss of each epoch), `rates/WAY` (learning rate of each step, F64) and `WAY/NAME` (weights
after training). The metadata has `model`, `options` (JSON: way -> training options) and `torch` (the version).
Everything is computed in double precision, so that what the tests measure is our error alone.
"""
import json
import pathlib

import numpy
import torch
from safetensors.numpy import save_file
from torch import nn
from torch.optim import lr_scheduler

from make_networks import normalised, optimizer, sequence

FOLDER = pathlib.Path(__file__).parent / "training"
SGD = {"type": "sgd", "learning_rate": 0.1}
MOMENTUM = {"type": "sgd", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.01}
ADAM = {"type": "adam", "learning_rate": 0.005}
ADAMW = {"type": "adamw", "learning_rate": 0.01, "weight_decay": 0.1}

WAYS = {
    "clip_sgd": {"optimizer": SGD, "clip_grad_norm": 0.3},
    "clip_adam": {"optimizer": ADAM, "clip_grad_norm": 0.05},
    "clip_never": {"optimizer": SGD, "clip_grad_norm": 1000.0},
    "accumulate": {"optimizer": MOMENTUM, "accumulate_steps": 3},
    "accumulate_adam": {"optimizer": ADAM, "accumulate_steps": 2},
    "proximal": {"optimizer": MOMENTUM, "proximal_mu": 0.7},
    "step": {"optimizer": SGD, "schedule": {"type": "step", "step_size": 3, "gamma": 0.5}},
    "cosine": {"optimizer": MOMENTUM, "schedule": {"type": "cosine", "t_max": 16, "eta_min": 0.001}},
    "warmup": {"optimizer": ADAM, "schedule": {"type": "constant", "warmup_steps": 5}},
    "warmup_cosine": {
        "optimizer": ADAMW,
        "schedule": {"type": "cosine", "t_max": 12, "warmup_steps": 4, "start_factor": 0.1}},
    "warmup_step": {
        "optimizer": ADAMW,
        "schedule": {"type": "step", "step_size": 2, "warmup_steps": 3, "start_factor": 0.0}},
    "later": {"optimizer": SGD, "schedule": {"type": "cosine", "t_max": 40, "warmup_steps": 6, "first_step": 4}},
    "everything": {
        "optimizer": ADAMW, "clip_grad_norm": 0.2, "accumulate_steps": 3, "proximal_mu": 0.3,
        "schedule": {"type": "cosine", "t_max": 6, "warmup_steps": 2}},
}


def scheduler(stepper, schedule):
    """torch's schedulers of our options; None for a constant rate."""
    if schedule is None:
        return None
    kind = schedule["type"]
    if kind == "step":
        shape = lr_scheduler.StepLR(stepper, schedule["step_size"], schedule.get("gamma", 0.1))
    elif kind == "cosine":
        shape = lr_scheduler.CosineAnnealingLR(stepper, schedule["t_max"], schedule.get("eta_min", 0.0))
    else:
        shape = lr_scheduler.ConstantLR(stepper, 1.0)
    if schedule.get("warmup_steps"):
        steps = schedule["warmup_steps"]
        # LinearLR takes no 0 as a start.
        start = schedule.get("start_factor", 1 / 3) or 1e-300
        warmup = lr_scheduler.LinearLR(stepper, start, 1.0, steps)
        shape = lr_scheduler.SequentialLR(stepper, [warmup, shape], [steps])
    for _ in range(schedule.get("first_step", 0)):
        stepper.step()  # without gradients nothing happens
        shape.step()
    return shape


def train(model, function, x, y, options):
    """Loss of each epoch and rate of each step of the loop that a PyTorch user writes."""
    stepper = optimizer(model.parameters(), options["optimizer"])
    rates = scheduler(stepper, options.get("schedule"))
    received = [parameter.detach().clone() for parameter in model.parameters()]
    batch, accumulate = options["batch_size"], options.get("accumulate_steps", 1)
    losses, used = [], []
    for _ in range(options["epochs"]):
        total = 0.0
        starts = range(0, len(x), batch)
        for number, first in enumerate(starts):
            inputs, targets = x[first:first + batch], y[first:first + batch]
            loss = function(model(inputs), targets)
            (loss / accumulate).backward()
            total += loss.item() * len(inputs)
            if (number + 1) % accumulate and number + 1 != len(starts):
                continue
            if mu := options.get("proximal_mu"):
                distance = sum(((p - r) ** 2).sum() for p, r in zip(model.parameters(), received))
                (mu / 2 * distance).backward()
            if norm := options.get("clip_grad_norm"):
                nn.utils.clip_grad_norm_(model.parameters(), norm)
            used.append(stepper.param_groups[0]["lr"])
            stepper.step()
            stepper.zero_grad()
            if rates:
                rates.step()
        losses.append(total / len(x))
    return losses, used


def case(name, shape, layers, loss="cross_entropy", **input_):
    """Writes one file: 47 examples, batches of 6 (the last has 5), two epochs."""
    torch.manual_seed(sum(map(ord, name)))
    random = numpy.random.default_rng(sum(map(ord, name)))
    x = random.normal(size=(47, *shape)).astype(numpy.float32)
    model = sequence(layers, shape)
    for parameter in model.parameters():
        parameter.data = parameter.data.float().double()
    start = {key: value.clone() for key, value in model.state_dict().items()}
    inputs = normalised(x, input_)
    outputs = model(inputs)
    if loss == "cross_entropy":
        y = random.integers(0, outputs.shape[1], len(x), dtype=numpy.int64)
        targets, function = torch.from_numpy(y), nn.CrossEntropyLoss()
    else:
        y = random.normal(size=tuple(outputs.shape)).astype(numpy.float32)
        targets, function = torch.from_numpy(y).double(), nn.MSELoss()

    tensors, options = {"x": x, "y": y}, {}
    for key, value in start.items():
        tensors[f"weights/{key}"] = value.numpy().astype(numpy.float32)
    for way, chosen in WAYS.items():
        model.load_state_dict(start)
        options[way] = {"batch_size": 6, "epochs": 2, "shuffle": False, **chosen}
        losses, rates = train(model, function, inputs, targets, options[way])
        tensors[f"losses/{way}"] = numpy.array(losses, dtype=numpy.float32)
        tensors[f"rates/{way}"] = numpy.array(rates, dtype=numpy.float64)
        for key, parameter in model.named_parameters():
            tensors[f"{way}/{key}"] = parameter.detach().numpy().astype(numpy.float32)
    description = {"input": {"shape": shape, **input_}, "layers": layers, "loss": loss}
    metadata = {"model": json.dumps(description), "options": json.dumps(options), "torch": torch.__version__}
    tensors = {key: numpy.ascontiguousarray(value) for key, value in tensors.items()}
    save_file(tensors, FOLDER / f"{name}.safetensors", metadata)
    (FOLDER / f"{name}.safetensors").chmod(0o644)


def main():
    FOLDER.mkdir(exist_ok=True)
    torch.set_num_threads(1)
    case("mlp", [2, 3], [
        {"type": "flatten"}, {"type": "linear", "out_features": 11}, {"type": "tanh"},
        {"type": "linear", "out_features": 4}])
    case("conv", [2, 5, 4], [
        {"type": "conv2d", "out_channels": 3, "kernel_size": 3, "padding": 1}, {"type": "relu"},
        {"type": "layer_norm", "normalized_shape": [3, 5, 4]}, {"type": "flatten"},
        {"type": "linear", "out_features": 2}], loss="mse")
    files = sorted(FOLDER.glob("*.safetensors"))
    print(f"{len(files)} files, {sum(file.stat().st_size for file in files)} bytes")


if __name__ == "__main__":
    main()
