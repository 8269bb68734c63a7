"""torch's CrossEntropyLoss with class weights and label smoothing, for NeuralNetworkTests/ClassWeightTests.

    pip install torch numpy
    python3 Tests/Reference/make_class_weights.py

writes class_weights.json beside this file: logits, labels, weights, and loss and gradient in double precision.
"""

import json
import pathlib

import numpy
import torch

CASES = [
    ("plain", 7, 4, [0.5, 2.0, 1.0, 3.25], 0.0),
    ("smoothed", 9, 5, [1.0, 0.25, 4.0, 1.5, 0.125], 0.2),
    ("a class that does not count", 8, 3, [1.0, 0.0, 2.0], 0.0),
    ("smoothed, a class that does not count", 8, 3, [1.0, 0.0, 2.0], 0.1),
    ("two classes", 6, 2, [0.1, 10.0], 0.05),
    ("all the same", 5, 6, [3.0] * 6, 0.3),
    ("one example", 1, 3, [1.0, 5.0, 0.5], 0.0),
]


def main():
    random = numpy.random.default_rng(5)
    cases = []
    for name, count, classes, weights, smoothing in CASES:
        x = random.normal(0, 2, (count, classes)).astype(numpy.float32)
        y = random.integers(0, classes, count)
        logits = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        loss = torch.nn.CrossEntropyLoss(
            weight=torch.tensor(weights, dtype=torch.float64), label_smoothing=smoothing)(logits, torch.from_numpy(y))
        loss.backward()
        cases.append({
            "name": name, "classes": classes, "weights": weights, "label_smoothing": smoothing,
            "logits": [float(str(v)) for v in x.ravel()], "labels": y.tolist(), "loss": loss.item(),
            "gradient": [round(v, 12) for v in logits.grad.numpy().ravel().tolist()],
        })
    path = pathlib.Path(__file__).with_name("class_weights.json")
    path.write_text(json.dumps(cases, separators=(",", ":")).replace('{"name"', '\n{"name"') + "\n")


main()
