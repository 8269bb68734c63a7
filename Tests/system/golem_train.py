#!/usr/bin/env python3
"""MNIST on three rented machines: the accuracy and the very bytes of the local fleet, everything paid, nothing left.

    Tests/system/golem_train.py            the example as it stands (what `make train-golem` runs)
"""
import json
import sys
import time
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "golem"))
from checks import (SCRATCH, TREE, WORKER, Run, Testnet, check_money, check_nothing_left, expect, on_golem,  # noqa: E402
                    run_all, small_mnist)

NORMS = """\
input: {shape: [1, 28, 28], divide_by: 255}
layers:
  - {type: flatten}
  - {type: linear, out_features: 16}
  - {type: batch_norm}
  - {type: relu}
  - {type: linear, out_features: 10}
loss: cross_entropy
"""
EXAMPLE = TREE / "examples/mnist-mlp.yaml"


def when(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def figures(run):
    """Seconds from the start to the first task, and the most that a round took beyond its slowest task."""
    begun = when(run.events("run_started")[0]["time"])
    first = when(run.events("attempt_started")[0]["time"])
    overheads = []
    rounds = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    for metrics in rounds:
        if metrics["round"] == 0:
            continue
        slowest = 0.0
        for line in (run.folder / f"rounds/{metrics['round']:04}/reports.jsonl").read_text().splitlines():
            record = json.loads(line)
            if "failure" not in record:
                slowest = max(slowest, sum(e["seconds"] for e in record["report"]["epochs"]))
        overheads.append(metrics["seconds"] - metrics["evaluation_seconds"] - slowest)
    return first - begun, overheads


def main():
    with Testnet(3) as network:
        def train():
            run = on_golem(network, "golem", [EXAMPLE, "--no-comparison"]).good(600)
            local = Run("local", [EXAMPLE, "--no-comparison", "--worker", WORKER]).good(600)
            ours, theirs = run.summary(), local.summary()
            expect(ours["accuracy"] >= 0.975, "97.5 % or more on the test set", ours["accuracy"])
            expect(run.model() == local.model(), "the same bytes as the local fleet's model",
                   (ours["model_sha256"], theirs["model_sha256"]))
            expect({w["provider"]["name"] for w in ours["workers"]} == {f"provider-{i}" for i in range(3)},
                   "three providers worked", ours["workers"])
            expect(not run.failures(), "nothing failed", run.failures())
            train.run = run
            start, overheads = figures(run)
            return (f"accuracy {ours['accuracy']:.4f}, {run.seconds:.1f} s, {ours['cost_glm']:.6f} GLM; first task after "
                    f"{start:.1f} s; beyond the slowest task: " + ", ".join(f"{o:.2f}" for o in overheads) + " s")

        def paid():
            invoices = check_money(network, train.run)
            expect(len(invoices) == 3 and all(invoices.values()), "three invoices", invoices)
            statuses = network.control("settled", 60)
            expect(statuses == {"SETTLED": 3}, "all invoices are settled", statuses)
            expect("GLM" in train.run.text() and "provider-0" in train.run.text(), "the table of costs is printed")
            return f"{statuses['SETTLED']} invoices settled"

        def own_norms():
            """FedBN, and rounds of counted steps: what is each client's goes with its weights, to whichever machine."""
            (SCRATCH / "norms.yaml").write_text(NORMS)
            words = ["--data", small_mnist(1200, 200), "--model", SCRATCH / "norms.yaml", "--workers", 4, "--fraction", 0.75,
                     "--rounds", 3, "--local-steps", 9, "--batch-size", 40, "--local-batch-norm", "--no-comparison"]
            run = on_golem(network, "norms", words).good()
            local = Run("norms-local", [*words, "--worker", WORKER]).good()
            expect(run.model() == local.model(), "the same bytes as the local fleet's model")
            ours, theirs = ({p.name: p.read_bytes() for p in (r.folder / "clients").iterdir()} for r in (run, local))
            expect(len(ours) >= 3 and ours == theirs, "and of each client's own", (sorted(ours), sorted(theirs)))
            expect(len(set(ours.values())) == len(ours), "which are not the same")
            expect(not run.failures(), "nothing failed", run.failures())
            return f"{len(ours)} clients, {run.seconds:.1f} s"

        def nothing_left():
            check_nothing_left(network)

        return run_all([("train", train), ("paid", paid), ("own-norms", own_norms), ("nothing-left", nothing_left)])


if __name__ == "__main__":
    SCRATCH.mkdir(parents=True, exist_ok=True)
    sys.exit(main())
