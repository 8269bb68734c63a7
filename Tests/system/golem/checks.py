"""What the Golem system tests share: small data, runs of `deml train`, and what must be true of a run afterwards."""
import gzip
import json
import os
import struct
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

TREE = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TREE / "Tests/testnet"))
from session import Testnet  # noqa: E402,F401  (for the tests)

DEML = os.environ.get("DEML") or str(TREE / ".build/release/deml")
WORKER = os.environ.get("DEML_WORKER") or str(TREE / ".build/release/deml-worker")
SCRATCH = Path(os.environ.get("DEML_TEST_SCRATCH") or "/tmp/deml-golem-test")
MNIST = TREE / "requestor/Datasets/mnist"
MODEL = """\
input: {shape: [1, 28, 28], divide_by: 255}
layers:
  - {type: flatten}
  - {type: linear, out_features: 64}
  - {type: relu}
  - {type: dropout, p: 0.2}
  - {type: linear, out_features: 10}
loss: cross_entropy
"""


class Failed(Exception):
    pass


def expect(holds, what, seen=""):
    if not holds:
        raise Failed(f"{what}" + (f": {seen}" if seen != "" else ""))


def image():
    """The image of provider-image/build, or, when there is none yet, the least one with the static worker in it."""
    made = TREE / "provider-image/deml-worker.gvmi"
    if made.exists() and made.stat().st_mtime >= os.stat(WORKER).st_mtime:
        return made
    out = SCRATCH / "worker.gvmi"
    if not out.exists():
        SCRATCH.mkdir(parents=True, exist_ok=True)
        subprocess.run([TREE / "Tests/testnet/pack", out, f"{WORKER}=/usr/local/bin/deml-worker"], check=True)
    return out


def small_mnist(train=6000, test=1000):
    """The first images of MNIST, as four IDX files."""
    folder = SCRATCH / f"mnist-{train}"
    if folder.exists():
        return folder
    folder.mkdir(parents=True)
    for kind, count in (("train", train), ("t10k", test)):
        for part, header in (("images-idx3", 16), ("labels-idx1", 8)):
            name = f"{kind}-{part}-ubyte.gz"
            data = gzip.decompress((MNIST / name).read_bytes())
            size = count * (784 if header == 16 else 1)
            cut = data[:4] + struct.pack(">I", count) + data[8:header + size]
            (folder / name).write_bytes(gzip.compress(cut, mtime=0))
    (folder / "model.yaml").write_text(MODEL)
    return folder


def small_options(**changes):
    """Options of a run that takes some seconds."""
    data = small_mnist()
    options = {"data": data, "model": data / "model.yaml", "workers": 3, "rounds": 3, "local-epochs": 2,
               "batch-size": 32, "seed": 7, "threads": 1, **{k.replace("_", "-"): v for k, v in changes.items()}}
    words = ["--no-comparison"]
    for key, value in options.items():
        if value is not None:
            words += [f"--{key}", str(value)]
    return words


class Run:
    """One `deml train`, started at once."""

    def __init__(self, name, words, environment=None, folder=None):
        self.name = name
        self.folder = folder or SCRATCH / "runs" / name
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.output = SCRATCH / f"{name}.txt"
        self.started = time.time()
        self.file = open(self.output, "a")
        self.process = subprocess.Popen([DEML, "train", *map(str, words), *(
            [] if "--resume" in words else ["--output", str(self.folder)])],
            env=environment, stdout=self.file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)

    def wait(self, timeout=240):
        try:
            self.code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failed(f"deml train did not end within {timeout} s; it said:\n{self.text()[-3000:]}")
        self.seconds = time.time() - self.started
        return self

    def good(self, timeout=240):
        self.wait(timeout)
        expect(self.code == 0, f"deml train ended with {self.code}; it said", self.text()[-3000:])
        return self

    def text(self):
        return self.output.read_text()

    def events(self, kind=None):
        path = self.folder / "events.jsonl"
        if not path.exists():
            return []
        found = []
        for line in path.read_text().splitlines():
            try:
                event = json.loads(line)
            except ValueError:      # the last line of a run that is being written, or was killed
                continue
            if kind in (None, event["event"]):
                found.append(event)
        return found

    def await_event(self, holds, what, timeout=90):
        end = time.time() + timeout
        while time.time() < end:
            if any(holds(e) for e in self.events()):
                return
            expect(self.process.poll() is None, f"the run ended before {what}; it said", self.text()[-3000:])
            time.sleep(0.1)
        raise Failed(f"no {what} within {timeout} s; it said:\n{self.text()[-2000:]}")

    def summary(self):
        return json.loads((self.folder / "summary.json").read_text())

    def model(self):
        return (self.folder / "model.safetensors").read_bytes()

    def failures(self, provider=None):
        return [e for e in self.events("attempt_failed")
                if provider is None or (e.get("provider") or {}).get("name") == provider]


def local_reference(name="local", **changes):
    """The same training by processes on this machine: what every run on Golem must equal, byte for byte."""
    return Run(name, [*small_options(**changes), "--worker", WORKER]).good()


def on_golem(network, name, words=(), data=None, folder=None, environment=None, **changes):
    options = {"budget": 2, "start-timeout": 60, "image": image()}
    options.update({k.replace("_", "-"): v for k, v in changes.items()})
    more = []
    for key, value in options.items():
        if value is not None:
            more += [f"--{key}", str(value)]
    environment = network.environment(DEML_GOLEM_DATA=str(SCRATCH / "data" / (data or name)), **(environment or {}))
    return Run(name, [*words, "--on", "golem", *more], environment, folder)


def check_money(network, run, since=0):
    """The table of the run against what the daemon says: every agreement, every amount; returns invoices by agreement."""
    invoices = {i["agreementId"]: i for i in network.control("invoices")}
    agreements = run.summary()["agreements"]
    paid = Decimal(0)
    for line in agreements:
        invoice = invoices.get(line["agreement"])
        if invoice is None:
            expect(line["state"] in ("noInvoice", "open"), "an agreement without an invoice is told as one", line)
            continue
        accepted = invoice["status"] in ("ACCEPTED", "SETTLED")
        expect((line["state"] in ("accepted", "settled")) == accepted, "the table tells the invoice's state",
               (line, invoice["status"]))
        if accepted:
            expect(abs(line["paid_glm"] - float(invoice["amount"])) < 1e-12, "paid is what was accepted", (line, invoice))
            paid += Decimal(invoice["amount"])
    expect(abs(run.summary()["cost_glm"] - sum(a["paid_glm"] for a in agreements)) < 1e-9, "the sum is that of its lines",
           run.summary()["cost_glm"])
    return {a["agreement"]: invoices.get(a["agreement"]) for a in agreements}


def check_nothing_left(network):
    left = network.await_nothing_left()
    expect(not left, "nothing is left running or allocated", left)


def run_all(cases):
    """Runs `cases` (name, function); prints a line each; returns the exit code."""
    chosen = sys.argv[1:]
    failed = []
    for name, case in cases:
        if chosen and name not in chosen:
            continue
        start = time.time()
        try:
            note = case()
            print(f"ok   {name:28} {time.time() - start:6.1f} s  {note or ''}", flush=True)
        except Exception as e:
            failed.append(name)
            what = str(e) if isinstance(e, Failed) else f"{type(e).__name__}: {e}"
            print(f"FAIL {name:28} {time.time() - start:6.1f} s  {what}", flush=True)
    if failed:
        print("failed: " + ", ".join(failed))
    return 1 if failed else 0
