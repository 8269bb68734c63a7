"""Makes Tests/DatasetsTests/Fixtures with numpy.

    python3 -m venv .venv && .venv/bin/pip install numpy==2.4.6
    .venv/bin/python Tests/Reference/dataset_fixtures.py
"""

import io
import pathlib
import struct
import zipfile
import zlib

import numpy

folder = pathlib.Path(__file__).parent.parent / "DatasetsTests" / "Fixtures"
folder.mkdir(exist_ok=True)

# As Keras' mnist.npz: element i of x is i % 251, label i is i % 3.
x = (numpy.arange(9 * 4 * 5) % 251).astype("u1").reshape(9, 4, 5)
y = (numpy.arange(9) % 3).astype("u1")
numpy.savez_compressed(folder / "keras.npz", x_train=x[:6], y_train=y[:6], x_test=x[6:], y_test=y[6:])
numpy.savez(folder / "stored.npz", x_train=x[:6], y_train=y[:6], x_test=x[6:], y_test=y[6:])

# Every type that is read: values 0, 1, 2, … as that type.
types = ["u1", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "b1"]
numpy.savez_compressed(
    folder / "types.npz", **{name: numpy.arange(6).astype(name).reshape(2, 3) for name in types}
)

# What is refused.
numpy.savez_compressed(folder / "fortran.npz", x=numpy.asfortranarray(x.reshape(9, 20)), y=y)
numpy.savez_compressed(folder / "big_endian.npz", x=x.reshape(9, 20).astype(">f4"), y=y)
numpy.savez_compressed(folder / "complex.npz", x=x.reshape(9, 20).astype("c8"), y=y)
numpy.savez_compressed(folder / "records.npz", x=numpy.zeros(9, dtype=[("a", "f4"), ("b", "i4")]), y=y)
numpy.savez_compressed(folder / "other_names.npz", images=x, labels=y)


def npy(array):
    buffer = io.BytesIO()
    numpy.lib.format.write_array(buffer, array)
    return buffer.getvalue()


# zip64 records that numpy itself writes only beyond 4 GiB: sizes and offsets of the directory in the extra field, and
# the numbers of the end record in a zip64 end record.
local = b""
directory = b""
members = [("x.npy", npy(x.reshape(9, 20))), ("y.npy", npy(y))]
for name, content in members:
    encoded = name.encode()
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = compressor.compress(content) + compressor.flush()
    offset = len(local)
    checksum = zlib.crc32(content)
    extra = struct.pack("<HHQQ", 1, 16, len(content), len(packed))
    sizes = (checksum, 2**32 - 1, 2**32 - 1)
    local += struct.pack("<IHHHHHIIIHH", 0x04034B50, 45, 0, 8, 0, 0x21, *sizes, len(encoded), 20)
    local += encoded + extra + packed
    extra = struct.pack("<HHQQQ", 1, 24, len(content), len(packed), offset)
    directory += struct.pack(
        "<IHHHHHHIIIHHHHHII",
        0x02014B50, 45, 45, 0, 8, 0, 0x21, checksum, 2**32 - 1, 2**32 - 1, len(encoded), 28, 0, 0, 0, 0, 2**32 - 1,
    )
    directory += encoded + extra
end64 = struct.pack(
    "<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, len(members), len(members), len(directory), len(local)
)
locator = struct.pack("<IIQI", 0x07064B50, 0, len(local) + len(directory), 1)
end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
(folder / "zip64.npz").write_bytes(local + directory + end64 + locator + end)

# Python must read it as we do, or it is no zip64 file.
assert zipfile.ZipFile(folder / "zip64.npz").testzip() is None
read = numpy.load(folder / "zip64.npz")
assert (read["x"] == x.reshape(9, 20)).all() and (read["y"] == y).all()
