#!/bin/sh
# Python's safetensors opens the files that DeML writes, and finds in them what is in the dataset.
set -eu
: "${DEML:?}" "${DEML_TEST_SCRATCH:?}"
python=${DEML_TEST_PYTHON:-python3}
"$python" -c 'import numpy, safetensors' || {
    echo "$python needs numpy and safetensors: tools/python-environment .venv-test numpy safetensors" >&2; exit 1; }

shards=$DEML_TEST_SCRATCH/shards
"$DEML" shard requestor/Datasets/mnist --parts 3 --partition dirichlet:0.5 --seed 3 --output "$shards"
"$python" - "$shards" requestor/Datasets/mnist <<'PYTHON'
import gzip
import hashlib
import json
import pathlib
import sys

import numpy
import safetensors.numpy

shards, mnist = map(pathlib.Path, sys.argv[1:])


def idx(name, offset):
    return numpy.frombuffer(gzip.open(mnist / name).read()[offset:], dtype="u1")


def read(path):
    with gzip.open(path) as file:
        tensors = safetensors.numpy.load(file.read())
    assert set(tensors) == {"x", "y"}, tensors.keys()
    assert tensors["x"].dtype == numpy.uint8 and tensors["x"].shape[1:] == (1, 28, 28), tensors["x"].shape
    return tensors["x"].reshape(-1, 784), tensors["y"]


index = json.loads((shards / "shards.json").read_text())
assert len(index["shards"]) == 3
images, labels = [], []
for shard, counts in zip(index["shards"], index["labels"]["counts"]):
    path = shards / shard["file"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == shard["sha256"], shard["file"]
    assert path.read_bytes()[4:8] == bytes(4), "gzip with a time"
    x, y = read(path)
    assert len(x) == shard["examples"] and numpy.bincount(y, minlength=10).tolist() == counts
    images.append(x)
    labels.append(y)


# The shards together are the training set, in another order: rows with their labels, sorted.
def rows(x, y):
    return sorted(row.tobytes() + bytes([label]) for row, label in zip(x, y))


x = idx("train-images-idx3-ubyte.gz", 16).reshape(-1, 784)
y = idx("train-labels-idx1-ubyte.gz", 8)
assert rows(numpy.concatenate(images), numpy.concatenate(labels)) == rows(x, y)

x, y = read(shards / index["test"])
assert (x == idx("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 784)).all()
assert (y == idx("t10k-labels-idx1-ubyte.gz", 8)).all()
print("Python reads the shards: 70,000 examples with their labels")
PYTHON

# And the other way: what Python writes is read here, every type of it.
"$python" - "$DEML_TEST_SCRATCH" <<'PYTHON'
import gzip
import pathlib
import sys

import numpy
import safetensors.numpy

folder = pathlib.Path(sys.argv[1])
types = ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]
tensors = {name: numpy.arange(6).reshape(2, 3).astype(name) for name in types}
safetensors.numpy.save_file(tensors, folder / "types.safetensors", {"note": "by Python"})
with gzip.open(folder / "types.safetensors.gz", "wb") as file:
    file.write(safetensors.numpy.save(tensors))
PYTHON
for file in types.safetensors types.safetensors.gz; do
    "$DEML" inspect "$DEML_TEST_SCRATCH/$file" >"$DEML_TEST_SCRATCH/inspect.txt"
    for type in F64 F32 F16 I64 I32 I16 I8 U8 BOOL; do
        grep -qw "$type" "$DEML_TEST_SCRATCH/inspect.txt" || {
            echo "deml inspect $file does not show $type:" >&2; cat "$DEML_TEST_SCRATCH/inspect.txt" >&2; exit 1; }
    done
done
echo "deml inspect shows every type that Python wrote"
