"""Federated training from Python: everything is done by the program `deml`, which comes with this package.

    import deml
    run = deml.train(model, x, y, workers=4, rounds=5)        # a torch.nn.Module, a Keras model, a dict or a file
    run.accuracy; run.metrics; run.report                     # figures, a line a round, the page
    run.load_into(model)                                      # the trained weights
    run.predict(x_new)                                        # probabilities of classes, or numbers

This module writes files and reads what the program writes. It needs numpy; torch and keras only if you hand in their models.
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time

import numpy

__version__ = "0.1.0"
__all__ = ["DemlError", "Run", "program", "read_safetensors", "train"]

_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1",
    "BOOL": "?",
}


class DemlError(RuntimeError):
    """What the program refused, in its own words; `code` is its exit status."""

    def __init__(self, message, code):
        super().__init__(message)
        self.code = code


def program():
    """The path of `deml`: $DEML, the one that came with this package, or the one in PATH."""
    here = pathlib.Path(sysconfig.get_path("scripts")) / "deml"
    for path in (os.environ.get("DEML"), str(here) if here.exists() else None, shutil.which("deml")):
        if path:
            return path
    raise DemlError("the program deml is neither beside this Python nor in PATH; name it by $DEML", 66)


def _call(*arguments):
    done = subprocess.run([program(), *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise DemlError((done.stderr or done.stdout).strip() or "deml failed", done.returncode)
    return done.stdout


def read_safetensors(path):
    """The tensors of an uncompressed safetensors file as numpy arrays, by name."""
    content = pathlib.Path(path).read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        array = numpy.frombuffer(content[start:end], dtype=_TYPES[entry["dtype"]])
        tensors[name] = array.reshape(entry["shape"]).copy()
    return tensors


# What is handed in ------------------------------------------------------------------------------------------------------


def _array(values):
    """An array of anything that has numbers: numpy, torch, lists."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return numpy.asarray(values)


# Layers that work on the channels of a sequence; those that work on single numbers leave open what a model begins with.
_LINES = {f"{name}1D" for name in ("Conv", "MaxPooling", "AveragePooling", "GlobalAveragePooling", "GlobalMaxPooling",
                                   "ZeroPadding")} | {"BatchNormalization"}
_NUMBERWISE = {"InputLayer", "Activation", "ReLU", "LeakyReLU", "ELU", "Dropout"}


def _begins_with_channels(model):
    """Whether a Keras model's first layer works on the channels of a sequence."""
    names = [type(layer).__name__ for layer in getattr(model, "layers", [])]
    return next((name in _LINES for name in names if name not in _NUMBERWISE), False)


def _inputs(x, kind):
    """Examples as the program takes them: images of Keras get their channels first, and so do sequences of convolutions."""
    x = _array(x)
    if x.dtype.kind == "f":
        x = x.astype(numpy.float32)
    if kind in ("keras", "keras_lines") and x.ndim == 4 or kind == "keras_lines" and x.ndim == 3:
        x = numpy.ascontiguousarray(numpy.moveaxis(x, -1, 1))
    return x


def _kind(model):
    names = {f"{base.__module__.split('.')[0]}.{base.__name__}" for base in type(model).__mro__}
    if "torch.Module" in names and "keras.Layer" not in names:
        return "torch"
    if names & {"keras.Model", "keras.Layer", "tf_keras.Model"}:
        return "keras_lines" if _begins_with_channels(model) else "keras"
    if isinstance(model, dict):
        return "description"
    if isinstance(model, (str, os.PathLike)):
        return "file"
    raise TypeError("a model is a torch.nn.Module, a Keras model, a dict, or the path of a model file")


def _export_torch(model, x, path):
    """torch.export: the program of the module, with an open batch."""
    import torch

    example = torch.from_numpy(numpy.ascontiguousarray(x[:2]))
    if example.shape[0] < 2:
        example = torch.cat([example, example])
    parameter = next(model.parameters(), None)
    device = parameter.device if parameter is not None else "cpu"
    was_training = model.training
    model.eval()
    try:
        exported = torch.export.export(
            model, (example.to(device),), dynamic_shapes=({0: torch.export.Dim("batch")},))
        torch.export.save(exported, str(path))
    finally:
        model.train(was_training)


