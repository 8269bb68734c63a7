#!/usr/bin/env python3
"""How fast a table of 1 M rows and 30 mixed columns becomes shards on one core, beside pandas' read_csv in the same sitting.

    Tests/long/table_speed.py [ROWS] [TIMES]     default 1000000 5; DEML names the program

The table (229 MB): twelve columns of Gaussian numbers, four of prices, five of whole numbers, a time, two with exponents, five of
categories, and a label. Both are run in turn, each on the same one core. Told are CSV bytes a CPU second of the whole process,
user and system, the most memory, and the size of the shards. Wanted (issue: own data): 150 MB/s, no more memory than the arrays
and 64 MiB, and no slower than pandas. Not part of `make test`: a speed is no property of the code alone.
"""
import os
import random
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
DEML = os.environ.get("DEML") or str(TREE / ".build/release/deml")
SCRATCH = Path(os.environ.get("DEML_TEST_SCRATCH") or "/tmp/deml-table-speed")
PARTS = 10


def write(path, rows):
    draw = random.Random(1)
    gauss, uniform, lognormal = draw.gauss, draw.random, draw.lognormvariate
    names = [f"signal_{i}" for i in range(12)] + [f"price_{i}" for i in range(4)]
    names += "age visits size year score time rate_a rate_b region plan member gender device outcome".split()
    form = ",".join(["%.6f"] * 12 + ["%.2f"] * 4 + ["%d"] * 6 + ["%.4e"] * 2 + ["%s"] * 6) + "\n"
    regions, plans = ("north", "south", "overseas"), ("basic", "family", "business")
    devices, outcomes = ("phone", "tablet", "desktop"), ("stays", "leaves", "returns")
    with open(path, "w") as table:
        table.write(",".join(names) + "\n")
        for _ in range(rows):
            signals = [gauss(0, 1 + i) for i in range(12)]
            whole = (
                18 + int(70 * uniform()), int(lognormal(2, 1)), int(1e5 * uniform()), 1990 + int(35 * uniform()),
                int(1000 * uniform()), 1.6e9 + 1e8 * uniform())
            words = (
                regions[int(3 * uniform())], plans[int(3 * uniform() ** 2)], "yes" if uniform() < 0.3 else "no",
                "female" if uniform() < 0.5 else "male", devices[int(3 * uniform() ** 1.5)],
                outcomes[min(2, max(0, int(1.5 + (signals[0] + 0.3 * signals[1]) / 1.5)))])
            table.write(form % (
                *signals, *(lognormal(3, 1) for _ in range(4)), *whole, lognormal(-9, 1), lognormal(-3, 2), *words))


def cost(core, words):
    """CPU seconds and most memory (bytes) of a process on one core."""
    process = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: os.sched_setaffinity(0, {core}))
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{words[0]} failed")
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def main():
    rows, times = ([int(x) for x in sys.argv[1:]] + [1_000_000, 5][len(sys.argv) - 1 :])[:2]
    python = os.environ.get("DEML_LONG_PYTHON") or str(TREE / subprocess.run(
        [TREE / "tools/python-environment", ".venv-speed", "pandas"], check=True, stdout=subprocess.PIPE, text=True,
        cwd=TREE).stdout.strip())
    SCRATCH.mkdir(parents=True, exist_ok=True)
    table, shards = SCRATCH / f"table-{rows}.csv", SCRATCH / "shards"
    if not table.exists():
        write(table, rows)
    size, core = table.stat().st_size, min(os.sched_getaffinity(0))
    # Read once, so that it lies in memory for both.
    table.read_bytes()
    commands = {
        "deml shard": [DEML, "shard", str(table), "--parts", str(PARTS), "--output", str(shards)],
        "pandas.read_csv": [python, "-c", "import pandas, sys; pandas.read_csv(sys.argv[1])", str(table)],
    }
    seconds, memory = {name: [] for name in commands}, {}
    for _ in range(times):
        for name, words in commands.items():
            shutil.rmtree(shards, ignore_errors=True)
            spent, most = cost(core, words)
            seconds[name].append(spent)
            memory[name] = max(memory.get(name, 0), most)
            if name == "deml shard":
                stored = sum(file.stat().st_size for file in shards.glob("*.gz"))
    # 37 inputs of 4 bytes, a label of 8.
    arrays = rows * (37 * 4 + 8)
    print(f"{size / 1e6:.0f} MB of CSV, {arrays / 1e6:.0f} MB of arrays, {stored / 1e6:.1f} MB of shards; CPU s: least, median, most")
    for name, each in seconds.items():
        print(
            f"{name:16} {min(each):6.2f} {statistics.median(each):6.2f} {max(each):6.2f}"
            f"   {size / statistics.median(each) / 1e6:5.0f} MB/s (best {size / min(each) / 1e6:.0f})"
            f"   {memory[name] / 1e6:5.0f} MB")
    problems = []
    if memory["deml shard"] > arrays + (64 << 20):
        problems.append("more memory than the arrays and 64 MiB")
    if statistics.median(seconds["deml shard"]) > statistics.median(seconds["pandas.read_csv"]):
        problems.append("slower than pandas")
    if size / min(seconds["deml shard"]) < 150e6:
        problems.append("less than 150 MB/s")
    if problems:
        sys.exit("; ".join(problems))


if __name__ == "__main__":
    main()
