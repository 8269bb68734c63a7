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


class Rescaling(nn.Module):
    """y = scale * x + offset; lists go along the first dimension of an example."""

    def __init__(self, scale, offset=0.0):
        super().__init__()
        self.scale, self.offset = scale, offset

    def along(self, values, x):
        values = torch.as_tensor(values, dtype=x.dtype).reshape(-1)
        return values.reshape(-1, *[1] * (x.dim() - 2))

    def forward(self, x):
        return x * self.along(self.scale, x) + self.along(self.offset, x)


class Concat(nn.Module):
    """The branches' outputs, one behind the other along the channels."""

    def __init__(self, branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class Gate(nn.Module):
    """x times layers(x)."""

    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def forward(self, x):
        return x * self.layers(x)


class PositionalEmbedding(nn.Module):
    """x plus a table of rows, learned or of sines and cosines."""

    def __init__(self, length, width, kind):
        super().__init__()
        if kind == "learned":
            self.weight = nn.Parameter(torch.randn(length, width))
        else:
            angles = numpy.arange(length)[:, None] / 10000.0 ** (numpy.arange(0, width, 2) / width)
            table = numpy.stack([numpy.sin(angles), numpy.cos(angles)], axis=2).reshape(length, -1)[:, :width]
            self.weight = torch.from_numpy(table)

    def forward(self, x):
        return x + self.weight[:x.shape[1]]


class Attention(nn.Module):
    """Self-attention; `naming` gives the two linear layers nanoGPT's names."""

    def __init__(self, width, num_heads, causal=False, bias=True, naming="torch"):
        super().__init__()
        self.heads, self.causal, self.naming = num_heads, causal, naming
        if naming == "gpt":
            self.c_attn, self.c_proj = nn.Linear(width, 3 * width, bias=bias), nn.Linear(width, width, bias=bias)
        else:
            made = nn.MultiheadAttention(width, num_heads, bias=bias, batch_first=True)
            self.in_proj_weight, self.in_proj_bias, self.out_proj = made.in_proj_weight, made.in_proj_bias, made.out_proj
            if bias:
                nn.init.normal_(self.in_proj_bias, std=0.3), nn.init.normal_(self.out_proj.bias, std=0.3)

    def forward(self, x):
        batch, length, width = x.shape
        if self.naming == "torch":
            mask = torch.full((length, length), -torch.inf, dtype=x.dtype).triu(1) if self.causal else None
            return nn.functional.multi_head_attention_forward(
                *[x.transpose(0, 1)] * 3, width, self.heads, self.in_proj_weight, self.in_proj_bias, None, None, False,
                0.0, self.out_proj.weight, self.out_proj.bias, need_weights=False, attn_mask=mask)[0].transpose(0, 1)
        q, k, v = (part.reshape(batch, length, self.heads, -1).transpose(1, 2)
                   for part in self.c_attn(x).split(width, dim=2))
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.c_proj(y.transpose(1, 2).reshape(batch, length, width))


class Recurrent(nn.Module):
    """The outputs of nn.LSTM or nn.GRU alone, whose parameters get our names: without a module of their own."""

    def __init__(self, kind, features, output="all", **options):
        super().__init__()
        self.output, self.inner = output, [kind(features, batch_first=True, **options).double()]
        for name, parameter in self.inner[0].named_parameters():
            self.register_parameter(name, parameter)

    def forward(self, x):
        y, state = self.inner[0](x)
        if self.output == "all":
            return y
        last = state[0] if isinstance(state, tuple) else state
        return torch.cat([last[-2], last[-1]], dim=1) if self.inner[0].bidirectional else last[-1]


class TiedLinear(nn.Module):
    """x times the embedding's weight, which `sequence` gives it."""

    def __init__(self, outputs, bias):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(outputs) * 0.1) if bias else None

    def forward(self, x):
        return nn.functional.linear(x, self.embedding[0], self.bias)


