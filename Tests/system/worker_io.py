#!/usr/bin/env python3
"""The worker's system calls are those that a guest's 9p volumes can serve, and serve fast: each input is read by one
large read, each result is written in blocks of 1 MiB, fsync and rename; no shared mmap, no fallocate, no nameless file; and
stdin is left alone."""

import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
SCRATCH = pathlib.Path(os.environ["DEML_TEST_SCRATCH"])


def trace(folder):
    """The system calls of one training, a line each."""
    calls = "openat,open,read,pread64,readv,write,pwrite64,writev,mmap,fallocate,rename,renameat2,fsync,memfd_create"
    command = ["strace", "-f", "-e", f"trace={calls}", "-o", folder / "trace", os.environ["DEML_WORKER"], "train"]
    command += ["--weights", "weights.safetensors", "--shard", "shard.safetensors.gz"]
    command += ["--delta", "delta.safetensors.gz", "--report", "report.json", "--threads", "2"]
    subprocess.run(command, cwd=folder, env={}, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return [line.split(maxsplit=1)[1] for line in (folder / "trace").read_text().splitlines()]


def uses(lines, name):
    """Names of the calls on each descriptor that was opened for a file of this name, up to its next opening."""
    found = []
    descriptor = None
    for line in lines:
        opened = re.match(r'open(?:at)?\((?:AT_FDCWD, )?"([^"]*)", .*\) = (\d+)$', line)
        if opened and re.fullmatch(name, opened[1]):
            descriptor = opened[2]
            found.append([])
        elif opened and opened[2] == descriptor:
            descriptor = None
        elif descriptor is not None:
            call = re.match(rf"(\w+)\({descriptor}[,)].* = (\d+)$", line)
            if call:
                found[-1].append((call[1], int(call[2])))
    return found


def main():
    subprocess.run([HERE / "../../tools/need-packages", "strace"], check=True)
    folder = SCRATCH / "task"
    python = os.environ["DEML_TEST_PYTHON"]
    subprocess.run([python, HERE / "worker/files.py", folder, "--model", "medium", "--examples", "50"], check=True)
    lines = trace(folder)
    mistakes = []
    for name in ("weights.safetensors", "shard.safetensors.gz"):
        size = (folder / name).stat().st_size
        if uses(lines, re.escape(name)) != [[("read", size)]]:
            mistakes.append(f"{name}, {size} bytes, is used so: {uses(lines, re.escape(name))}")
    size = (folder / "delta.safetensors.gz").stat().st_size
    delta = uses(lines, r"delta\.safetensors\.gz\..*tmp")
    blocks = [("write", 1 << 20)] * (size >> 20) + [("write", size % (1 << 20))] * (size % (1 << 20) > 0)
    if delta != [blocks + [("fsync", 0)]]:
        mistakes.append(f"the delta, {size} bytes, is written so: {delta}")
    renamed = re.compile(r'rename\("delta\.safetensors\.gz\..*tmp", "delta\.safetensors\.gz"\) = 0')
    if not any(map(renamed.match, lines)):
        mistakes.append("the delta does not take its name by rename")
    reports = uses(lines, r"report\.json\..*tmp")
    if [[call for call, _ in report] for report in reports] != [["write", "fsync"]] * 2:
        mistakes.append(f"the report is not written twice, at the beginning and at the end: {reports}")
    for line in lines:
        shares = line.startswith("mmap") and "MAP_ANONYMOUS" not in line
        if shares or "O_TMPFILE" in line or line.startswith(("fallocate", "memfd_create")):
            mistakes.append(f"a volume cannot serve {line}")
        if re.match(r"(read|readv|pread64)\(0,", line):
            mistakes.append(f"it reads stdin: {line}")
    for mistake in mistakes:
        print(f"worker_io: {mistake}", file=sys.stderr)
    weights = (folder / "weights.safetensors").stat().st_size
    print(f"worker_io: {len(lines)} calls, weights of {weights} bytes in one read, a delta of {size} in {len(blocks)} writes")
    sys.exit(1 if mistakes else 0)


if __name__ == "__main__":
    main()
