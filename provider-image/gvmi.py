"""The format of a Golem VM image (.gvmi), for build, check and boot.

    squashfs 4.0, padded to 4 KiB | u32 LE crc32(JSON) | JSON | length of the JSON as 8 ASCII digits

The JSON is Docker's container configuration; the runtime uses User, Env, Volumes, WorkingDir, Entrypoint and Cmd.
"""

import hashlib
import json
import os
import pathlib
import re
import struct
import subprocess
import zlib

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
EXECUTABLE = "/usr/local/bin/deml-worker"
VOLUMES = ("/golem/input", "/golem/output", "/golem/work")
FOLDERS = ("etc", "proc", "sys", "dev", "tmp", "usr", "usr/local", "usr/local/bin")

MAXIMUM_WORKER_BYTES = 18_000_000
MAXIMUM_IMAGE_BYTES = 5_500_000

SUPERBLOCK_BYTES = 96
PADDING = 4096
TRAILER_OVERHEAD = 4 + 8
COMPRESSIONS = {1: "gzip", 2: "lzma", 3: "lzo", 4: "xz", 5: "lz4", 6: "zstd"}
# zstd is packed by the original tool but does not start on Golem; lzma was never in mainline Linux.
REFUSED_COMPRESSIONS = {"lzma", "zstd"}


class Damaged(Exception):
    """The file is no image that a provider could run; the text says why."""


def need_packages(*names):
    """Installs Debian packages that are missing."""
    subprocess.run([REPOSITORY / "tools/need-packages", *names], check=True)


# The configuration and the trailer that carries it.


def configuration():
    """What the image tells the runtime. No User (volumes belong to the provider's user), no Env (it never arrives)."""
    return {
        "Cmd": None,
        "Entrypoint": [EXECUTABLE],
        "Env": [],
        "User": "",
        "Volumes": {path: {} for path in VOLUMES},
        "WorkingDir": "/golem/work",
    }


def trailer(config):
    text = json.dumps(config, separators=(",", ":"), sort_keys=True).encode()
    return struct.pack("<I", zlib.crc32(text)) + text + b"%08d" % len(text)


