#!/usr/bin/env python3
"""Makes Tests/ModelFormatsTests/Fixtures: small models as the tools themselves write them, for ModelFormatsTests.

    pip install torch==2.13.0 numpy safetensors onnx onnxscript keras h5py
    KERAS_BACKEND=torch python3 Tests/Reference/make_model_formats.py

For each model NAME: NAME.safetensors with `x` and `y`, what the tool itself predicts, and the model as its tool writes it:
`.pth` (state dictionary; of mlp and lenet), `.old.pth` (the same as before PyTorch 1.6), `.onnx` (torch's exporter of today), `.script.onnx`
(that of before), `.pt2` (torch.export.save), `.keras` and `.h5`. FOLDER as an argument writes elsewhere; LARGE as a second
one makes models of a size that people use, for Tests/system/model_formats.sh. What is kept in the tree is made small: what
only debuggers read is left out of `.onnx`, and `.pt2` is deflated.
"""
import logging
import os
import pathlib
import sys
import warnings
import zipfile

os.environ.setdefault("KERAS_BACKEND", "torch")
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)

import numpy
import torch
from safetensors.numpy import save_file
from torch import nn
from torch.nn import functional

FOLDER = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else (
    pathlib.Path(__file__).parent.parent / "ModelFormatsTests" / "Fixtures")
LARGE = len(sys.argv) > 2
WIDTH = 16 if LARGE else 4


class LeNet(nn.Module):
    """Names that people give."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, WIDTH, 3)
        self.conv2 = nn.Conv2d(WIDTH, 2 * WIDTH, 3, padding=1)
        self.dropout = nn.Dropout(0.25)
        self.fc1 = nn.Linear(2 * WIDTH * 9, 16)
        self.fc2 = nn.Linear(16, 5)

    def forward(self, x):
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        x = self.dropout(torch.flatten(x, 1))
        return functional.log_softmax(self.fc2(functional.relu(self.fc1(x))), dim=1)


class Block(nn.Module):
    """A residual block with batch norm, and squeeze-and-excite."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.squeeze = nn.Linear(outputs, 2)
        self.excite = nn.Linear(2, outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(functional.silu(self.bn1(self.conv1(x)))))
        s = functional.adaptive_avg_pool2d(y, 1).flatten(1)
        s = torch.sigmoid(self.excite(functional.relu(self.squeeze(s))))
        y = y * s[:, :, None, None]
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU6())
        self.layers = nn.Sequential(Block(WIDTH, WIDTH, 1), Block(WIDTH, 2 * WIDTH, 2))
        self.fc = nn.Linear(2 * WIDTH, 5)

    def forward(self, x):
        return self.fc(self.layers(self.stem(x)).mean(dim=(2, 3)))


class Dense(nn.Module):
    """DenseNet's way of joining, a depthwise convolution and group norm."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1, groups=2)
        self.second = nn.Conv2d(6, 2, 3, padding=2, dilation=2)
        self.norm = nn.GroupNorm(2, 8)
        self.pool = nn.AvgPool2d(2)
        self.fc = nn.Linear(8 * 9, 3)

    def forward(self, x):
        a = functional.elu(self.first(x))
        b = functional.hardswish(self.second(torch.cat([x, a], 1)))
        return self.fc(torch.flatten(self.pool(self.norm(torch.cat([x, a, b], 1))), 1))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(4, 3, 2, stride=2)
        self.bilinear = nn.Upsample(scale_factor=2, mode="bilinear")
        self.last = nn.Conv2d(7, 2, 1)
        self.head = nn.Conv2d(2, 1, 1)

    def forward(self, x):
        low = functional.leaky_relu(self.down(x), 0.1)
        return self.head(functional.softplus(self.last(torch.cat([x, self.up(low), self.small(x)], 1))))

    def small(self, x):
        return self.bilinear(functional.max_pool2d(functional.pad(x, (0, 0, 0, 0)), 2))


class Mixer(nn.Module):
    """Rows of features: layer norm, gelu both ways, residuals."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(6)
        self.one = nn.Linear(6, 12)
        self.two = nn.Linear(12, 6)
        self.three = nn.Linear(6, 6, bias=False)
        self.fc = nn.Linear(30, 4)

    def forward(self, x):
        x = x + self.two(functional.gelu(self.one(self.norm(x))))
        x = x + functional.gelu(self.three(x), approximate="tanh")
        return torch.softmax(self.fc(torch.flatten(functional.hardsigmoid(x), 1)), dim=-1)


