#!/usr/bin/env python3
"""Makes Tests/Reference/networks/*.safetensors: what PyTorch computes, for NeuralNetworkTests.

    pip install torch numpy safetensors
    python3 Tests/Reference/make_networks.py

Each file is one model with one training set: the tensors `x`, `y`, `weights/NAME` (before training), `output`
(logits or outputs of the first batch), `losses` (of each of ten steps, by optimiser: `losses/OPTIMIZER`),
`gradient/NAME` (of the first batch's loss) and `OPTIMIZER/NAME` (weights after ten steps). The metadata has `model`
(the description), `options` (JSON: optimiser name -> training options) and `torch` (the version).
Everything is computed in double precision, so that what the tests measure is our error alone.
"""
import json
import pathlib

import numpy
import torch
from safetensors.numpy import save_file
from torch import nn

FOLDER = pathlib.Path(__file__).parent / "networks"
BATCH = 6
STEPS = 10


class Residual(nn.Module):
    """layers(x) + projection(x), or layers(x) + x."""

    def __init__(self, layers, projection):
        super().__init__()
        self.layers = layers
        self.projection = projection

    def forward(self, x):
        return self.layers(x) + (x if self.projection is None else self.projection(x))


def module(layer, shape):
    """The torch module of one layer of a description; `shape`: of one input example."""
    options = {key: value for key, value in layer.items() if key != "type"}
    kind = layer["type"]
    if kind == "linear":
        return nn.Linear(shape[-1], options.pop("out_features"), **options)
    if kind == "conv2d":
        return nn.Conv2d(shape[0], options.pop("out_channels"), **options)
    if kind == "layer_norm":
        return nn.LayerNorm(options.pop("normalized_shape", shape), **options)
    if kind == "group_norm":
        return nn.GroupNorm(options.pop("num_groups"), shape[0], **options)
    if kind == "residual":
        projection = options.get("projection")
        return Residual(sequence(options["layers"], shape), sequence(projection, shape) if projection else None)
    if kind == "global_avg_pool2d":
        return nn.AdaptiveAvgPool2d(1)
    names = {
        "max_pool2d": nn.MaxPool2d, "avg_pool2d": nn.AvgPool2d, "flatten": nn.Flatten, "relu": nn.ReLU,
        "leaky_relu": nn.LeakyReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "silu": nn.SiLU,
        "dropout": nn.Dropout,
    }
    return names[kind](**options)


def sequence(layers, shape):
    """nn.Sequential of a list of layers; double precision, random norms, so that no gradient is trivial."""
    modules = []
    example = torch.zeros(1, *shape, dtype=torch.float64)
    for layer in layers:
        made = module(layer, list(example.shape[1:])).double()
        for name, parameter in made.named_parameters(recurse=False):
            if isinstance(made, (nn.LayerNorm, nn.GroupNorm)):
                nn.init.normal_(parameter, mean=1.0 if name == "weight" else 0.0, std=0.2)
        example = made(example)
        modules.append(made)
    return nn.Sequential(*modules)


def normalised(x, description):
    """The inputs as the model sees them."""
    x = torch.from_numpy(x).double() / description.get("divide_by", 1)
    ones = [1] * (x.dim() - 2)
    for key, function in (("mean", torch.sub), ("std", torch.div)):
        if key in description:
            x = function(x, torch.tensor(description[key], dtype=torch.float64).reshape(1, -1, *ones))
    return x


