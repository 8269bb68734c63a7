"""What scikit-learn says of a model's answers, for NeuralNetworkTests/MetricsTests.

    pip install scikit-learn numpy
    python3 Tests/Reference/make_metrics.py

writes metrics.json beside this file: answers (probabilities are those of single precision, as DeML has them) and the
measures of scikit-learn, computed in double precision. What scikit-learn refuses or calls NaN is null.
"""

import json
import pathlib
import warnings

import numpy as np
from sklearn import metrics

warnings.simplefilter("ignore")
random = np.random.default_rng(20)


def value(measure, *arguments, **options):
    try:
        number = float(measure(*arguments, **options))
    except ValueError:
        return None
    return None if np.isnan(number) else number


def calibration_error(y, guess, confidence, bins=15):
    """Guo et al. (2017), in the bins of sklearn.calibration.calibration_curve."""
    bin_of = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence)
    return float(sum(
        np.mean(bin_of == b) * abs(np.mean(guess[bin_of == b] == y[bin_of == b]) - np.mean(confidence[bin_of == b]))
        for b in np.unique(bin_of)))


def classification(name, y, logits):
    logits = np.asarray(logits, dtype=np.float64)
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    p32 = (e / e.sum(axis=1, keepdims=True)).astype(np.float32)
    p = p32.astype(np.float64)
    y = np.asarray(y)
    count, classes = p.shape
    labels = np.arange(classes)
    guess = p.argmax(axis=1)
    present = len(np.unique(y)) == classes
    known = np.union1d(y, guess)
    rows = metrics.precision_recall_fscore_support(y, guess, labels=labels, zero_division=0)
    k = min(5, classes - 1) if classes > 2 else None
    return {
        "name": name, "classes": classes, "labels": y.tolist(), "guesses": guess.tolist(),
        "probabilities": [float(str(v)) for v in p32.ravel()],
        "expected": {
            "accuracy": metrics.accuracy_score(y, guess),
            "top_k_accuracy": value(metrics.top_k_accuracy_score, y, p, k=k, labels=labels) if k else None,
            "balanced_accuracy": value(metrics.balanced_accuracy_score, y, guess),
            "precision": value(metrics.precision_score, y, guess, average="macro", zero_division=0),
            "recall": value(metrics.recall_score, y, guess, average="macro", zero_division=0),
            "f1": value(metrics.f1_score, y, guess, average="macro", zero_division=0),
            "roc_auc": (value(metrics.roc_auc_score, y, p[:, 1]) if classes == 2 else
                        value(metrics.roc_auc_score, y, p, multi_class="ovr") if present and classes > 2 else None),
            "log_loss": value(metrics.log_loss, y, p, labels=labels) if classes > 1 else 0.0,
            "calibration_error": calibration_error(y, guess, p.max(axis=1)),
        },
        "rows": [{
            "support": int(rows[3][c]), "precision": rows[0][c] if c in known else None,
            "recall": rows[1][c] if c in known else None, "f1": rows[2][c] if c in known else None,
            "roc_auc": value(metrics.roc_auc_score, y == c, p[:, c]),
        } for c in labels],
    }


def regression(name, y, predicted):
    y = np.asarray(y, dtype=np.float32)
    predicted = np.asarray(predicted, dtype=np.float32)
    a, b = y.astype(np.float64), predicted.astype(np.float64)
    return {
        "name": name, "outputs": y.shape[1], "targets": [float(str(v)) for v in y.ravel()],
        "predictions": [float(str(v)) for v in predicted.ravel()],
        "expected": {
            "mse": value(metrics.mean_squared_error, a, b),
            "rmse": value(metrics.root_mean_squared_error, a, b),
            "mae": value(metrics.mean_absolute_error, a, b),
            "r2": value(metrics.r2_score, a, b),
        },
        "rows": [{"mse": value(metrics.mean_squared_error, a[:, i], b[:, i]),
                  "mae": value(metrics.mean_absolute_error, a[:, i], b[:, i]),
                  "r2": value(metrics.r2_score, a[:, i], b[:, i])} for i in range(y.shape[1])],
    }


def main():
    def answers(count, classes, spread, labels=None):
        y = random.integers(0, classes, count) if labels is None else labels
        return y, random.normal(0, spread, (count, classes)) + 1.5 * np.eye(classes)[y]

    binary = answers(300, 2, 1.0)
    coarse = answers(240, 4, 1.0)
    unseen_y = random.choice([0, 1, 3], 150)
    unseen_logits = answers(150, 5, 1.0, unseen_y)[1]
    unseen_logits[:, 4] = -30  # class 4 neither occurs nor is predicted; class 2 is only predicted
    regression_y = random.normal(3, 2, (200, 3))
    cases = {
        "classification": [
            classification("binary", *binary),
            classification("ten classes", *answers(400, 10, 1.2)),
            classification("three classes", *answers(90, 3, 0.7)),
            # Equal scores: whole numbers, halved.
            classification("ties", coarse[0], np.round(coarse[1]) / 2),
            classification("sure of itself", *answers(100, 4, 60.0)),
            classification("perfect", np.arange(30) % 3, 20 * np.eye(3)[np.arange(30) % 3]),
            classification("classes never seen", unseen_y, unseen_logits),
            classification("one class only", np.ones(40, dtype=int), answers(40, 2, 1.0, np.ones(40, dtype=int))[1]),
            classification("unbalanced", *answers(200, 2, 1.0, (np.arange(200) % 20 == 0).astype(int))),
            classification("one example", np.array([2]), np.array([[0.1, 0.4, 0.2, 0.0, 0.0, 0.0, 0.0]])),
            classification("one output", np.zeros(8, dtype=int), np.zeros((8, 1))),
        ],
        "regression": [
            regression("three outputs", regression_y, regression_y + random.normal(0, 0.7, (200, 3))),
            regression("one output", regression_y[:, :1], random.normal(3, 2, (200, 1))),
            regression("far from zero", 1e6 + regression_y[:, :1], 1e6 + regression_y[:, 1:2]),
            regression("constant target", np.full((20, 1), 2.5), random.normal(2.5, 1, (20, 1))),
            regression("constant and met", np.full((20, 2), 2.5), np.full((20, 2), 2.5)),
            regression("one example", np.array([[1.0]]), np.array([[1.5]])),
        ],
    }
    path = pathlib.Path(__file__).with_name("metrics.json")
    path.write_text(json.dumps(cases, separators=(",", ":")).replace('{"name"', '\n{"name"') + "\n")


main()
