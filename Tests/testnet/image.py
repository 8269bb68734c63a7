"""A Golem VM image as a provider treats it: fetched by the URL in the agreement, checked, unpacked, its trailer read.

File: squashfs | u32 LE crc32(JSON) | JSON (Docker's container config) | length of the JSON as 8 ASCII digits.
"""
import asyncio
import hashlib
import json
import os
import shutil
import struct
import subprocess
import zlib
from pathlib import Path
from urllib.parse import urlparse


class ImageError(Exception):
    pass


def parse_package(text):
    """`hash:sha3:<hex>:<url>` -> (hex, url); the hash is not optional for images."""
    parts = text.split(":", 3)
    if len(parts) != 4 or parts[0] != "hash" or parts[1] != "sha3" or len(parts[2]) != 56:
        raise ImageError(f"invalid task package {text!r}: expected hash:sha3:<56 hex digits>:<url>")
    return parts[2].lower(), parts[3]


def read_trailer(path):
    """The container config at the end of the file; ImageError says what is wrong with it."""
    size = os.path.getsize(path)
    with open(path, "rb") as f:
        head = f.read(96)
        if head[:4] != b"hsqs":
            raise ImageError("not a squashfs: the magic number is missing")
        if size < 96 + 12:
            raise ImageError("the image ends before its trailer")
        f.seek(size - 8)
        digits = f.read(8)
        if not digits.isdigit():
            raise ImageError("the last 8 bytes are not the length of the trailer")
        length = int(digits)
        if length + 12 > size:
            raise ImageError(f"the trailer claims {length} bytes, the file has {size}")
        f.seek(size - 12 - length)
        crc, = struct.unpack("<I", f.read(4))
        text = f.read(length)
    if zlib.crc32(text) != crc:
        raise ImageError("the trailer's checksum does not match")
    used, = struct.unpack_from("<Q", head, 40)
    if not used <= size - 12 - length < used + 4096:
        raise ImageError("squashfs and trailer do not meet")
    return json.loads(text)


class Cache:
    """Images of one provider, kept by file name and hash as a real exe-unit keeps them, unpacked once."""

    def __init__(self, folder):
        self.folder, self.locks = Path(folder), {}

    async def get(self, package, fetch):
        """Returns (folder with the unpacked root, config). `fetch(url, path)` brings the file."""
        digest, url = parse_package(package)
        name = f"{digest}-{Path(urlparse(url).path).name}"
        async with self.locks.setdefault(name, asyncio.Lock()):
            file, root = self.folder / name, self.folder / (name + ".root")
            if not root.is_dir():
                self.folder.mkdir(parents=True, exist_ok=True)
                part = file.with_suffix(".part")
                await fetch(url, part)
                found = await asyncio.to_thread(sha3_224, part)
                if found != digest:
                    part.unlink()
                    raise ImageError(f"Hash mismatch: expected {digest}, got {found} from {url}")
                os.replace(part, file)
                config = read_trailer(file)
                await asyncio.to_thread(unpack, file, root)
            else:
                config = read_trailer(file)
        return root, config


def sha3_224(path):
    h = hashlib.sha3_224()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            h.update(block)
    return h.hexdigest()


def unpack(file, root):
    part = Path(str(root) + ".part")
    shutil.rmtree(part, ignore_errors=True)
    done = subprocess.run(["unsquashfs", "-no-progress", "-quiet", "-processors", "1", "-dest", str(part), str(file)],
                          capture_output=True, text=True)
    if done.returncode:
        raise ImageError(f"unsquashfs: {done.stderr.strip() or done.stdout.strip()}")
    missing = [d for d in ("etc", "proc", "sys") if not (part / d).is_dir()]
    if missing:      # the agent of the guest powers off without them
        raise ImageError(f"the image has no folder /{missing[0]}: the guest does not start")
    os.replace(part, root)


def volumes_of(config):
    """The volume paths of the image, longest first, so that the first match is the longest."""
    found = list((config.get("Volumes") or {}))
    for path in found:
        if not path.startswith("/") or any(part in ("", ".", "..") for part in path[1:].split("/")):
            raise ImageError(f"volume {path!r} is not a plain absolute path")
    return sorted(found, key=len, reverse=True)
