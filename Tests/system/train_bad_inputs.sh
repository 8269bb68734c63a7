#!/bin/sh
# What deml says about bad inputs: the right exit code, one message that names the place, never a crash.
set -eu
. "$(dirname "$0")/lib.sh"
cd "$root"
scratch=$DEML_TEST_SCRATCH
python=${DEML_TEST_PYTHON:-python3}
small "$scratch/data" 600
yaml=$scratch/model.yaml

# model LAYERS [SETTINGS]: a YAML file with the layers, one a line
model() {
    {
        echo "data: data"
        echo "model:"
        echo "  input: {shape: [1, 28, 28], divide_by: 255}"
        echo "  layers:"
        printf '%s\n' "$1" | sed 's/^/    - /'
        echo "  loss: cross_entropy"
        printf '%s\n' "${2:-workers: 2}"
    } >"$yaml"
}
mlp='{type: flatten}
{type: linear, out_features: 10}'
short="--rounds 1 --local-epochs 1 --no-comparison"

fails "a command that is none" 64 "did you mean 'deml train'?" "$DEML" trian examples/mnist-mlp.yaml
model "$mlp"
succeeds "the good case" "$DEML" train "$yaml" $short --output "$scratch/good" --on simulated
best=$scratch/good/best.safetensors

# Settings
model '{type: flatten}
{type: lineer, out_features: 10}'
fails "unknown layer" 64 "lineer" "$DEML" train "$yaml"
model '{type: flatten}
{type: linear, outfeatures: 10}'
fails "unknown key of a layer" 64 "outfeatures" "$DEML" train "$yaml"
model '{type: linear, out_features: 10, in_features: 7}'
fails "shapes that do not fit" 64 "7" "$DEML" train "$yaml"
model "$mlp" "workers: 0"
fails "zero workers" 64 "workers" "$DEML" train "$yaml"
fails "zero workers by an option" 64 "--workers" "$DEML" train examples/mnist-mlp.yaml --workers 0
fails "a word for a number" 64 "--rounds" "$DEML" train examples/mnist-mlp.yaml --rounds many
fails "a partition that is none" 64 "partition" "$DEML" train examples/mnist-mlp.yaml --partition dirichlet:x
fails "more workers than examples" 64 "workers" "$DEML" train "$yaml" --workers 601
fails "an unknown option" 64 "--wrokers" "$DEML" train examples/mnist-mlp.yaml --wrokers 3
fails "an unknown key, with the nearest" 64 "learning_rate" sh -c "echo 'lerning_rate: 1' >'$scratch/key.yaml'; '$DEML' train '$scratch/key.yaml'"
model "$mlp" "workers: 0
rounds: -1
lerning_rate: 3
optimizer: adamm
fraction: 2"
set +e
errors=$("$DEML" train "$yaml" --batch-size x 2>&1)
set -e
for key in workers rounds lerning_rate optimizer fraction batch-size; do
    contains "every problem is reported at once: $key" "$key" "$errors"
done
# Numbers at the edges of their types
model "$mlp"
for setting in round-timeout=1e30 straggler-factor=1e25 rounds=9000000000000000000 timeout=nan max-seconds=-1 \
    start-timeout=1e30; do
    fails "--$setting" 64 "--${setting%%=*}" "$DEML" train "$yaml" --on simulated "--$setting"
done
always="workers rounds min-workers retries timeout straggler-factor round-timeout local-epochs batch-size
    accumulate-steps max-seconds parallel threads min-cores min-machines start-timeout"
sometimes="fraction target-accuracy test-fraction learning-rate learning-rate-decay momentum beta1 beta2 epsilon
    weight-decay label-smoothing clip-grad-norm proximal-mu server-learning-rate server-momentum clip-norm max-norm
    budget max-price-per-hour max-start-price min-memory min-storage seed"
for value in 1e30 -1e30 nan .nan inf -.inf 9223372036854775807 -1 1e-300; do
    set +e
    errors=$("$DEML" train "$yaml" --on simulated --output "$scratch/extreme" \
        $(for name in $always $sometimes; do echo "--$name=$value"; done) 2>&1 </dev/null)
    status=$?
    set -e
    equal "every number is $value" 64 "$status"
    missing=
    for name in $always; do
        case $errors in *"--$name: "*) ;; *) missing="$missing $name" ;; esac
    done
    equal "every number is $value: each that cannot be is named" "" "$missing"
