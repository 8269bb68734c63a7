"""Weights and shards made by Python alone, as README shows: numpy, safetensors and gzip.

    python files.py FOLDER [--model mlp|cnn|medium|large] [--examples N]

writes FOLDER/weights.safetensors and FOLDER/shard.safetensors.gz.
"""

import argparse
import gzip
import json
import pathlib

import numpy
import safetensors.numpy

MODELS = {
    "mlp": {
        "input": {"shape": [1, 28, 28], "divide_by": 255},
        "layers": [
            {"type": "flatten"},
            {"type": "linear", "out_features": 32},
            {"type": "relu"},
            {"type": "linear", "out_features": 10},
        ],
        "loss": "cross_entropy",
    },
    "cnn": {
        "input": {"shape": [1, 28, 28], "divide_by": 255, "mean": [0.13], "std": [0.31]},
        "layers": [
            {"type": "conv2d", "out_channels": 4, "kernel_size": 5, "stride": 2, "padding": 2},
            {"type": "gelu"},
            {"type": "max_pool2d", "kernel_size": 2},
            {"type": "flatten"},
            {"type": "dropout", "p": 0.1},
            {"type": "linear", "out_features": 16},
            {"type": "tanh"},
            {"type": "linear", "out_features": 10},
        ],
        "loss": "cross_entropy",
    },
}
# Weights of 3 MB, and of 48 MB: training those takes more memory than a small guest has.
for name, width in (("medium", 1000), ("large", 15000)):
    MODELS[name] = json.loads(json.dumps(MODELS["mlp"]))
    MODELS[name]["layers"][1]["out_features"] = width
SHAPES = {
    "mlp": {"1.weight": (32, 784), "1.bias": (32,), "3.weight": (10, 32), "3.bias": (10,)},
    "medium": {"1.weight": (1000, 784), "1.bias": (1000,), "3.weight": (10, 1000), "3.bias": (10,)},
    "large": {"1.weight": (15000, 784), "1.bias": (15000,), "3.weight": (10, 15000), "3.bias": (10,)},
    "cnn": {
        "0.weight": (4, 1, 5, 5),
        "0.bias": (4,),
        "5.weight": (16, 196),
        "5.bias": (16,),
        "7.weight": (10, 16),
        "7.bias": (10,),
    },
}


def weights(model="mlp", seed=0):
    """Tensors of a model, uniform as torch draws them."""
    random = numpy.random.default_rng(seed)
    tensors = {}
    for name, shape in SHAPES[model].items():
        whole = SHAPES[model][name.replace("bias", "weight")]
        bound = 1 / numpy.sqrt(numpy.prod(whole[1:]))
        tensors[name] = random.uniform(-bound, bound, shape).astype(numpy.float32)
    return tensors


def shard(examples=200, seed=1):
    """Images of mostly background with a class each, that a model can learn."""
    random = numpy.random.default_rng(seed)
    y = random.integers(0, 10, examples).astype(numpy.uint8)
    x = random.integers(0, 60, (examples, 1, 28, 28)).astype(numpy.uint8)
    for row, label in enumerate(y):
        x[row, 0, 2 * label : 2 * label + 6, 4:24] += 150
    return {"x": x, "y": y}


def write_weights(path, tensors, model="mlp", description=None):
    text = json.dumps(MODELS[model]) if description is None else description
    safetensors.numpy.save_file(tensors, path, metadata={"deml.model": text, "deml.round": "0"})


def write_shard(path, tensors):
    path.write_bytes(gzip.compress(safetensors.numpy.save(tensors), 6, mtime=0))


def write_weights_and_shard(folder, model="mlp", examples=200):
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder / "weights.safetensors", weights(model), model)
    write_shard(folder / "shard.safetensors.gz", shard(examples))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--model", choices=MODELS, default="mlp")
    parser.add_argument("--examples", type=int, default=200)
    options = parser.parse_args()
    write_weights_and_shard(options.folder, options.model, options.examples)


if __name__ == "__main__":
    main()
