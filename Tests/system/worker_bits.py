#!/usr/bin/env python3
"""The same work gives the same bytes: twice, with 1, 2 and 3 threads, with every instruction set this machine has."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
SCRATCH = pathlib.Path(os.environ["DEML_TEST_SCRATCH"])
RECIPES = {
    "mlp": ["--epochs", "2", "--batch-size", "10", "--momentum", "0.9", "--seed", "3"],
    "cnn": ["--epochs", "2", "--batch-size", "64", "--optimizer", "adam", "--learning-rate", "0.001"],
}


def train(folder, recipe, name, *options):
    """Runs the worker; returns the delta's SHA-256 and the report."""
    delta, report = folder / f"{name}.safetensors.gz", folder / f"{name}.json"
    command = [os.environ["DEML_WORKER"], "train", "--weights", folder / "weights.safetensors"]
    command += ["--shard", folder / "shard.safetensors.gz", "--delta", delta, "--report", report, *recipe, *options]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env={})
    return hashlib.sha256(delta.read_bytes()).hexdigest(), json.loads(report.read_text())


def main():
    python = os.environ["DEML_TEST_PYTHON"]
    wrong = 0
    for model, recipe in RECIPES.items():
        folder = SCRATCH / model
        subprocess.run([python, HERE / "worker/files.py", folder, "--model", model], check=True)
        expected, report = train(folder, recipe, "first")
        fastest = report["isa"]
        variants = [("again", []), ("another seed", ["--seed", "4"])]
        variants += [(f"{threads} threads", ["--threads", str(threads)]) for threads in (1, 2, 3)]
        for isa in ("portable", "avx2", "avx512", "neon"):
            variants.append((f"--isa {isa}", ["--isa", isa, "--threads", "2"]))
        ran = []
        for name, options in variants:
            isa = options[1] if options[:1] == ["--isa"] else None
            try:
                got, report = train(folder, recipe, name.replace(" ", "-"), *options)
            except subprocess.CalledProcessError as error:
                # Only an instruction set that this machine lacks may be refused, and never the portable one.
                if isa in (None, "portable", fastest) or error.returncode != 64:
                    raise
                print(f"{model}: {name}: not on this machine (its fastest is {fastest})")
                continue
            ran.append(report["isa"])
            if (got == expected) != (name != "another seed"):
                print(f"{model}: {name}: {got}, at first {expected}", file=sys.stderr)
                wrong += 1
        if "portable" not in ran:
            print(f"{model}: the portable kernels never ran: {ran}", file=sys.stderr)
            wrong += 1
        print(f"{model}: {expected} in {len(ran)} runs, instruction sets {', '.join(sorted(set(ran)))}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