def module(layer, shape):
    """The torch module of one layer of a description; `shape`: of one input example."""
    options = {key: value for key, value in layer.items() if key != "type"}
    kind = layer["type"]
    if kind == "embedding":
        options.pop("init_std", None)
        return nn.Embedding(options.pop("num_embeddings"), options.pop("embedding_dim"), **options)
    if kind == "positional_embedding":
        return PositionalEmbedding(options.get("max_length", shape[0]), shape[1], options.get("kind", "learned"))
    if kind == "attention":
        return Attention(shape[1], **options)
    if kind in ("lstm", "gru"):
        return Recurrent(nn.LSTM if kind == "lstm" else nn.GRU, shape[1], **options)
    if kind == "linear":
        return nn.Linear(shape[-1], options.pop("out_features"), **options)
    if kind == "conv2d":
        return nn.Conv2d(shape[0], options.pop("out_channels"), **options)
    if kind == "conv1d":
        return nn.Conv1d(shape[0], options.pop("out_channels"), **options)
    if kind == "conv_transpose2d":
        return nn.ConvTranspose2d(shape[0], options.pop("out_channels"), **options)
    if kind == "layer_norm":
        return nn.LayerNorm(options.pop("normalized_shape", shape), **options)
    if kind == "batch_norm":
        return (nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d)(shape[0], **options)
    if kind == "rms_norm":
        return nn.RMSNorm(options.pop("normalized_shape", shape), options.pop("eps", 2.0 ** -23), **options)
    if kind == "pad":
        return nn.ZeroPad2d(options["padding"]) if len(shape) == 3 and not options.get("value") else \
            (nn.ConstantPad2d if len(shape) == 3 else nn.ConstantPad1d)(options["padding"], options.get("value", 0.0))
    if kind == "group_norm":
        return nn.GroupNorm(options.pop("num_groups"), shape[0], **options)
    if kind == "concat":
        return Concat([sequence(branch, shape) for branch in options["branches"]])
    if kind == "gate":
        return Gate(sequence(options["layers"], shape))
    if kind == "residual":
        projection = options.get("projection")
        return Residual(sequence(options["layers"], shape), sequence(projection, shape) if projection else None)
    if kind == "global_avg_pool2d":
        return nn.AdaptiveAvgPool2d(1)
    names = {
        "max_pool1d": nn.MaxPool1d, "avg_pool1d": nn.AvgPool1d, "adaptive_avg_pool1d": nn.AdaptiveAvgPool1d,
        "max_pool2d": nn.MaxPool2d, "avg_pool2d": nn.AvgPool2d, "flatten": nn.Flatten, "relu": nn.ReLU,
        "leaky_relu": nn.LeakyReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "silu": nn.SiLU,
        "dropout": nn.Dropout, "relu6": nn.ReLU6, "hard_sigmoid": nn.Hardsigmoid, "hard_swish": nn.Hardswish,
        "elu": nn.ELU, "softplus": nn.Softplus, "upsample": nn.Upsample,
        "adaptive_avg_pool2d": nn.AdaptiveAvgPool2d,
    }
    if kind == "rescaling":
        return Rescaling(**options)
    if kind == "upsample":
        options = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    return names[kind](**options)


def sequence(layers, shape):
    """nn.Sequential of a list of layers; double precision, random norms, so that no gradient is trivial."""
    modules = []
    example = torch.zeros(1, *shape, dtype=torch.int64 if layers and layers[0]["type"] == "embedding" else torch.float64)
    for layer in layers:
        if layer["type"] == "tied_linear":
            made = TiedLinear(modules[0].num_embeddings, layer.get("bias", False)).double()
            made.embedding = [modules[0].weight]
        else:
            made = module(layer, list(example.shape[1:])).double()
        for name, parameter in made.named_parameters(recurse=False):
            if isinstance(made, (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)):
                nn.init.normal_(parameter, mean=1.0 if name == "weight" else 0.0, std=0.2)
        # Without the running statistics of an example that is none.
        made.eval()
        example = made(example)
        made.train()
        modules.append(made)
    return nn.Sequential(*modules)


def normalised(x, description):
    """The inputs as the model sees them."""
    if "tokens" in description:
        return torch.from_numpy(x.astype(numpy.int64))
    x = torch.from_numpy(x).double() / description.get("divide_by", 1)
    ones = [1] * (x.dim() - 2)
    for key, function in (("mean", torch.sub), ("std", torch.div)):
        if key in description:
            x = function(x, torch.tensor(description[key], dtype=torch.float64).reshape(1, -1, *ones))
    return x


