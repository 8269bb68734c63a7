"""Makes Tests/TensorsTests/Fixtures with the Python package safetensors, and prints the constants of the tests.

    python3 -m venv .venv && .venv/bin/pip install safetensors==0.8.0 numpy==2.4.6
    .venv/bin/python Tests/Reference/safetensors_fixtures.py
"""

import gzip
import hashlib
import pathlib

import numpy
import safetensors
import safetensors.numpy

folder = pathlib.Path(__file__).parent.parent / "TensorsTests" / "Fixtures"
folder.mkdir(exist_ok=True)

# Every type: element i is i * 7 - 10 (modulo the type's range), or i / 2 - 3 for floating point, or i % 2 for BOOL.
# bfloat16, which numpy does not have, is the upper half of float32; all these values are exact in it.
steps = numpy.arange(6)
floats = steps / 2 - 3
integers = steps * 7 - 10
bfloats = (floats.astype("<f4").view("<u4") >> 16).astype("<u2")


kept = []  # the package takes addresses, so the arrays must live until they are written


def entry(dtype, shape, array):
    kept.append(array)
    return safetensors.TensorSpec(
        dtype=dtype, shape=shape, data_ptr=array.ctypes.data, data_len=array.nbytes
    )


every_type = {
    "f64": entry("float64", [2, 3], floats.astype("<f8")),
    "f32": entry("float32", [2, 3], floats.astype("<f4")),
    "f16": entry("float16", [2, 3], floats.astype("<f2")),
    "bf16": entry("bfloat16", [2, 3], bfloats),
    "i64": entry("int64", [2, 3], integers.astype("<i8")),
    "i32": entry("int32", [2, 3], integers.astype("<i4")),
    "i16": entry("int16", [2, 3], integers.astype("<i2")),
    "i8": entry("int8", [2, 3], integers.astype("i1")),
    "u8": entry("uint8", [2, 3], integers.astype("u1")),
    "bool": entry("bool", [2, 3], (steps % 2).astype("u1")),
}
(folder / "every_type.safetensors").write_bytes(safetensors.serialize(every_type, None))

# Names and texts that need escapes, a scalar, an empty tensor, metadata.
odd = {
    "scalar": numpy.array(1.5, dtype="float32"),
    "empty": numpy.zeros((3, 0), dtype="float32"),
    'quote " backslash \\ tab \t é 😀': numpy.arange(3, dtype="uint8"),
    "": numpy.arange(2, dtype="int64"),
}
metadata = {"text": 'line 1\nline 2 "quoted" \u0001 ü 😀'}
(folder / "odd_names.safetensors").write_bytes(safetensors.numpy.save(odd, metadata))

# A shard as README tells to make one.
shard = {
    "x": (numpy.arange(4 * 784) % 251).astype("uint8").reshape(4, 1, 28, 28),
    "y": numpy.array([3, 1, 4, 1], dtype="int64"),
}
with gzip.GzipFile(folder / "shard.safetensors.gz", "wb", mtime=1) as file:
    file.write(safetensors.numpy.save(shard))

# All finite half-precision values as float32, by numpy: the digest in TensorTests.
bits = numpy.arange(65536, dtype="<u2")
wide = bits.view("<f2").astype("<f4")
wide[numpy.isnan(wide)] = 0
print("SHA-256 of all halves as float32, NaN as 0:", hashlib.sha256(wide.tobytes()).hexdigest())