done
printf 'workers: [3\nrounds: 2\n' >"$scratch/broken.yaml"
fails "broken YAML, with its line" 65 "line" "$DEML" train "$scratch/broken.yaml"
printf 'workers: 3\nworkers: 4\n' >"$scratch/twice.yaml"
fails "a key that stands there twice" 65 "workers" "$DEML" train "$scratch/twice.yaml"
head -c 4000 /dev/urandom >"$scratch/noise.yaml"
fails "noise for YAML" 65 "noise.yaml" "$DEML" train "$scratch/noise.yaml"

# Files
model "$mlp"
fails "a missing settings file" 66 "nowhere.yaml" "$DEML" train "$scratch/nowhere.yaml"
fails "missing data" 66 "nowhere" "$DEML" train "$yaml" --data "$scratch/nowhere"
fails "a missing model file" 66 "nowhere" "$DEML" train "$yaml" --model "$scratch/nowhere"
fails "a run to resume that is none" 66 "config.json" "$DEML" train --resume "$scratch/data"
fails "a folder that has a run" 73 "--resume" "$DEML" train "$yaml" --output "$scratch/good"
fails "a missing worker" 66 "nowhere" "$DEML" train "$yaml" $short --output "$scratch/no-worker" --worker "$scratch/nowhere"

# Data
cp -r "$scratch/data" "$scratch/truncated"
gzip -n "$scratch/truncated/train-images-idx3-ubyte"
head -c 20000 "$scratch/truncated/train-images-idx3-ubyte.gz" >"$scratch/part"
mv "$scratch/part" "$scratch/truncated/train-images-idx3-ubyte.gz"
fails "truncated gzip" 65 "train-images" "$DEML" train "$yaml" --data "$scratch/truncated"
cp -r "$scratch/data" "$scratch/cut"
head -c 20000 "$scratch/data/train-images-idx3-ubyte" >"$scratch/cut/train-images-idx3-ubyte"
fails "truncated IDX" 65 "train-images" "$DEML" train "$yaml" --data "$scratch/cut"
cp -r "$scratch/data" "$scratch/labels"
"$python" -c "
path = '$scratch/labels/train-labels-idx1-ubyte'
data = bytearray(open(path, 'rb').read()); data[20] = 12; open(path, 'wb').write(data)"
fails "labels out of range" 65 "label 12" "$DEML" train "$yaml" --data "$scratch/labels"
mkdir "$scratch/empty"
fails "an empty folder for data" 65 "empty" "$DEML" train "$yaml" --data "$scratch/empty"
"$python" - "$scratch" <<'PYTHON'
import gzip, json, struct, sys
import numpy as np
folder = sys.argv[1]
def save(name, tensors, metadata=None, damage=None, compress=True):
    header, body, position = {}, b"", 0
    if metadata: header["__metadata__"] = metadata
    for key, array in tensors.items():
        data = array.tobytes()
        kind = {"float32": "F32", "uint8": "U8", "int64": "I64"}[str(array.dtype)]
        header[key] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [position, position + len(data)]}
        body += data; position += len(data)
    if damage: damage(header)
    text = json.dumps(header).encode(); text += b" " * (-len(text) % 8)
    raw = struct.pack("<Q", len(text)) + text + body
    open(f"{folder}/{name}", "wb").write(gzip.compress(raw) if compress else raw)
x, y = np.zeros((20, 1, 28, 28), np.uint8), np.arange(20, dtype=np.int64) % 10
save("shape.safetensors.gz", {"x": np.zeros((20, 3, 5), np.uint8), "y": y})
save("none.safetensors.gz", {"x": x[:0], "y": y[:0]})
save("overlap.safetensors.gz", {"x": x, "y": y}, damage=lambda h: h["y"].update(data_offsets=[0, 160]))
save("nan.safetensors.gz", {"x": np.full((20, 1, 28, 28), np.nan, np.float32), "y": y})
save("long.safetensors", {"x": x, "y": y}, compress=False)
raw = bytearray(open(f"{folder}/long.safetensors", "rb").read()); raw[0:8] = struct.pack("<Q", 1 << 40)
open(f"{folder}/long.safetensors", "wb").write(raw)
# A small tensor, then 16 GB of zeros in 16 MB: one block of deflate that stands by itself, again and again.
import zlib
text = json.dumps({"x": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}}).encode()
text += b" " * (-len(text) % 8)
stream = zlib.compressobj(9, zlib.DEFLATED, 31)
start = stream.compress(struct.pack("<Q", len(text)) + text) + stream.flush(zlib.Z_FULL_FLUSH)
zeros = stream.compress(bytes(1 << 24)) + stream.flush(zlib.Z_FULL_FLUSH)
with open(f"{folder}/bomb.safetensors.gz", "wb") as file:
    file.write(start)
    for _ in range(1024): file.write(zeros)