class Lion(torch.optim.Optimizer):
    """Algorithm 2 of arXiv 2302.06675; torch has none."""

    def __init__(self, params, lr, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            first, second = group["betas"]
            for parameter in group["params"]:
                average = self.state[parameter].setdefault("exp_avg", torch.zeros_like(parameter))
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.sub_(group["lr"] * torch.sign(first * average + (1 - first) * parameter.grad))
                average.mul_(second).add_((1 - second) * parameter.grad)


def optimizer(parameters, options):
    """The torch optimiser of our options."""
    options = dict(options)
    kind = options.pop("type")
    options["lr"] = options.pop("learning_rate")
    if "epsilon" in options:
        options["eps"] = options.pop("epsilon")
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW,
             "rmsprop": torch.optim.RMSprop, "lion": Lion}
    return kinds[kind](parameters, **options)


def cross_entropy(smoothing):
    """Over the last dimension, whatever stands before it."""
    def function(outputs, labels):
        return nn.functional.cross_entropy(outputs.flatten(0, -2), labels.flatten(), label_smoothing=smoothing)
    return function


def loss_function(loss, smoothing):
    """The torch loss of our description."""
    kind, options = (loss, {}) if isinstance(loss, str) else (loss["type"], {"delta": loss["delta"]})
    if kind == "cross_entropy":
        return cross_entropy(smoothing)
    return {"mse": nn.MSELoss, "l1": nn.L1Loss, "huber": nn.HuberLoss,
            "bce_with_logits": nn.BCEWithLogitsLoss}[kind](**options)


OPTIMIZERS = {
    "sgd": {"type": "sgd", "learning_rate": 0.1},
    "momentum": {"type": "sgd", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.01},
    "nesterov": {"type": "sgd", "learning_rate": 0.05, "momentum": 0.8, "nesterov": True},
    "adam": {"type": "adam", "learning_rate": 0.002},
    "adam_decay": {"type": "adam", "learning_rate": 0.01, "betas": [0.8, 0.99], "epsilon": 1e-6, "weight_decay": 0.1},
    "adamw": {"type": "adamw", "learning_rate": 0.01, "weight_decay": 0.1},
    "rmsprop": {"type": "rmsprop", "learning_rate": 0.002},
    "rmsprop_momentum": {"type": "rmsprop", "learning_rate": 0.001, "alpha": 0.9, "epsilon": 1e-6, "momentum": 0.5,
                         "weight_decay": 0.1},
    "rmsprop_centered": {"type": "rmsprop", "learning_rate": 0.002, "alpha": 0.9, "epsilon": 1e-4, "centered": True},
    "lion": {"type": "lion", "learning_rate": 0.003},
    "lion_decay": {"type": "lion", "learning_rate": 0.003, "betas": [0.95, 0.9], "weight_decay": 0.5},
}


OLDER_OPTIMIZERS = ("sgd", "momentum", "nesterov", "adam", "adam_decay", "adamw")