def split(image):
    """(bytes of the squashfs with its padding, configuration) of an image's bytes; Damaged says what is wrong."""
    if len(image) < SUPERBLOCK_BYTES + TRAILER_OVERHEAD + 2:
        raise Damaged(f"too short for an image: {len(image)} bytes")
    digits = image[-8:]
    if not re.fullmatch(rb"[0-9]{8}", digits):
        raise Damaged("does not end with the 8 digits of the trailer's length (cut off, or no trailer)")
    length = int(digits)
    start = len(image) - TRAILER_OVERHEAD - length
    if length < 2 or start < SUPERBLOCK_BYTES:
        raise Damaged(f"the trailer claims {length} bytes of JSON in a file of {len(image)}")
    text = image[start + 4 : -8]
    (stored,) = struct.unpack_from("<I", image, start)
    if stored != zlib.crc32(text):
        raise Damaged(f"the trailer's checksum is {stored:08x}, its JSON gives {zlib.crc32(text):08x}")
    try:
        config = json.loads(text, object_pairs_hook=_refuse_duplicates)
    except ValueError as error:
        raise Damaged(f"the trailer is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise Damaged("the trailer's JSON is not an object")
    return image[:start], config


def _refuse_duplicates(pairs):
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("a key stands twice in one object")
    return dict(pairs)


def check_configuration(config):
    """Refuses a configuration under which the runtime would not start, or would start something else."""
    volumes = config.get("Volumes") or {}
    if not isinstance(volumes, dict):
        raise Damaged("Volumes is not an object")
    for path, options in volumes.items():
        if not is_plain_path(path):
            raise Damaged(f"volume {path!r} is not an absolute path without '.', '..' or double slashes")
        if options not in ({}, None):
            raise Damaged(f"volume {path!r} has options: {options!r}")
    for name in ("Entrypoint", "Cmd", "Env"):
        value = config.get(name)
        if value is not None and not (isinstance(value, list) and all(isinstance(word, str) for word in value)):
            raise Damaged(f"{name} is not a list of texts")
    folder = config.get("WorkingDir") or "/"
    if not isinstance(folder, str) or not (folder == "/" or is_plain_path(folder)):
        raise Damaged(f"WorkingDir {folder!r} is not an absolute path")
    if config.get("User"):
        raise Damaged(f"User is {config['User']!r}: volumes belong to the provider's user, only root can write there")
    return volumes


def is_plain_path(path):
    return bool(re.fullmatch(r"(/[^/\0]+)+", path)) and not {".", ".."} & set(path.split("/"))


# The squashfs.


def check_superblock(squashfs):
    """Checks the header of a squashfs and the padding after it; returns its facts."""
    magic, _, made, block = struct.unpack_from("<4I", squashfs, 0)
    compression, block_log, _, _, major, minor = struct.unpack_from("<6H", squashfs, 20)
    _, used = struct.unpack_from("<2Q", squashfs, 32)
    tables = struct.unpack_from("<6Q", squashfs, 48)
    if magic != 0x73717368:
        raise Damaged(f"does not begin with a squashfs (magic {magic:08x}, wanted 73717368)")
    if (major, minor) != (4, 0):
        raise Damaged(f"squashfs version {major}.{minor}, the runtime mounts 4.0")
    if not 12 <= block_log <= 20 or block != 1 << block_log:
        raise Damaged(f"squashfs block size {block} with logarithm {block_log}")
    name = COMPRESSIONS.get(compression)
    if name is None or name in REFUSED_COMPRESSIONS:
        raise Damaged(f"squashfs compression {name or compression}: providers cannot mount it")
    if not SUPERBLOCK_BYTES <= used <= len(squashfs):
        raise Damaged(f"the squashfs says it has {used} bytes, {len(squashfs)} are there (cut off?)")
    if len(squashfs) - used >= PADDING or len(squashfs) % PADDING:
        raise Damaged(f"{len(squashfs) - used} bytes between squashfs and trailer, wanted padding to {PADDING}")
    if any(squashfs[used:]):
        raise Damaged("the padding behind the squashfs is not zero")
    for table in tables:
        if table != 0xFFFF_FFFF_FFFF_FFFF and not SUPERBLOCK_BYTES <= table <= used:
            raise Damaged(f"a table of the squashfs starts at {table}, outside its {used} bytes")
    return {"compression": name, "bytes_used": used, "made": made, "block": block}


# The executable.


def check_static(program):
    """Refuses an ELF file that needs anything from the guest's file system, or another processor."""
    if program[:4] != b"\x7fELF":
        raise Damaged("the executable is not an ELF file")
    if program[4:6] != b"\x02\x01" or len(program) < 64:
        raise Damaged("the executable is not 64-bit little-endian")
    kind, machine = struct.unpack_from("<2H", program, 16)
    if machine != 62:
        raise Damaged(f"the executable is for machine {machine}, providers are x86-64 (62)")
    if kind not in (2, 3):
        raise Damaged(f"ELF type {kind} is no program")
    (offset,) = struct.unpack_from("<Q", program, 32)
    size, count = struct.unpack_from("<2H", program, 54)
    if size < 56 or count == 0 or offset + size * count > len(program):
        raise Damaged("the executable's program headers lie outside the file")
    kinds = {struct.unpack_from("<I", program, offset + size * index)[0] for index in range(count)}
    if 3 in kinds:
        raise Damaged("the executable asks for a dynamic linker (PT_INTERP); the image has none")
    if 2 in kinds:
        raise Damaged("the executable is linked dynamically (PT_DYNAMIC); the image has no libraries")
    if b"icudt" in program:
        raise Damaged("the executable carries ICU's data: full Foundation crept in, import FoundationEssentials")


# Hashes.


def chunk_bytes(size):
    """Chunk size of the image registry for a file of this size."""
    mebibyte = 1 << 20
    for limit, chunk in ((200, 2), (500, 5), (1024, 10), (2048, 20), (5120, 50)):
        if size <= limit * mebibyte:
            return chunk * mebibyte
    return 100 * mebibyte


def descriptor(image):
    """The image registry's descriptor: sizes, SHA3-224 of the file, SHA-256 of each chunk, all big-endian."""
    chunk = chunk_bytes(len(image))
    head = struct.pack(">QQQ", 0x333333334, len(image), chunk) + hashlib.sha3_224(image).digest()
    parts = (hashlib.sha256(image[start : start + chunk]).digest() for start in range(0, len(image), chunk))
    return head + b"".join(parts)


def facts(image):
    """What a requestor needs to know of an image: written beside it as JSON."""
    sha3 = hashlib.sha3_224(image).hexdigest()
    return {
        "size": len(image),
        "sha3_224": sha3,
        "descriptor_id": hashlib.sha256(descriptor(image)).hexdigest(),
        "task_package": f"hash:sha3:{sha3}:URL",
    }


def beside(path):
    """Where the facts of an image stand."""
    return pathlib.Path(os.fspath(path) + ".json")