PYTHON
fails "shape of model and data" 65 "shape.safetensors.gz: an example has" "$DEML" train "$yaml" --data "$scratch/shape.safetensors.gz"
fails "no examples" 65 "none.safetensors" "$DEML" train "$yaml" --data "$scratch/none.safetensors.gz"
fails "overlapping tensors" 65 "overlap.safetensors" "$DEML" train "$yaml" --data "$scratch/overlap.safetensors.gz"
fails "NaN in the data" 65 "NaN" "$DEML" train "$yaml" --data "$scratch/nan.safetensors.gz"
fails "a header longer than the file" 65 "long.safetensors" "$DEML" train "$yaml" --data "$scratch/long.safetensors"
fails "a gzip bomb" 65 "bomb.safetensors" "$DEML" evaluate --model "$scratch/bomb.safetensors.gz" --data "$scratch/data"

# Weights
"$python" - "$best" "$scratch" <<'PYTHON'
import json, struct, sys
raw = bytearray(open(sys.argv[1], "rb").read()); folder = sys.argv[2]
length = struct.unpack("<Q", raw[:8])[0]
bad = bytearray(raw); bad[8 + length:12 + length] = struct.pack("<f", float("nan"))
open(f"{folder}/nan-weights.safetensors", "wb").write(bad)
header = json.loads(raw[8:8 + length])
name = next(key for key in header if key != "__metadata__")
header[name]["dtype"] = "I32"
text = json.dumps(header).encode(); text += b" " * (-len(text) % 8)
open(f"{folder}/dtype-weights.safetensors", "wb").write(struct.pack("<Q", len(text)) + text + raw[8 + length:])
open(f"{folder}/cut-weights.safetensors", "wb").write(raw[:len(raw) // 2])
PYTHON
fails "NaN weights" 65 "nan" "$DEML" evaluate --model "$scratch/nan-weights.safetensors" --data "$scratch/data"
fails "weights of a wrong type" 65 "I32" "$DEML" evaluate --model "$scratch/dtype-weights.safetensors" --data "$scratch/data"
fails "truncated weights" 65 "cut-weights" "$DEML" predict --model "$scratch/cut-weights.safetensors" --data "$scratch/data"
fails "missing weights" 66 "nowhere" "$DEML" inspect "$scratch/nowhere"
fails "a model for other data" 65 "[1, 28, 28]" "$DEML" evaluate --model "$best" --data "$scratch/shape.safetensors.gz"
fails "comparing what is no run" 66 "no run" "$DEML" compare "$scratch/data"

# Places that cannot be written
model "$mlp"
if [ -d /proc/self ] && ! mkdir /proc/deml-test 2>/dev/null; then
    fails "an output folder that cannot be made" 73 "/proc/deml-test" "$DEML" train "$yaml" $short --output /proc/deml-test
fi
mkdir "$scratch/mount"
if unshare -m mount -t tmpfs none "$scratch/mount" 2>/dev/null; then
    # unshare: mounts that nobody else sees and that end with the command.
    fails "a read-only output folder" 73 "$scratch/read-only" unshare -m sh -c "
        mkdir -p '$scratch/read-only' && mount -t tmpfs -o ro none '$scratch/read-only' &&
        '$DEML' train '$yaml' $short --output '$scratch/read-only/run'"
    fails "a full disk" 74 "space" unshare -m sh -c "
        mkdir -p '$scratch/full' && mount -t tmpfs -o size=100k none '$scratch/full' &&
        '$DEML' train '$yaml' $short --output '$scratch/full/run'"
else
    echo "note  not tried: a read-only and a full file system. They need a mount: run as root, with unshare allowed." >&2
fi
finish