def case(name, shape, layers, loss="cross_entropy", smoothing=0.0, optimizers=("sgd", "adam"), stored="F32",
         ignored=0.0, epsilon=None, **input_):
    """Writes one file. The training set has one batch for each step but the last two, which are seen twice."""
    torch.manual_seed(sum(map(ord, name)))
    random = numpy.random.default_rng(sum(map(ord, name)))
    count = BATCH * (STEPS - 2) - 3  # the last batch of an epoch is smaller
    if "tokens" in input_:
        x = random.integers(0, input_["tokens"], (count, *shape), dtype={"U8": numpy.uint8}.get(stored, numpy.int32))
    elif stored == "U8":
        x = random.integers(0, 256, (count, *shape), dtype=numpy.uint8)
    else:
        x = random.normal(size=(count, *shape)).astype(numpy.float32)
    model = sequence(layers, shape)
    # Start from what a file can hold.
    for parameter in model.parameters():
        parameter.data = parameter.data.float().double()
    buffers = [key for key, _ in model.named_buffers() if not key.endswith("num_batches_tracked")]
    for key, buffer in model.named_buffers():
        if key in buffers:
            buffer.copy_(torch.rand_like(buffer).float() + (0.5 if key.endswith("var") else -0.5))
    start = {key: value.clone() for key, value in model.state_dict().items()}
    inputs = normalised(x, input_)
    outputs = model(inputs[:BATCH])
    if loss == "cross_entropy":
        y = random.integers(0, outputs.shape[-1], (count, *outputs.shape[1:-1]), dtype=numpy.int64)
        if ignored:
            y[random.random(y.shape) < ignored] = -100
    elif loss == "bce_with_logits":
        y = random.integers(0, 2, (count, *outputs.shape[1:]), dtype=numpy.int64)
    else:
        y = random.normal(size=(count, *outputs.shape[1:])).astype(numpy.float32)
    function = loss_function(loss, smoothing)
    targets = torch.from_numpy(y) if loss == "cross_entropy" else torch.from_numpy(y).double()

    tensors = {"x": x, "y": y, "output": outputs.detach().numpy().astype(numpy.float32)}
    function(outputs, targets[:BATCH]).backward()
    for key, parameter in model.named_parameters():
        tensors[f"gradient/{key}"] = parameter.grad.numpy().astype(numpy.float32)
        tensors[f"weights/{key}"] = start[key].numpy().astype(numpy.float32)

    for key in buffers:
        tensors[f"gradient/{key}"] = numpy.zeros(start[key].shape, dtype=numpy.float32)
        tensors[f"weights/{key}"] = start[key].numpy().astype(numpy.float32)
    if buffers:
        model.load_state_dict(start)
        model.eval()
        answers = model(inputs[:BATCH]).detach()
        model.train()
        tensors["inference"] = (answers.softmax(1) if loss == "cross_entropy" else answers).numpy().astype(numpy.float32)

    options = {}
    for used in optimizers:
        model.load_state_dict(start)
        chosen = dict(OPTIMIZERS[used])
        # The gradient of attention's key bias is nothing but rounding, which Adam would make steps of.
        if epsilon and "adam" in used:
            chosen["epsilon"] = epsilon
        stepper = optimizer(model.parameters(), chosen)
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
        for key in buffers:
            tensors[f"{used}/{key}"] = model.state_dict()[key].numpy().astype(numpy.float32)
        options[used] = {
            "batch_size": BATCH, "epochs": 2, "label_smoothing": smoothing, "optimizer": chosen,
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
         optimizers=OLDER_OPTIMIZERS)
    case("label_smoothing", [9], [linear(12), relu, linear(4)], smoothing=0.1)
    case("mse", [7], [linear(8), {"type": "tanh"}, linear(3)], loss="mse", optimizers=OLDER_OPTIMIZERS)
    case("optimizers", [7], [linear(8), {"type": "tanh"}, linear(3)], optimizers=("adam", *(
        name for name in OPTIMIZERS if name not in OLDER_OPTIMIZERS)))
    case("bce_with_logits", [7], [linear(8), {"type": "tanh"}, linear(4)], loss="bce_with_logits", divide_by=0.3)
    case("l1", [7], [linear(8), {"type": "tanh"}, linear(3)], loss="l1")
    case("huber", [7], [linear(8), {"type": "tanh"}, linear(3)], loss="huber")
    case("huber_delta", [7], [linear(8), {"type": "tanh"}, linear(3)], loss={"type": "huber", "delta": 0.4})
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
    case("conv_groups", [4, 6, 7], [
        conv(6, 3, groups=2, padding=1), {"type": "tanh"}, conv(9, [3, 2], groups=3, stride=2, dilation=[1, 2]),
        relu, flatten, linear(3)])
    case("conv_dilated", [2, 9, 8], [
        conv(5, 3, dilation=2, padding="same"), relu, conv(4, [2, 3], dilation=[3, 1], stride=[1, 2], bias=False),
        {"type": "tanh"}, flatten, linear(3)])
    case("conv_depthwise", [2, 7, 8], [
        conv(19, 1), {"type": "tanh"}, conv(19, 3, groups=19, padding=1), relu,
        conv(19, [5, 3], groups=19, padding=[2, 1], stride=2, bias=False), conv(38, 2, groups=19, dilation=2),
        {"type": "tanh"}, flatten, linear(3)], optimizers=("sgd", "momentum", "adam"))
    case("conv1d", [3, 11], [
        {"type": "conv1d", "out_channels": 6, "kernel_size": 3, "padding": "same"}, relu,
        {"type": "conv1d", "out_channels": 6, "kernel_size": 3, "groups": 6, "dilation": 2},
        {"type": "tanh"}, {"type": "conv1d", "out_channels": 4, "kernel_size": 2, "stride": 2, "padding": 1,
                           "bias": False}, flatten, linear(3)])
    case("conv_transpose", [3, 4, 3], [
        {"type": "conv_transpose2d", "out_channels": 6, "kernel_size": 3, "stride": 2, "padding": 1,
         "output_padding": 1}, relu,
        {"type": "conv_transpose2d", "out_channels": 4, "kernel_size": [2, 3], "groups": 2, "dilation": [1, 2],
         "padding": [0, 1]}, {"type": "tanh"},
        {"type": "conv_transpose2d", "out_channels": 4, "kernel_size": 3, "groups": 4, "stride": [1, 2],
         "bias": False}, conv(2, 2), flatten, linear(3)])
    case("max_pool", [2, 8, 7], [
        conv(3, 3, padding=1), {"type": "max_pool2d", "kernel_size": 2}, relu, conv(4, 2),
        {"type": "max_pool2d", "kernel_size": [3, 2], "stride": [2, 1], "padding": 1}, flatten, linear(3)])
    case("avg_pool", [2, 8, 7], [
        conv(3, 3, padding=1), {"type": "avg_pool2d", "kernel_size": 3, "stride": 2, "padding": 1}, relu, conv(5, 2),
        {"type": "global_avg_pool2d"}, flatten, linear(3)])
    case("pools1d", [3, 17], [
        {"type": "conv1d", "out_channels": 5, "kernel_size": 3, "padding": 1}, {"type": "max_pool1d", "kernel_size": 2},
        {"type": "tanh"}, {"type": "conv1d", "out_channels": 7, "kernel_size": 2},
        {"type": "avg_pool1d", "kernel_size": 3, "stride": 2, "padding": 1}, relu,
        {"type": "conv1d", "out_channels": 4, "kernel_size": 1},
        {"type": "max_pool1d", "kernel_size": 3, "stride": 1, "padding": 1},
        {"type": "adaptive_avg_pool1d", "output_size": 3}, flatten, linear(3)])
    case("leaky_relu", [6], [linear(9), {"type": "leaky_relu", "negative_slope": 0.2}, linear(3)])
    case("gelu", [6], [linear(9), {"type": "gelu"}, linear(3)])
    case("tanh", [6], [linear(9), {"type": "tanh"}, linear(3)])
    case("sigmoid", [6], [linear(9), {"type": "sigmoid"}, linear(3)])
    case("silu", [6], [linear(9), {"type": "silu"}, linear(3)])
    case("relu6", [6], [linear(9), {"type": "tanh"}, linear(7), {"type": "relu6"}, linear(3)], divide_by=0.25)
    case("hard_sigmoid", [6], [linear(9), {"type": "hard_sigmoid"}, linear(3)], divide_by=0.2)
    case("hard_swish", [6], [linear(9), {"type": "hard_swish"}, linear(3)], divide_by=0.2)
    case("elu", [6], [linear(9), {"type": "elu"}, linear(7), {"type": "elu", "alpha": 0.7}, linear(3)])
    case("gelu_tanh", [6], [linear(9), {"type": "gelu", "approximate": "tanh"}, linear(3)])
    case("softplus", [6], [
        linear(9), {"type": "softplus"}, linear(7), {"type": "softplus", "beta": 1.5, "threshold": 1.2}, linear(3)],
         divide_by=0.5)
    case("rescaling", [2, 5, 4], [
        {"type": "rescaling", "scale": 0.5, "offset": -0.25}, conv(3, 3),
        {"type": "rescaling", "scale": [1.5, -0.5, 2.0], "offset": [0.25]}, relu, flatten, linear(2),
        {"type": "rescaling", "scale": [3.0], "offset": [1.0, -2.0]}])
    case("relu", [6], [relu, linear(9), {"type": "tanh"}, relu, linear(3)])
    case("layer_norm", [10], [{"type": "layer_norm"}, linear(9), {"type": "layer_norm", "eps": 1e-3}, relu, linear(3)])
    # No bias before the norm: it takes it away again, and the bias' gradient is nothing but rounding.
    case("batch_norm", [2, 5, 4], [
        {"type": "batch_norm"}, conv(6, 3, padding=1, bias=False), {"type": "batch_norm", "momentum": 0.3}, relu,
        conv(4, 3, bias=False), {"type": "batch_norm", "affine": False, "eps": 1e-2}, {"type": "tanh"}, flatten,
        linear(3)])
    case("batch_norm_features", [7], [
        linear(9, bias=False), {"type": "batch_norm", "eps": 0.05}, {"type": "tanh"},
        {"type": "residual", "layers": [linear(9, bias=False), {"type": "batch_norm", "eps": 0.1}]}, linear(2)],
         loss="mse")
    case("rms_norm", [2, 5], [
        linear(12), {"type": "rms_norm", "normalized_shape": 12}, {"type": "tanh"}, flatten, linear(9),
        {"type": "rms_norm", "eps": 1e-2, "elementwise_affine": False}, linear(3)])
    case("rms_norm_images", [2, 5, 4], [
        conv(3, 3, padding=1), {"type": "rms_norm", "normalized_shape": [3, 5, 4]}, {"type": "tanh"},
        conv(2, 3), flatten, linear(3)])
    case("pad", [2, 4, 3], [
        {"type": "pad", "padding": [1, 2, 0, 3], "value": 0.5}, conv(3, 3), {"type": "tanh"},
        {"type": "pad", "padding": 1}, conv(2, 3), flatten, linear(3)])
    case("pad_sequence", [3, 5], [
        linear(4), {"type": "pad", "padding": [2, 1], "value": -0.25}, {"type": "pad", "padding": 1}, linear(6),
        {"type": "tanh"}, flatten, linear(3)])
    case("upsample", [2, 4, 3], [
        conv(3, 3, padding=1), {"type": "upsample", "scale_factor": 2}, conv(2, 3),
        {"type": "upsample", "size": [5, 7]}, {"type": "tanh"}, conv(2, 2),
        {"type": "upsample", "scale_factor": [1.5, 0.75]}, flatten, linear(3)])
    case("upsample_bilinear", [2, 4, 3], [
        conv(3, 3, padding=1), {"type": "upsample", "scale_factor": 2, "mode": "bilinear"}, conv(2, 3),
        {"type": "upsample", "size": [4, 7], "mode": "bilinear"}, {"type": "tanh"}, conv(2, 2),
        {"type": "upsample", "scale_factor": [2.5, 0.75], "mode": "bilinear"}, flatten, linear(3)])
    case("adaptive_avg_pool", [2, 7, 8], [
        conv(3, 3, padding=1), {"type": "adaptive_avg_pool2d", "output_size": [3, 4]}, {"type": "tanh"},
        conv(4, 2), {"type": "adaptive_avg_pool2d", "output_size": 5}, conv(3, 2, bias=False),
        {"type": "adaptive_avg_pool2d", "output_size": 1}, flatten, linear(3)])
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
    case("concat", [2, 6, 5], [
        conv(4, 3, padding=1), {"type": "concat", "branches": [
            [conv(3, 1), relu], [conv(2, 3, padding=1), {"type": "tanh"}, conv(5, 3, padding=1)], [],
            [{"type": "avg_pool2d", "kernel_size": 3, "stride": 1, "padding": 1}]]},
        {"type": "tanh"}, {"type": "concat", "branches": [[], [conv(2, 3, padding=1), {"type": "sigmoid"}]]},
        {"type": "global_avg_pool2d"}, flatten,
        {"type": "concat", "branches": [[linear(4), {"type": "tanh"}], [{"type": "sigmoid"}], []]}, linear(3)])
    case("concat_first", [3, 4], [
        {"type": "concat", "branches": [[linear(4), {"type": "tanh"}], [{"type": "sigmoid"}]]}, flatten, linear(3)])
    case("gate", [2, 6, 5], [
        conv(6, 3, padding=1), {"type": "tanh"},
        {"type": "gate", "layers": [
            {"type": "global_avg_pool2d"}, conv(3, 1), relu, conv(6, 1), {"type": "sigmoid"}]},
        {"type": "gate", "layers": [conv(6, 3, padding=1), {"type": "sigmoid"}]},
        {"type": "gate", "layers": [{"type": "sigmoid"}]},
        {"type": "global_avg_pool2d"}, flatten, {"type": "gate", "layers": [linear(6), {"type": "tanh"}]}, linear(3)])
    case("gate_first", [2, 4, 3], [
        {"type": "gate", "layers": [{"type": "global_avg_pool2d"}, {"type": "sigmoid"}]},
        {"type": "gate", "layers": [conv(2, 1), {"type": "tanh"}]}, flatten, linear(3)])
    def embedding(tokens, width, **options):
        return {"type": "embedding", "num_embeddings": tokens, "embedding_dim": width, **options}

    def block(width, heads, **options):
        norm = {"type": "layer_norm", "normalized_shape": width}
        return [
            {"type": "residual", "layers": [norm, {"type": "attention", "num_heads": heads, "causal": True, **options}]},
            {"type": "residual", "layers": [norm, linear(2 * width), {"type": "gelu"}, linear(width)]}]

    case("embedding", [5], [
        embedding(11, 7, padding_idx=3), {"type": "positional_embedding"}, {"type": "tanh"}, flatten, linear(3)],
         tokens=11, stored="U8", optimizers=("sgd", "adam", "adamw"))
    case("embedding_sinusoidal", [9], [
        embedding(300, 6), {"type": "positional_embedding", "kind": "sinusoidal"}, linear(8), {"type": "tanh"},
        linear(4)], tokens=290, ignored=0.3, smoothing=0.1)
    case("tied_linear", [6], [
        embedding(70, 10), {"type": "positional_embedding", "max_length": 9}, {"type": "layer_norm",
                                                                              "normalized_shape": 10},
        linear(10), {"type": "tanh"}, {"type": "tied_linear", "bias": True}], tokens=70,
         optimizers=("sgd", "adam", "adamw"))
    case("attention", [7, 12], [
        {"type": "attention", "num_heads": 3}, {"type": "tanh"}, {"type": "attention", "num_heads": 2, "bias": False},
        flatten, linear(3)], epsilon=1e-3)
    case("attention_causal", [37, 8], [
        {"type": "attention", "num_heads": 2, "causal": True}, {"type": "tanh"}, linear(4)], epsilon=1e-3)
    case("transformer", [10], [
        embedding(13, 8), {"type": "positional_embedding"}, *block(8, 2, naming="gpt"),
        *block(8, 4, naming="gpt", bias=False), {"type": "layer_norm", "normalized_shape": 8}, linear(13, bias=False)],
         tokens=13, stored="U8", optimizers=("sgd", "adam", "adamw"), epsilon=1e-3)
    case("lstm", [6, 5], [{"type": "lstm", "hidden_size": 9}, {"type": "tanh"}, linear(4)],
         optimizers=("sgd", "momentum", "adam"))
    case("lstm_layers", [5], [
        embedding(10, 4), {"type": "lstm", "hidden_size": 6, "num_layers": 2, "bidirectional": True, "output": "last"},
        linear(3)], tokens=10)
    case("lstm_plain", [4, 3], [
        linear(5), {"type": "lstm", "hidden_size": 7, "bias": False, "output": "last"}, linear(3)])
    case("gru", [6, 5], [{"type": "gru", "hidden_size": 9}, {"type": "tanh"}, linear(4)],
         optimizers=("sgd", "momentum", "adam"))
    case("gru_layers", [5, 3], [
        linear(4), {"type": "gru", "hidden_size": 6, "num_layers": 2, "bidirectional": True}, {"type": "tanh"},
        {"type": "gru", "hidden_size": 5, "bias": False, "output": "last"}, linear(3)])
    case("residual_first", [2, 5, 4], [
        {"type": "residual", "layers": [conv(2, 3, padding=1), relu]},
        {"type": "residual", "layers": [{"type": "tanh"}]}, flatten, linear(3)])
    files = sorted(FOLDER.glob("*.safetensors"))
    print(f"{len(files)} files, {sum(file.stat().st_size for file in files)} bytes")


if __name__ == "__main__":
    main()
