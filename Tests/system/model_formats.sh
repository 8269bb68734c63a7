#!/bin/sh
# Model files of PyTorch, ONNX and Keras made by their own tools, in and out, against what the tools predict; ONNX's own
# backend tests; hostile files. The tools are installed beside the test's Python, which has torch, numpy and safetensors.
set -eu
: "${DEML:?}" "${DEML_TEST_PYTHON:?}" "${DEML_TEST_SCRATCH:?}"
here=$(dirname "$0")
root=$here/../..
python=$(DEML_PYTHON=$DEML_TEST_PYTHON "$root/tools/python-environment" "${DEML_FORMATS_PYTHON:-.venv-formats}" \
    onnx==1.23.2 onnxruntime==1.32.0 onnxscript==0.7.2 keras==3.15.1 h5py==3.16.0)
PYTHONPATH=$("$DEML_TEST_PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
export PYTHONPATH
export KERAS_BACKEND=torch PYTHONDONTWRITEBYTECODE=1
"$python" "$root/Tests/Reference/make_model_formats.py" "$DEML_TEST_SCRATCH/models" large >"$DEML_TEST_SCRATCH/make.log" 2>&1 ||
    { tail -n 30 "$DEML_TEST_SCRATCH/make.log" >&2; exit 1; }
"$python" "$here/formats/check.py" "$DEML_TEST_SCRATCH/models" 2>"$DEML_TEST_SCRATCH/check.log" ||
    { tail -n 30 "$DEML_TEST_SCRATCH/check.log" >&2; exit 1; }