def optimizer(parameters, options):
    """The torch optimiser of our options."""
    options = dict(options)
    kind = options.pop("type")
    options["lr"] = options.pop("learning_rate")
    if "epsilon" in options:
        options["eps"] = options.pop("epsilon")
    return {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[kind](parameters, **options)


OPTIMIZERS = {
    "sgd": {"type": "sgd", "learning_rate": 0.1},
    "momentum": {"type": "sgd", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.01},
    "nesterov": {"type": "sgd", "learning_rate": 0.05, "momentum": 0.8, "nesterov": True},
    "adam": {"type": "adam", "learning_rate": 0.002},
    "adam_decay": {"type": "adam", "learning_rate": 0.01, "betas": [0.8, 0.99], "epsilon": 1e-6, "weight_decay": 0.1},
    "adamw": {"type": "adamw", "learning_rate": 0.01, "weight_decay": 0.1},
}


def case(name, shape, layers, loss="cross_entropy", smoothing=0.0, optimizers=("sgd", "adam"), stored="F32", **input_):
    """Writes one file. The training set has one batch for each step but the last two, which are seen twice."""
    torch.manual_seed(sum(map(ord, name)))
    random = numpy.random.default_rng(sum(map(ord, name)))
    count = BATCH * (STEPS - 2) - 3  # the last batch of an epoch is smaller
    if stored == "U8":
        x = random.integers(0, 256, (count, *shape), dtype=numpy.uint8)
    else:
        x = random.normal(size=(count, *shape)).astype(numpy.float32)
    model = sequence(layers, shape)
    # Start from what a file can hold.
    for parameter in model.parameters():
        parameter.data = parameter.data.float().double()
    start = {key: value.clone() for key, value in model.state_dict().items()}
    inputs = normalised(x, input_)
    outputs = model(inputs[:BATCH])
    if loss == "cross_entropy":
        y = random.integers(0, outputs.shape[1], count, dtype=numpy.int64)
        function = nn.CrossEntropyLoss(label_smoothing=smoothing)
    else:
        y = random.normal(size=(count, *outputs.shape[1:])).astype(numpy.float32)
        function = nn.MSELoss()
    targets = torch.from_numpy(y) if loss == "cross_entropy" else torch.from_numpy(y).double()

    tensors = {"x": x, "y": y, "output": outputs.detach().numpy().astype(numpy.float32)}
    function(outputs, targets[:BATCH]).backward()
    for key, parameter in model.named_parameters():
        tensors[f"gradient/{key}"] = parameter.grad.numpy().astype(numpy.float32)
        tensors[f"weights/{key}"] = start[key].numpy().astype(numpy.float32)

    options = {}
    for used in optimizers:
        model.load_state_dict(start)
        stepper = optimizer(model.parameters(), OPTIMIZERS[used])
        losses = []
        starts = list(range(0, count, BATCH))
        for first in (starts + starts)[:STEPS]:
            stepper.zero_grad()
            value = function(model(inputs[first:first + BATCH]), targets[first:first + BATCH])
            value.backward()
            stepper.step()
            losses.append(value.item())
        tensors[f"losses/{used}"] = numpy.array(losses, dtype=numpy.float32)
        for key, parameter in model.named_parameters():
            tensors[f"{used}/{key}"] = parameter.detach().numpy().astype(numpy.float32)
        options[used] = {
            "batch_size": BATCH, "epochs": 2, "label_smoothing": smoothing, "optimizer": OPTIMIZERS[used],
            "shuffle": False,
        }

    description = {"input": {"shape": shape, **input_}, "layers": layers, "loss": loss}
    metadata = {"model": json.dumps(description), "options": json.dumps(options), "torch": torch.__version__}
    tensors = {key: numpy.ascontiguousarray(value) for key, value in tensors.items()}
    save_file(tensors, FOLDER / f"{name}.safetensors", metadata)
    (FOLDER / f"{name}.safetensors").chmod(0o644)


def main():
    FOLDER.mkdir(exist_ok=True)
    torch.set_num_threads(1)
    flatten, relu = {"type": "flatten"}, {"type": "relu"}

    def linear(out, **options):
        return {"type": "linear", "out_features": out, **options}

    def conv(out, kernel, **options):
        return {"type": "conv2d", "out_channels": out, "kernel_size": kernel, **options}

    case("mlp", [1, 5, 4], [flatten, linear(17), relu, linear(5)], stored="U8", divide_by=255,
         optimizers=list(OPTIMIZERS))
    case("label_smoothing", [9], [linear(12), relu, linear(4)], smoothing=0.1)
    case("mse", [7], [linear(8), {"type": "tanh"}, linear(3)], loss="mse", optimizers=list(OPTIMIZERS))
    case("mse_single", [7], [linear(8), relu, linear(1)], loss="mse")
    case("normalised_features", [3], [linear(6), relu, linear(3)], mean=[0.5, -1.0, 2.0], std=[2.0, 0.5, 1.5])
    case("normalised_channels", [3, 4, 5], [flatten, linear(6), relu, linear(3)], stored="U8", divide_by=255,
         mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.25])
    case("linear_rows", [4, 6], [linear(5, bias=False), relu, linear(3), flatten, linear(4)])
    case("conv", [2, 7, 6], [conv(5, 3, padding=1), relu, conv(4, 3), flatten, linear(3)],
         optimizers=("sgd", "momentum", "adam"), stored="U8", divide_by=255, mean=[0.5, 0.4], std=[0.5, 0.25])
    case("conv_stride", [3, 9, 8], [
        conv(4, [3, 2], stride=[2, 1], padding=[1, 0], bias=False), relu, conv(6, 3, stride=2, padding=1), relu,
        flatten, linear(4)])
    case("conv_wide", [1, 6, 6], [conv(19, 5, padding=2), relu, conv(17, 3, padding=1), flatten, linear(3)])
    case("max_pool", [2, 8, 7], [
        conv(3, 3, padding=1), {"type": "max_pool2d", "kernel_size": 2}, relu, conv(4, 2),
        {"type": "max_pool2d", "kernel_size": [3, 2], "stride": [2, 1], "padding": 1}, flatten, linear(3)])
    case("avg_pool", [2, 8, 7], [
        conv(3, 3, padding=1), {"type": "avg_pool2d", "kernel_size": 3, "stride": 2, "padding": 1}, relu, conv(5, 2),
        {"type": "global_avg_pool2d"}, flatten, linear(3)])
    case("leaky_relu", [6], [linear(9), {"type": "leaky_relu", "negative_slope": 0.2}, linear(3)])
    case("gelu", [6], [linear(9), {"type": "gelu"}, linear(3)])
    case("tanh", [6], [linear(9), {"type": "tanh"}, linear(3)])
    case("sigmoid", [6], [linear(9), {"type": "sigmoid"}, linear(3)])
    case("silu", [6], [linear(9), {"type": "silu"}, linear(3)])
    case("relu", [6], [relu, linear(9), {"type": "tanh"}, relu, linear(3)])
    case("layer_norm", [10], [{"type": "layer_norm"}, linear(9), {"type": "layer_norm", "eps": 1e-3}, relu, linear(3)])
    case("layer_norm_images", [2, 5, 9], [
        conv(3, 3, padding=1), {"type": "layer_norm", "normalized_shape": [3, 5, 9]}, relu,
        # No bias: the norm takes it away again, its gradient is nothing but rounding.
        conv(3, 3, padding=1, bias=False),
        {"type": "layer_norm", "normalized_shape": [5, 9], "bias": False}, conv(2, 3, padding=1, bias=False),
        {"type": "layer_norm", "normalized_shape": 9, "elementwise_affine": False}, flatten, linear(3)])
    case("group_norm", [4, 5, 4], [
        {"type": "group_norm", "num_groups": 2}, conv(6, 3, padding=1), {"type": "group_norm", "num_groups": 3}, relu,
        conv(4, 3), {"type": "group_norm", "num_groups": 1, "affine": False}, flatten, linear(8),
        {"type": "group_norm", "num_groups": 2}, linear(3)])
    case("residual", [2, 6, 6], [
        conv(4, 3, padding=1), relu,
        {"type": "residual", "layers": [conv(4, 3, padding=1), relu, conv(4, 3, padding=1)]}, relu,
        {"type": "residual", "layers": [conv(6, 3, stride=2, padding=1), relu, conv(6, 3, padding=1)],
         "projection": [conv(6, 1, stride=2)]}, relu,
        {"type": "global_avg_pool2d"}, flatten,
        {"type": "residual", "layers": [linear(6), {"type": "tanh"}]},
        {"type": "residual", "layers": [
            {"type": "residual", "layers": [{"type": "sigmoid"}]}, linear(5)], "projection": [linear(5, bias=False)]},
        linear(3)])
    case("residual_first", [2, 5, 4], [
        {"type": "residual", "layers": [conv(2, 3, padding=1), relu]},
        {"type": "residual", "layers": [{"type": "tanh"}]}, flatten, linear(3)])
    files = sorted(FOLDER.glob("*.safetensors"))
    print(f"{len(files)} files, {sum(file.stat().st_size for file in files)} bytes")


if __name__ == "__main__":
    main()
