#!/usr/bin/env python3
"""Damages an image in many ways and has provider-image/check refuse each, with a reason.

    damage.py IMAGE        IMAGE.json lies beside it
"""

import json
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

CHECK = pathlib.Path(__file__).resolve().parents[3] / "provider-image/check"


def trailer(config):
    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    return struct.pack("<I", zlib.crc32(text)) + text + b"%08d" % len(text)


def changed(image, position, value):
    return image[:position] + bytes([value]) + image[position + 1 :]


def flipped(image, position, bit=0):
    return changed(image, position, image[position] ^ (1 << bit))


def damages(image):
    """(name, bytes, words of the reason) of every damage that check finds by itself."""
    length = int(image[-8:])
    start = len(image) - length - 12
    body, config = image[:start], json.loads(image[start + 4 : -8])
    (used,) = struct.unpack_from("<Q", image, 40)
    yield "empty", b"", "too short"
    yield "cut by one byte", image[:-1], "checksum|digits|trailer"
    yield "a byte more", image + b"\0", "digits"
    yield "no trailer", body, "digits|checksum"
    yield "a flipped bit in the JSON", flipped(image, start + 20), "checksum"
    yield "a flipped bit in the checksum", flipped(image, start), "checksum"
    yield "a length beyond the file", image[:-8] + b"99999999", "claims"
    yield "JSON that is none", body + trailer(b'{"Volumes": '), "not JSON"
    yield "JSON that is a list", body + trailer(b"[1, 2]"), "not an object"
    yield "a key twice", body + trailer(b'{"User":"","User":""}'), "twice"
    yield "a volume with ..", body + trailer(config | {"Volumes": {"/golem/../etc": {}}}), "volume"
    yield "a relative volume", body + trailer(config | {"Volumes": {"golem": {}}}), "volume"
    yield "volumes as a list", body + trailer(config | {"Volumes": ["/golem/work"]}), "Volumes"
    yield "a user", body + trailer(config | {"User": "1000:1000"}), "User"
    yield "an entry point that is missing", body + trailer(config | {"Entrypoint": ["/bin/sh"]}), "entry point"
    yield "an entry point that is a folder", body + trailer(config | {"Entrypoint": ["/etc"]}), "entry point"
    yield "an entry point as text", body + trailer(config | {"Entrypoint": "/bin/sh"}), "Entrypoint"
    yield "a relative working directory", body + trailer(config | {"WorkingDir": "work"}), "WorkingDir"
    yield "another magic", flipped(image, 0), "magic"
    yield "another version", changed(image, 28, 3), "version"
    yield "zstd", changed(image, 20, 6), "zstd"
    yield "an unknown compression", changed(image, 20, 77), "compression"
    yield "another block size", flipped(image, 13), "block size"
    yield "made at a time", changed(image, 8, 1), "made at time"
    yield "more bytes than are there", changed(image, 43, 9), "says it has"
    yield "fewer bytes than are there", changed(image, 42, image[42] - 1), "between"
    yield "a table outside", changed(image, 69, 9), "table"
    yield "padding that is not zero", flipped(image, used), "padding"
    yield "4096 zeros more", body + bytes(4096) + image[start:], "padding"
    for place in (0.1, 0.5, 0.9):
        yield f"a flipped bit at {place:.0%} of the data", flipped(image, int(used * place), 3), "unpacked|listed"
    yield "cut in the middle", image[: used // 2] + image[start:], "says it has"


def foreign(folder, image):
    """Images packed from wrong roots: name, bytes, words."""
    config = image[len(image) - int(image[-8:]) - 12 :]
    program = folder / "root/usr/local/bin/deml-worker"

    def pack(change, *options):
        root = folder / "root"
        shutil.rmtree(root, ignore_errors=True)
        for name in ("etc", "proc", "sys", "usr/local/bin"):
            (root / name).mkdir(parents=True)
        program.write_bytes(worker)
        program.chmod(0o755)
        change(root)
        packed = folder / "packed"
        command = ["mksquashfs", root, packed, "-noappend", "-comp", "gzip", "-no-progress", "-quiet"]
        owner = [] if "-force-uid" in options else ["-all-root"]
        command += [*owner, "-all-time", "0", "-mkfs-time", "0", *options]
        subprocess.run(command, check=True)
        return packed.read_bytes() + config

    packed = folder / "image.squashfs"
    packed.write_bytes(image)
    command = ["unsquashfs", "-quiet", "-no-progress", "-dest", folder / "whole", packed]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    # Its headers are enough for a check, and a small file is packed at once.
    worker = (folder / "whole/usr/local/bin/deml-worker").read_bytes()[: 1 << 20]
    (offset,) = struct.unpack_from("<Q", worker, 32)
    asks = worker[:offset] + struct.pack("<I", 3) + worker[offset + 4 :]
    dynamic = worker[:offset] + struct.pack("<I", 2) + worker[offset + 4 :]
    yield "good", pack(lambda root: None), None
    yield "no /etc", pack(lambda root: (root / "etc").rmdir()), "no folder /etc"
    yield "no /proc", pack(lambda root: (root / "proc").rmdir()), "no folder /proc"
    yield "/var is a link", pack(lambda root: (root / "var").symlink_to("/tmp")), "/var is not a folder"
    yield "/golem is a link", pack(lambda root: (root / "golem").symlink_to("/tmp")), "/golem is not a folder"
    yield "another owner", pack(lambda root: None, "-force-uid", "1000"), "belongs to 1000"
    yield "worker not executable", pack(lambda root: program.chmod(0o644)), "not an executable"
    yield "worker setuid", pack(lambda root: program.chmod(0o4755)), "setuid"
    yield "worker is a script", pack(lambda root: program.write_bytes(b"#!/bin/sh\n")), "not an ELF"
    yield "worker with interpreter", pack(lambda root: program.write_bytes(asks)), "PT_INTERP"
    yield "worker with libraries", pack(lambda root: program.write_bytes(dynamic)), "PT_DYNAMIC"
    yield "worker for another machine", pack(lambda root: program.write_bytes(changed(worker, 18, 183))), "machine 183"
    yield "worker too large", pack(lambda root: program.write_bytes(worker + bytes(18 << 20))), "at most"
    yield "worker with ICU", pack(lambda root: program.write_bytes(worker[:-6] + b"icudt7")), "ICU"
    ballast = random.Random(0).randbytes(6 << 20)
    yield "image too large", pack(lambda root: (root / "ballast").write_bytes(ballast)), "at most"


def refused(name, path, words):
    """Whether check gives the answer wanted: 65 and one line with one of the words, or 0 where there are none."""
    done = subprocess.run([CHECK, path], capture_output=True, text=True, check=False)
    said = done.stderr.strip()
    wanted = 0 if words is None else 65
    has_reason = words is None or len(said.splitlines()) == 1 and any(word in said for word in words.split("|"))
    if done.returncode == wanted and has_reason:
        return True
    print(f"damage: {name}: exit code {done.returncode}, wanted {wanted} and {words!r}: {said}", file=sys.stderr)
    return False


def main():
    good_path = pathlib.Path(sys.argv[1])
    image = good_path.read_bytes()
    answers = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        path = folder / "damaged.gvmi"
        for name, content, words in [*damages(image), *foreign(folder, image)]:
            path.write_bytes(content)
            answers.append(refused(name, path, words))
        # With the record that build writes, any change of any byte is found.
        shutil.copyfile(f"{good_path}.json", f"{path}.json")
        path.write_bytes(image)
        answers.append(refused("unchanged, with its record", path, None))
        generator = random.Random(1)
        for _ in range(20):
            position = generator.randrange(len(image))
            path.write_bytes(flipped(image, position, generator.randrange(8)))
            answers.append(refused(f"a flipped bit at {position}, with the record", path, "beside it says"))
        path.with_name("damaged.gvmi.json").write_text("{}")
        path.write_bytes(image)
        answers.append(refused("a record that is none", path, "not what build writes"))
    print(f"damage: {answers.count(True)} of {len(answers)} images answered as they should be")
    sys.exit(0 if all(answers) else 1)


if __name__ == "__main__":
    main()