class Attention(nn.Module):
    """nanoGPT's, with one product for q, k and v."""

    def __init__(self, width, heads):
        super().__init__()
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)
        self.heads = heads

    def forward(self, x):
        n, t, c = x.shape
        q, k, v = (p.view(n, t, self.heads, -1).transpose(1, 2) for p in self.c_attn(x).split(c, dim=2))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).contiguous().view(n, t, c))


class GPTBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, 2)
        self.ln_2 = nn.LayerNorm(width, bias=False)
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.c_proj(functional.gelu(self.c_fc(self.ln_2(x))))


class GPT(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.wte = nn.Embedding(11, width)
        self.wpe = nn.Embedding(6, width)
        self.blocks = nn.ModuleList([GPTBlock(width), GPTBlock(width)])
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, 11, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        return self.lm_head(self.ln_f(x))


class Encoder(nn.Module):
    """torch's own attention, and a table of positions as a parameter."""

    def __init__(self, width=8):
        super().__init__()
        self.positions = nn.Parameter(torch.randn(1, 5, width))
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.fc = nn.Linear(5 * width, 3)

    def forward(self, x):
        x = x + self.positions
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return self.fc(torch.flatten(x, 1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(5, 6, num_layers=2, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(12, 4, batch_first=True)
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(self.gru(self.lstm(x)[0])[0][:, -1])


def slim_onnx(path):
    import onnx

    model = onnx.load(path)
    for part in [model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output]:
        part.ClearField("metadata_props")
    del model.graph.value_info[:]
    onnx.save(model, path)


def deflate(path):
    with zipfile.ZipFile(path) as old:
        members = [(info.filename, old.read(info)) for info in old.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in members:
            new.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)


class Windows(nn.Module):
    """Pools of all kinds, and GoogLeNet's and Inception's branches: one divides again, and all are joined at once."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(3, stride=2, ceil_mode=True))
        self.short = nn.Conv2d(6, 2, 1)
        self.split = nn.Conv2d(6, 4, 1)
        self.wide, self.high = nn.Conv2d(4, 3, (1, 3), padding=(0, 1)), nn.Conv2d(4, 3, (3, 1), padding=(1, 0))
        self.pooled = nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), nn.Conv2d(6, 2, 1))
        self.head = nn.Sequential(
            nn.AvgPool2d((3, 2), stride=2, padding=1, ceil_mode=True, count_include_pad=False), nn.Tanh(),
            nn.MaxPool2d(2, stride=2, padding=1, ceil_mode=True), nn.AvgPool2d(2, ceil_mode=True), nn.Flatten(),
            nn.Linear(10 * 2 * 2, 3))

    def forward(self, x):
        x = self.stem(x)
        split = self.split(x)
        split = torch.cat([self.wide(split), self.high(split)], 1)
        return self.head(torch.cat([self.short(x), split, self.pooled(x)], 1))


def torch_models():
    yield "mlp", nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)), (3, 2, 2)
    yield "lenet", LeNet(), (1, 14, 14)
    yield "resnet", ResNet(), (3, 8, 8)
    yield "dense", Dense(), (2, 6, 6)
    yield "unet", UNet(), (2, 8, 8)
    yield "mixer", Mixer(), (5, 6)
    yield "sequence", nn.Sequential(
        nn.Conv1d(3, 4, 3, stride=2, padding=1), nn.BatchNorm1d(4), nn.Tanh(), nn.Flatten(), nn.Linear(20, 2)), (3, 9)


    yield "pools", nn.Sequential(
        nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool1d(3, stride=2, padding=1), nn.Conv1d(4, 3, 2), nn.Tanh(),
        nn.AvgPool1d(2), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(3, 2)), (2, 14)
    if LARGE:
        yield "windows", Windows(), (3, 18, 15)


def write_sequences():
    """As `.pt2`; recurrences by the older exporter too, which writes them as such."""
    for name, model, x in [
        ("gpt", GPT(), torch.randint(0, 11, (4, 6))), ("recurrent", Recurrent(), torch.randn(4, 7, 5)),
        ("encoder", Encoder(), torch.randn(4, 5, 8)),
    ]:
        model.eval()
        save_file({"x": x.numpy(), "y": model(x).detach().numpy().copy()}, FOLDER / f"{name}.safetensors")
        batch = {0: torch.export.Dim("batch", min=1, max=4096)}
        torch.export.save(torch.export.export(model, (x,), dynamic_shapes=(batch,)), str(FOLDER / f"{name}.pt2"))
        torch.onnx.export(
            model, (x,), str(FOLDER / f"{name}.script.onnx"), dynamo=False, input_names=["x"],
            dynamic_axes={"x": {0: "batch"}})
        if name != "recurrent":
            torch.onnx.export(
                model, (x,), str(FOLDER / f"{name}.onnx"), dynamo=True, dynamic_shapes=(batch,), external_data=False,
                verbose=False)
        if not LARGE:
            deflate(FOLDER / f"{name}.pt2")


def write_torch():
    for name, model, shape in torch_models():
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                    module.running_mean.normal_()
                    module.running_var.uniform_(0.5, 2)
                if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)):
                    module.weight.normal_()
                    module.bias.normal_()
        model.eval()
        x = torch.randn(4, *shape)
        y = model(x)
        save_file({"x": x.numpy(), "y": y.detach().numpy().copy()}, FOLDER / f"{name}.safetensors")
        if LARGE or name in ("mlp", "lenet"):
            torch.save(model.state_dict(), FOLDER / f"{name}.pth")
        if name == "mlp":
            torch.save(model.state_dict(), FOLDER / f"{name}.old.pth", _use_new_zipfile_serialization=False)
        batch = {0: torch.export.Dim("batch", min=1, max=4096)}
        torch.onnx.export(
            model, (x,), str(FOLDER / f"{name}.onnx"), dynamo=True, dynamic_shapes=(batch,), external_data=False,
            verbose=False)
        torch.onnx.export(
            model, (x,), str(FOLDER / f"{name}.script.onnx"), dynamo=False, input_names=["x"],
            dynamic_axes={"x": {0: "batch"}})
        torch.export.save(
            torch.export.export(model, (x,), dynamic_shapes=(batch,)), str(FOLDER / f"{name}.pt2"))
        if not LARGE:
            slim_onnx(str(FOLDER / f"{name}.onnx"))
            deflate(FOLDER / f"{name}.pt2")


def keras_models():
    import keras
    from keras import layers

    yield "keras_cnn", keras.Sequential([
        keras.Input((12, 12, 1)), layers.Rescaling(1 / 255), layers.Conv2D(WIDTH, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(), layers.Conv2D(WIDTH, 3, strides=2, padding="same", activation="gelu"), layers.Dropout(0.2),
        layers.Flatten(), layers.Dense(8, activation="silu"), layers.Dense(3, activation="softmax")]), 255

    x = keras.Input((8, 8, 3))
    a = layers.Conv2D(4, 3, padding="same", use_bias=False, name="stem")(x)
    a = layers.ReLU(max_value=6)(layers.BatchNormalization()(a))
    b = layers.SeparableConv2D(4, 3, padding="same")(a)
    g = layers.GlobalAveragePooling2D(keepdims=True)(b)
    g = layers.Conv2D(4, 1, activation="sigmoid")(g)
    a = layers.Add()([a, layers.Multiply()([b, g])])
    low = layers.DepthwiseConv2D(3, strides=2, padding="same", activation="elu")(a)
    up = layers.Conv2DTranspose(3, 3, strides=2, padding="same", activation="relu")(low)
    wide = layers.UpSampling2D(2, interpolation="bilinear")(layers.MaxPooling2D(3, strides=2, padding="same")(a))
    c = layers.Concatenate()([a, up, wide])
    c = layers.LeakyReLU(negative_slope=0.1)(layers.ZeroPadding2D(((1, 0), (0, 1)))(c))
    c = layers.Flatten()(layers.AveragePooling2D(3)(c))
    yield "keras_blocks", keras.Model(x, layers.Dense(2)(layers.Activation("tanh")(c))), 1

    yield "keras_line", keras.Sequential([
        keras.Input((15, 2)), layers.Conv1D(4, 3, padding="same", activation="relu"), layers.BatchNormalization(),
        layers.MaxPooling1D(3, strides=2, padding="same"), layers.ZeroPadding1D(1),
        layers.Conv1D(3, 2, strides=2, dilation_rate=1), layers.AveragePooling1D(2), layers.Flatten(), layers.Dense(4),
        layers.ReLU(), layers.Dense(3)]), 1

    if LARGE:
        yield "keras_wave", keras.Sequential([
            keras.Input((16, 1)), layers.Conv1D(6, 5, groups=1, activation="elu"), layers.AveragePooling1D(2),
            layers.Conv1D(4, 3, padding="same"), layers.GlobalAveragePooling1D(), layers.Dense(2)]), 1
        yield "keras_peaks", keras.Sequential([
            keras.Input((16, 3)), layers.Conv1D(6, 4, groups=3), layers.MaxPooling1D(2), layers.Dropout(0.1),
            layers.GlobalMaxPooling1D(keepdims=True), layers.Flatten(), layers.Dense(2)]), 1
        yield "keras_text", keras.Sequential([
            keras.Input((6,)), layers.Embedding(11, 5), layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
            layers.GRU(3, return_sequences=True), layers.LSTM(3), layers.Dense(2)]), 10
        yield "keras_ends", keras.Sequential([
            keras.Input((7, 3)), layers.Bidirectional(layers.GRU(4, return_sequences=True)), layers.Dropout(0.1),
            layers.Bidirectional(layers.LSTM(3)), layers.Dense(2)]), 1
        yield "keras_steps", keras.Sequential([
            keras.Input((6, 3)), layers.SpatialDropout1D(0.1), layers.TimeDistributed(layers.Dense(4, activation="tanh")),
            layers.LSTM(3), layers.Dense(2)]), 1
        yield "keras_counted", keras.Sequential([
            keras.Input((4,)), layers.Normalization(mean=[1.0, 2, 3, 4], variance=[1.0, 4, 9, 2]),
            layers.GaussianNoise(0.1), layers.Dense(5, activation="relu"), layers.Dense(2)]), 4

        # As transfer learning makes it: what changes the data, a base, a head; the base has a model within it.
        excited = keras.Sequential([
            layers.GlobalAveragePooling2D(), layers.Reshape((1, 1, 6)), layers.Conv2D(3, 1, activation="relu"),
            layers.Conv2D(6, 1, activation="sigmoid")], name="excited")
        y = keras.Input((11, 9, 3))
        b = layers.BatchNormalization()(layers.Conv2D(6, 3, padding="same", use_bias=False)(y))
        b = layers.Multiply()([b, excited(b)])
        b = layers.AveragePooling2D(3, strides=2, padding="same")(layers.ReLU()(b))
        base = keras.Model(y, layers.BatchNormalization()(layers.Conv2D(5, 3)(b)), name="base")
        base.trainable = False
        z = keras.Input((11, 9, 3))
        t = keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.1)], name="augmentation")(z)
        t = base(layers.Rescaling(2.0, offset=-1)(t), training=False)
        t = layers.AveragePooling2D(2, padding="same")(layers.MaxPooling2D(2, strides=2, padding="same")(t))
        yield "keras_transfer", keras.Model(z, layers.Dense(3)(layers.Flatten()(t))), 1

    yield "keras_table", keras.Sequential([
        keras.Input((5,)), layers.Dense(6, activation="relu"), layers.LayerNormalization(), layers.BatchNormalization(),
        layers.Dense(1, activation="sigmoid")]), 1


def write_keras():
    import keras

    for name, model, scale in keras_models():
        for layer in model._flatten_layers(include_self=False):
            weights = [] if hasattr(layer, "layers") or layer.name.startswith(("random", "forward", "backward")) \
                else layer.get_weights()
            if not weights or name == "keras_counted" and "norm" in layer.name:
                continue
            if "normalization" in layer.name:
                weights = [numpy.random.uniform(0.5, 1.5, w.shape) for w in weights]
            else:
                weights = [w if w.ndim > 1 else numpy.random.normal(size=w.shape) for w in weights]
            layer.set_weights(weights)
        x = (numpy.random.uniform(0, 1, (4, *model.input_shape[1:])) * scale).astype(
            "int64" if name == "keras_text" else "float32")
        y = model.predict(x, verbose=0)
        inputs = numpy.moveaxis(x, -1, 1) if x.ndim > 2 and name not in ("keras_ends", "keras_steps") else x
        save_file({"x": numpy.ascontiguousarray(inputs), "y": y}, FOLDER / f"{name}.safetensors")
        for ending in ("keras",) if name in ("keras_table", "keras_line") and not LARGE else ("keras", "h5"):
            path = FOLDER / f"{name}.{ending}"
            model.save(str(path))
            if ending == "keras" and not LARGE:
                deflate(path)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    numpy.random.seed(1)
    write_torch()
    if LARGE:
        write_sequences()
    write_keras()
