#!/bin/sh
# `make dist`: the archive in a root with nothing but the C library (tools/check-dist), the wheel where Swift's libraries and
# the build are hidden. Both train to the very bytes that the program of the build trains to.
set -eu
. "$(dirname "$0")/lib.sh"
: "${DEML_TEST_PYTHON:?}"
cd "$root"
dist=$DEML_TEST_SCRATCH/dist
succeeds "the archive and the wheel are made of what is built, and the archive runs in an empty root" tools/dist "$dist"
made=$output
archive=$(printf '%s\n' "$made" | grep '\.tar\.gz$' | head -n 1)
wheel=$(printf '%s\n' "$made" | grep '\.whl$')
exists "there is an archive" "$archive"
exists "there is a wheel" "$wheel"

# What check-dist trained, here.
cat >"$DEML_TEST_SCRATCH/model.yaml" <<'YAML'
input: {shape: [1, 28, 28], divide_by: 255}
layers: [{type: flatten}, {type: linear, out_features: 16}, {type: relu}, {type: linear, out_features: 10}]
loss: cross_entropy
YAML
train="train --data mnist --model $DEML_TEST_SCRATCH/model.yaml --on local --workers 2 --rounds 1 --no-comparison --no-tensorboard"
# shellcheck disable=SC2086  # several arguments
"$DEML" $train --output "$DEML_TEST_SCRATCH/here" >/dev/null
ours=$(sha256sum "$DEML_TEST_SCRATCH/here/model.safetensors" | cut -d ' ' -f 1)
contains "in the empty root it trained to the bytes of the build" "model $ours" "$made"

# --- the wheel
venv=$DEML_TEST_SCRATCH/venv
"$DEML_TEST_PYTHON" -m venv "$venv"
succeeds "pip installs the wheel" "$venv/bin/pip" install --quiet --disable-pip-version-check --no-index --no-deps "$wheel"
libraries=$("$DEML_TEST_PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
swift=$(dirname "$(dirname "$(readlink -f "$(command -v swift)")")")/lib
as_root=
[ "$(id -u)" -eq 0 ] || as_root=--map-root-user
# without_swift COMMAND...: Swift's libraries and the build's folders are empty, and nothing of the environment is left.
without_swift() {
    unshare $as_root --mount sh -c '
        for folder in "$1/swift" "$1/swift_static" "$2/.build" "$2/.build-dist"; do
            [ ! -d "$folder" ] || mount -t tmpfs none "$folder"
        done
        shift 2
        exec env -i PATH=/usr/bin:/bin HOME="$HOME" PYTHONPATH="$PYTHONPATH" "$@"' - "$swift" "$root" "$@"
}
PYTHONPATH=$libraries
export PYTHONPATH
set +e
"$DEML" --version >/dev/null 2>&1
with=$?
without_swift "$DEML" --version >/dev/null 2>&1
status=$?
set -e
[ "$with" -eq 0 ] && [ "$status" -ne 0 ] && ok "the program of the build does not run there" ||
    not_ok "the program of the build does not run there" "with Swift: $with, without: $status"
# shellcheck disable=SC2086
succeeds "the wheel's deml trains there" without_swift "$venv/bin/deml" $train --output "$DEML_TEST_SCRATCH/there"
same_bytes "to the bytes of the build" "$DEML_TEST_SCRATCH/here/model.safetensors" "$DEML_TEST_SCRATCH/there/model.safetensors"
cat >"$DEML_TEST_SCRATCH/train.py" <<'PYTHON'
import sys

import deml
import numpy

random = numpy.random.default_rng(0)
y = random.integers(0, 3, 600)
x = (random.normal(size=(600, 4)) + 4 * numpy.eye(3, 4)[y]).astype("float32")
model = {"input": {"shape": [4]}, "layers": [{"type": "linear", "out_features": 3}], "loss": "cross_entropy"}
run = deml.train(model, x, y, workers=2, rounds=2, learning_rate=0.05, output=sys.argv[1], progress=False)
assert deml.program().startswith(sys.prefix), deml.program()
print(run.accuracy)
PYTHON
succeeds "so does its module" without_swift "$venv/bin/python" "$DEML_TEST_SCRATCH/train.py" "$DEML_TEST_SCRATCH/module"
at_least "accuracy from Python" 0.9 "$output"

# --- what it asks of a machine
succeeds "libraries and versions of symbols are what the wheel's tag says" python3 - "$venv" "$wheel" <<'PYTHON'
import pathlib
import re
import subprocess
import sys

venv, wheel = pathlib.Path(sys.argv[1]), sys.argv[2]
most = tuple(map(int, re.search(r"manylinux_(\d+)_(\d+)_", wheel).groups()))
files = [venv / "bin/deml", venv / "bin/deml-worker", *sorted((venv / "lib/deml").iterdir())]
system = re.compile(r"(libc|libm|libpthread|libdl|librt|libresolv|libutil|libgcc_s)\.so\.\d+|ld-linux.*\.so\.\d+")
here, wanted = {file.name for file in files}, set()
newest = (0, 0)
for file in files:
    dynamic = subprocess.run(["readelf", "-dVW", file], capture_output=True, text=True, check=True).stdout
    wanted |= set(re.findall(r"\(NEEDED\).*\[(.+?)\]", dynamic))
    newest = max([newest, *(tuple(map(int, each.split(".")[:2])) for each in re.findall(r"Name: GLIBC_(\d[\d.]*)", dynamic))])
strange = sorted(name for name in wanted if name not in here and not system.fullmatch(name))
assert not strange, f"nobody has {strange}"
assert newest == most, f"glibc {newest} is asked for, and the tag says {most}"
assert not any("swift" in name or "Foundation" in name for name in wanted), wanted
PYTHON
fails "a wheel that links with more than the tag allows is not made" 1 "libswiftCore.so" \
    sh -c 'mkdir -p "$1/bin" "$1/lib/deml" "$1/share" && cp "$2" "$1/bin/deml" && cp "$3" "$1/bin/deml-worker" &&
    python3 tools/make-wheel "$1" "$1" 0.0.0' - "$DEML_TEST_SCRATCH/stage" "$DEML" "$DEML_WORKER"
finish