def _write_model(model, x, folder):
    """The model as a file that `deml` reads."""
    kind = _kind(model)
    if kind == "file":
        return kind, pathlib.Path(model).resolve()
    if kind == "description":
        path = folder / "model.json"
        path.write_text(json.dumps(model))
    elif kind == "torch":
        if x is None:
            raise ValueError("a torch module is exported with examples: hand in x as an array")
        path = folder / "model.pt2"
        _export_torch(model, x, path)
    else:
        path = folder / "model.keras"
        model.save(str(path))
    return kind, path


def _write_data(x, y, test, folder, kind):
    """The examples as a file that `deml` reads; a path stays one."""
    if isinstance(x, (str, os.PathLike)):
        if y is not None:
            raise ValueError("x is a path, which has its labels within: leave out y")
        path = pathlib.Path(x)
        return str(path.resolve()) if path.exists() else str(x)
    if y is None:
        raise ValueError("y is missing: labels, or numbers to be learned")
    arrays = {"x_train": _inputs(x, kind), "y_train": _array(y)}
    if test is not None:
        arrays["x_test"], arrays["y_test"] = _inputs(test[0], kind), _array(test[1])
    else:
        arrays = {"x": arrays["x_train"], "y": arrays["y_train"]}
    path = folder / "data.npz"
    numpy.savez(path, **arrays)
    return str(path)


# Training ---------------------------------------------------------------------------------------------------------------


def train(model, x, y=None, *, test=None, workers=4, on="simulated", output=None, progress=True, **settings):
    """Trains a model on `workers` workers and returns the finished `Run`.

    model: a torch.nn.Module, a Keras model, a description as a dict, or the path of a model file (YAML, .onnx, .pt2,
    .keras, safetensors). x, y: arrays, or x alone as the path of a dataset. test: a pair (x, y) to measure with; else a
    part is set apart (test_fraction). on: "simulated" (threads of one process), "local" (a process a worker) or "golem"
    (rented machines). output: a folder that is kept; else one is made in ./runs. progress: True writes a line a round
    to stderr, a function is called with each round's figures, False is silent.

    Everything else is a setting of the YAML file: rounds=5, local_epochs=2, learning_rate=0.01, optimizer="adam", seed=1,
    partition="dirichlet:0.3", golem={"budget": "1"}, … A KeyboardInterrupt, or any other exception here, stops the run;
    finished rounds are kept.
    """
    folder = pathlib.Path(output) if output else _fresh_folder()
    folder = folder.resolve()
    inputs = pathlib.Path(str(folder) + ".inputs")
    inputs.mkdir(parents=True, exist_ok=True)
    is_path = isinstance(x, (str, os.PathLike))
    kind = _kind(model)
    kind, model_path = _write_model(model, None if is_path else _inputs(x, kind), inputs)
    configuration = {
        "data": _write_data(x, y, test, inputs, kind), "model": str(model_path), "fleet": on, "workers": workers,
        "output": str(folder), **settings,
    }
    path = inputs / "run.yaml"
    path.write_text(json.dumps(configuration, indent=1))  # JSON is YAML
    _follow(path, folder, progress)
    run = Run(folder)
    run._kind, run._source = kind, model_path
    return run


def _fresh_folder():
    pathlib.Path("runs").mkdir(exist_ok=True)
    return pathlib.Path(tempfile.mkdtemp(prefix="python-", dir="runs")) / "run"


