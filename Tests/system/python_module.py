#!/usr/bin/env python3
"""The Python module with torch and numpy: a module is trained on workers, its numbers come back into it, a run that is
stopped from Python stops. The second half runs under the test's Python."""
import os
import pathlib
import subprocess
import sys

if os.environ.get("DEML_PYTHON_TEST") != "inside":
    sys.exit(subprocess.call(
        [os.environ["DEML_TEST_PYTHON"], __file__], env={**os.environ, "DEML_PYTHON_TEST": "inside"}))

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "python"))

import signal  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402

import deml  # noqa: E402
import numpy  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

SCRATCH = pathlib.Path(os.environ["DEML_TEST_SCRATCH"])
# A script in the background has Ctrl-C ignored, and what it starts too.
signal.signal(signal.SIGINT, signal.default_int_handler)
failed = 0


def check(condition, what):
    global failed
    print(f"{'ok   ' if condition else 'FAIL '} {what}", file=sys.stdout if condition else sys.stderr)
    failed += not condition


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(4, 16)
        self.norm = nn.BatchNorm1d(16)
        self.out = nn.Linear(16, 3)

    def forward(self, x):
        return self.out(torch.relu(self.norm(self.hidden(x))))


random = numpy.random.default_rng(1)
centres = numpy.eye(3, 4) * 5
y = random.integers(0, 3, 600)
x = (centres[y] + random.normal(size=(600, 4))).astype("float32")
torch.manual_seed(1)
model = Net()
seen = []
run = deml.train(
    model, x, y, workers=2, rounds=3, local_epochs=2, learning_rate=0.05, seed=1, output=SCRATCH / "run",
    test=(x[:200], y[:200]), progress=seen.append)
check(run.accuracy > 0.9, f"the module learns: {run.accuracy}")
check([entry["round"] for entry in run.metrics if entry["round"]] == [1, 2, 3], "a line of figures a round")
check(len(seen) == len(run.metrics), f"progress was told of each: {len(seen)}")
check(run.report.exists(), "there is a report")
check(sum(len(values.reshape(-1)) for values in run.weights.values()) == 4 * 16 + 16 + 4 * 16 + 16 * 3 + 3, "all weights")

probabilities = run.predict(x[:50])
run.load_into(model)
with torch.no_grad():
    here = torch.softmax(model.eval()(torch.from_numpy(x[:50])), 1).numpy()
check(numpy.abs(here - probabilities).max() < 1e-5, "the module with the trained numbers predicts what deml predicts")
check(float(model.norm.running_mean.abs().max()) > 0, "statistics of batch norm came back")

description = {"layers": [{"type": "linear", "out_features": 8}, {"type": "relu"}, {"type": "linear"}]}
table = deml.train(description, x, y, workers=2, rounds=2, output=SCRATCH / "dict", progress=False)
check(table.predict(x[:5]).shape == (5, 3), "a description as a dict, with sizes from the data")

try:
    deml.train({"layers": [{"type": "spam"}]}, x, y, output=SCRATCH / "bad", progress=False)
    check(False, "an unknown layer is refused")
except deml.DemlError as error:
    check("spam" in str(error) and error.code in (64, 65), f"an unknown layer is refused in deml's words: {error}")

# Stopped from Python: what is finished is kept, and no process is left.
def stop():
    while not (SCRATCH / "stopped" / "metrics.jsonl").exists():
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)


threading.Thread(target=stop, daemon=True).start()
try:
    deml.train(description, x, y, workers=2, rounds=100_000, output=SCRATCH / "stopped", progress=False)
    check(False, "a run that is stopped raises KeyboardInterrupt")
except KeyboardInterrupt:
    check(True, "a run that is stopped raises KeyboardInterrupt")
text = (SCRATCH / "stopped.inputs" / "run.log").read_text()
check("--resume" in text, f"the run says how it is gone on with: {text[-200:]}")
left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
check(str(SCRATCH / "stopped.inputs") not in left, "no process is left")
sys.exit(failed != 0)