def _follow(path, folder, progress):
    """Runs `deml train` and reports finished rounds."""
    with open(path.with_suffix(".log"), "w+") as log:
        # A session of its own: Ctrl-C comes here, and the program is asked to stop once.
        process = subprocess.Popen(
            [program(), "train", str(path)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        seen = 0
        try:
            while process.poll() is None:
                seen = _report(folder, seen, progress)
                time.sleep(0.1)
        except BaseException:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=120)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            raise
        _report(folder, seen, progress)
        if process.returncode != 0:
            log.seek(0)
            lines = [line for line in log.read().splitlines() if line.strip()]
            raise DemlError("\n".join(lines[-12:]) or "deml train failed", process.returncode)


def _report(folder, seen, progress):
    rounds = _metrics(folder)
    for entry in rounds[seen:]:
        if callable(progress):
            progress(entry)
        elif progress:
            accuracy = entry.get("accuracy")
            measured = "" if accuracy is None else f"  accuracy {accuracy:.2%}"
            print(f"round {entry['round']}  loss {entry['loss']:.4f}{measured}", file=sys.stderr, flush=True)
    return len(rounds)


def _metrics(folder):
    """The lines of metrics.jsonl that are whole."""
    try:
        text = (folder / "metrics.jsonl").read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n") and line.strip()]


# What comes out ---------------------------------------------------------------------------------------------------------


class Run:
    """A finished run: its folder, its figures and its model."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self._kind, self._source = None, None
        self.summary = json.loads((self.folder / "summary.json").read_text())

    @property
    def metrics(self):
        """A dict for each finished round."""
        return _metrics(self.folder)

    @property
    def accuracy(self):
        """On the test set; None for a regression."""
        return self.summary.get("accuracy")

    @property
    def loss(self):
        return self.summary["loss"]

    @property
    def report(self):
        """The path of the page with curves and comparison."""
        return self.folder / "report.html"

    @property
    def weights(self):
        """The best model's numbers by the names of DeML."""
        return read_safetensors(self.folder / "best.safetensors")

    def predict(self, x):
        """Probabilities of the classes, or numbers, for examples as they were handed to train."""
        with tempfile.TemporaryDirectory() as scratch:
            data, answer = pathlib.Path(scratch) / "x.npz", pathlib.Path(scratch) / "y.safetensors"
            numpy.savez(data, x=_inputs(x, self._kind))
            _call("predict", "--model", self.folder, "--data", data, "--count", 0, "--output", answer)
            return read_safetensors(answer)["predictions"]

    def export(self, to, path):
        """Writes the best model as "pytorch", "safetensors", "onnx" or "keras"."""
        _call("export", "--model", self.folder, "--to", to, "--output", path)
        return pathlib.Path(path)

    def load_into(self, model):
        """Puts the trained numbers into the model that was trained (or one like it), and returns it."""
        kind = _kind(model)
        if kind not in ("torch", "keras", "keras_lines") or kind != self._kind:
            raise TypeError("numbers are loaded into the torch or Keras model that was trained")
        names = json.loads(_call("inspect", self._source, "--json"))["names"]
        return self._load_torch(model, names) if kind == "torch" else self._load_keras(model, names)

    def _load_torch(self, model, names):
        import torch

        trained = self.weights
        state = dict(model.named_parameters())
        state.update(model.named_buffers())
        missing = sorted(name for name in dict(model.named_parameters()) if name not in set(names.values()))
        if missing:
            raise ValueError(f"the run has no numbers for {', '.join(missing[:4])}")
        with torch.no_grad():
            for ours, theirs in names.items():
                target = state[theirs]
                target.copy_(torch.from_numpy(trained[ours].reshape(tuple(target.shape))).to(target.dtype))
        return model

    def _load_keras(self, model, names):
        import keras

        with tempfile.TemporaryDirectory() as scratch:
            file = self.export("keras", pathlib.Path(scratch) / "trained.keras")
            trained = {layer.name.split("__", 1)[-1]: layer for layer in keras.models.load_model(str(file)).layers}
        order = {"weight": 0, "bias": 1, "running_mean": 2, "running_var": 3}
        for ours, theirs in names.items():
            path, part = ours.rsplit(".", 1)
            layer, index = theirs.rsplit("/", 1)
            values = trained[path.replace(".", "_")].get_weights()[order[part]]
            target = model.get_layer(layer).weights[int(index)]
            if tuple(target.shape) != values.shape:
                raise ValueError(f"{theirs}: the trained numbers have the shape {values.shape}, not {tuple(target.shape)}")
            target.assign(values)
        return model

    def __repr__(self):
        measured = f"loss {self.loss:.4f}" if self.accuracy is None else f"accuracy {self.accuracy:.2%}"
        return f"<deml.Run {self.folder.name}: {measured}>"
