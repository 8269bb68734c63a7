#!/usr/bin/env python3
"""Called by model_formats.sh: FOLDER has the models that Tests/Reference/make_model_formats.py made.

1. What a model predicts here is what it predicts in its own tool (1e-5), whichever format it came in.
2. Exports: onnx.checker and onnxruntime, keras.models.load_model, load_state_dict; exported and read again is bit-equal.
   Every layer that there is, as ONNX and as a module of torch.
3. The backend tests of the package onnx: those of our operators, and the pytorch-converted models. Each passes, or is
   refused with a reason; `refused.txt` in the scratch folder has the list.
4. Hostile files: one line each, and nothing is run.
"""
import concurrent.futures
import importlib.util
import io
import json
import os
import pathlib
import pickle
import subprocess
import sys
import warnings
import zipfile

import numpy
import onnx
import onnxruntime
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

warnings.simplefilter("ignore")
DEML = os.environ["DEML"]
SCRATCH = pathlib.Path(os.environ["DEML_TEST_SCRATCH"])
MODELS = pathlib.Path(sys.argv[1])
failed = 0


def check(condition, what):
    global failed
    if not condition:
        print(f"FAIL  {what}")
        failed += 1


def deml(*arguments):
    return subprocess.run([DEML, *map(str, arguments)], capture_output=True, text=True, timeout=120, cwd=SCRATCH)


def numbers(file, x, stem, soft):
    """What deml predicts: outputs, or probabilities where the model ends in softmax. A text where it refuses."""
    weights, answer = SCRATCH / f"{stem}.weights.safetensors", SCRATCH / f"{stem}.y.safetensors"
    made = deml("export", "--model", file, "--to", "deml", "--output", weights, *([] if soft else ["--loss", "mse"]))
    if made.returncode != 0:
        return made
    done = deml("predict", "--model", weights, "--data", x, "--count", "0", "--output", answer)
    return load_file(answer)["predictions"] if done.returncode == 0 else done


def largest(one, other):
    return float("inf") if one.size != other.size else numpy.abs(one.reshape(-1) - other.reshape(-1)).max(initial=0)


# Sequences [channels, length], whose channels Keras has last.
LINES = ("sequence", "pools", "keras_line", "keras_wave", "keras_peaks")


def own_tools():
    import keras

    for answer in sorted(MODELS.glob("*.safetensors")):
        name = answer.stem
        data = load_file(answer)
        x, y = data["x"], data["y"]
        numpy.savez(SCRATCH / f"{name}.npz", x=x)
        soft = name in ("lenet", "mixer", "keras_cnn", "gpt")
        if name == "gpt":
            y = numpy.exp(y - y.max(-1, keepdims=True))
            y /= y.sum(-1, keepdims=True)
        if name == "lenet":
            y = numpy.exp(y)
        files = [MODELS / f"{name}.{kind}" for kind in ("pt2", "onnx", "script.onnx", "keras", "h5")]
        for file in filter(pathlib.Path.exists, files):
            found = numbers(file, SCRATCH / f"{name}.npz", file.name, soft)
            if file.name == "encoder.script.onnx":
                # torch's old exporter writes MultiheadAttention with the sequence first, between transpositions.
                check(getattr(found, "returncode", 0) == 65 and "node '" in found.stderr, f"{file.name} is refused by its node's name")
                continue
            check(isinstance(found, numpy.ndarray), f"{file.name} is read: {getattr(found, 'stderr', '')}")
            if isinstance(found, numpy.ndarray):
                check(largest(found, y) < 1e-5, f"{file.name}: predictions differ by {largest(found, y)}")
        weights = SCRATCH / f"{next(filter(pathlib.Path.exists, files)).name}.weights.safetensors"

        # ONNX out, and in again.
        out = SCRATCH / f"{name}.out.onnx"
        made = deml("export", "--model", weights, "--to", "onnx", "--output", out)
        check(made.returncode == 0, f"{name}: onnx out: {made.stderr}")
        if made.returncode != 0:
            continue
        onnx.checker.check_model(onnx.load(out), full_check=True)
        answer = onnxruntime.InferenceSession(str(out)).run(None, {"input": x})[0]
        expected = numpy.log(y) if name == "lenet" else data["y"] if name == "gpt" else y
        check(largest(answer, expected) < 1e-5, f"{name}: onnxruntime differs by {largest(answer, expected)}")
        again = SCRATCH / f"{name}.again.onnx"
        deml("export", "--model", out, "--to", "onnx", "--output", again)
        check(again.exists() and again.read_bytes() == out.read_bytes(), f"{name}: onnx out and in again is bit-equal")

        # PyTorch out.
        made = deml("export", "--model", weights, "--to", "pytorch", "--output", SCRATCH / f"{name}_module.safetensors")
        check(made.returncode == 0, f"{name}: pytorch out: {made.stderr}")
        spec = importlib.util.spec_from_file_location(name, SCRATCH / f"{name}_module.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        model = module.Model()
        state = {key: torch.from_numpy(value) for key, value in load_file(SCRATCH / f"{name}_module.safetensors").items()}
        keys = model.load_state_dict(state, strict=False)
        check(not keys.unexpected_keys and all("num_batches" in key for key in keys.missing_keys), f"{name}: {keys}")
        with torch.no_grad():
            answer = model.eval()(torch.from_numpy(x)).numpy()
        check(largest(answer, expected) < 1e-5, f"{name}: the written module differs by {largest(answer, expected)}")

        # Keras out, and in again.
        out, again = SCRATCH / f"{name}.out.keras", SCRATCH / f"{name}.again.keras"
        made = deml("export", "--model", weights, "--to", "keras", "--output", out)
        if made.returncode != 0:
            check(name in ("mixer", "unet", "pools", "windows", "gpt", "encoder") and "Keras" in made.stderr, f"{name}: keras out: {made.stderr}")
            continue
        inputs = numpy.moveaxis(x, 1, -1) if x.ndim == 4 or name in LINES else x
        answer = numpy.asarray(keras.models.load_model(str(out)).predict(inputs, verbose=0))
        if answer.ndim == 4:
            answer = answer.transpose(0, 3, 1, 2)
        check(largest(answer, expected) < 1e-5, f"{name}: keras differs by {largest(answer, expected)}")
        if "Cropping" not in zipfile.ZipFile(out).read("config.json").decode():
            deml("export", "--model", out, "--to", "keras", "--output", again)
            check(again.exists() and largest(*(
                numpy.asarray(keras.models.load_model(str(file)).predict(inputs, verbose=0)) for file in (out, again))) == 0,
                f"{name}: keras out and in again is the same")


def every_layer():
    """The models of Tests/Reference/networks, which have every layer there is, as ONNX and as a module of torch."""
    folder = pathlib.Path(__file__).resolve().parents[2] / "Reference" / "networks"
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "numpy") as stored:
            text = stored.metadata()["model"]
            weights = {key[8:]: stored.get_tensor(key) for key in stored.keys() if key.startswith("weights/")}
            x = stored.get_tensor("x")[:4]
        model = json.loads(text)
        stem = SCRATCH / f"layer-{file.stem}"
        save_file({key: value.astype("float32") for key, value in weights.items()}, f"{stem}.safetensors",
                  {"deml.model": text, "deml.round": "0"})
        x = x if x.dtype.kind in "iu" and model["input"].get("tokens") else x.astype("float32")
        numpy.savez(f"{stem}.npz", x=x)
        done = deml("predict", "--model", f"{stem}.safetensors", "--data", f"{stem}.npz", "--count", 0, "-o", f"{stem}.y")
        check(done.returncode == 0, f"{file.stem}: {done.stderr}")
        if done.returncode != 0:
            continue
        expected = load_file(f"{stem}.y")["predictions"]

        def answer(y):
            """Outputs as predictions, which are probabilities."""
            loss, last = model["loss"], model["layers"][-1]["type"]
            if loss == "bce_with_logits":
                return 1 / (1 + numpy.exp(-y))
            if loss != "cross_entropy" or last == "softmax":
                return y
            y = numpy.exp(y - y.max(-1, keepdims=True))
            return y / y.sum(-1, keepdims=True)

        made = deml("export", "--model", f"{stem}.safetensors", "--to", "onnx", "--output", f"{stem}.onnx")
        check(made.returncode == 0, f"{file.stem}: onnx out: {made.stderr}")
        if made.returncode == 0:
            onnx.checker.check_model(onnx.load(f"{stem}.onnx"), full_check=True)
            session = onnxruntime.InferenceSession(f"{stem}.onnx")
            inputs = x.astype("int64") if session.get_inputs()[0].type == "tensor(int64)" else x.astype("float32")
            apart = largest(answer(session.run(None, {"input": inputs})[0]), expected)
            check(apart < 1e-5, f"{file.stem}: onnxruntime differs by {apart}")
        made = deml("export", "--model", f"{stem}.safetensors", "--to", "pytorch", "--output", f"{stem}_module")
        check(made.returncode == 0, f"{file.stem}: pytorch out: {made.stderr}")
        if made.returncode == 0:
            spec = importlib.util.spec_from_file_location("written", f"{stem}_module.py")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            written = module.Model()
            state = load_file(f"{stem}_module.safetensors")
            keys = written.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()}, strict=False)
            check(not keys.unexpected_keys and all("num_batches" in key for key in keys.missing_keys), f"{file.stem}: {keys}")
            with torch.no_grad():
                inputs = torch.from_numpy(x.astype("int64" if model["input"].get("tokens") else "float32"))
                apart = largest(answer(written.eval()(inputs).numpy()), expected)
            check(apart < 1e-5, f"{file.stem}: the written module differs by {apart}")


def training():
    """A model of another tool is what training begins with: its first accuracy is 1 on labels of its own."""
    random = numpy.random.default_rng(3)
    x = random.normal(size=(120, 1, 14, 14)).astype("float32")
    numpy.savez(SCRATCH / "own.npz", x=x)
    y = numbers(MODELS / "lenet.pt2", SCRATCH / "own.npz", "own", soft=True).argmax(1)
    numpy.savez(SCRATCH / "own.npz", x=x, y=y)
    options = ["--data", SCRATCH / "own.npz", "--on", "simulated", "--workers", "2", "--rounds", "1", "--no-comparison",
               "--learning-rate", "0.001"]

    def first(output):
        lines = (SCRATCH / output / "metrics.jsonl").read_text().splitlines()
        return json.loads(lines[0])["accuracy"]

    for file in ("lenet.pt2", "lenet.onnx", "lenet.script.onnx"):
        done = deml("train", "--model", MODELS / file, *options, "--output", SCRATCH / f"run-{file}")
        check(done.returncode == 0 and first(f"run-{file}") == 1, f"training begins with {file}: {done.stderr}")
    layers = [
        {"type": "conv2d", "out_channels": 16, "kernel_size": 3}, {"type": "relu"}, {"type": "max_pool2d", "kernel_size": 2},
        {"type": "conv2d", "out_channels": 32, "kernel_size": 3, "padding": 1}, {"type": "relu"},
        {"type": "max_pool2d", "kernel_size": 2}, {"type": "dropout", "p": 0.25}, {"type": "flatten"},
        {"type": "linear", "out_features": 16}, {"type": "relu"}, {"type": "linear", "out_features": 5}]
    (SCRATCH / "lenet.yaml").write_text(json.dumps(
        {"model": {"input": {"shape": [1, 14, 14]}, "layers": layers, "loss": "cross_entropy"}}))
    done = deml("train", SCRATCH / "lenet.yaml", "--initial-weights", MODELS / "lenet.pth", *options,
                "--output", SCRATCH / "run-pth")
    check(done.returncode == 0 and first("run-pth") == 1, f"training begins with lenet.pth: {done.stderr}")
    check("conv1 → 0, conv2 → 3, fc1 → 8, fc2 → 10" in done.stdout, f"what was taken for what is said: {done.stdout[:600]}")
    refused = deml("train", "--model", MODELS / "lenet.pth", *options, "--output", SCRATCH / "run-alone")
    check(refused.returncode != 0 and "initial-weights" in refused.stderr, f"weights alone are no model: {refused.stderr}")


def module():
    """The Python module with a Keras model of sequences, whose channels are last there and first here."""
    import keras

    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "python"))
    package = importlib.import_module("deml")
    random = numpy.random.default_rng(4)
    y = random.integers(0, 3, 90)
    x = (random.normal(size=(90, 12, 2)) + y[:, None, None]).astype("float32")
    model = keras.Sequential([
        keras.Input((12, 2)), keras.layers.Conv1D(4, 3, activation="relu"), keras.layers.GlobalAveragePooling1D(),
        keras.layers.Dense(3, activation="softmax")])
    run = package.train(model, x, y, workers=2, rounds=2, learning_rate=0.02, output=SCRATCH / "lines", progress=False)
    before = model.predict(x, verbose=0)
    after = run.load_into(model).predict(x, verbose=0)
    check(largest(after, run.predict(x)) < 1e-5, "numbers of a Keras model of sequences come back into it")
    check(largest(after, before) > 1e-3, "and are not those that it had")


# The peer's tests -------------------------------------------------------------------------------------------------------

OPERATORS = set(
    "Conv ConvTranspose Gemm MatMul BatchNormalization LayerNormalization RMSNormalization InstanceNormalization "
    "GroupNormalization Flatten Reshape Squeeze Unsqueeze Transpose MaxPool AveragePool GlobalAveragePool GlobalMaxPool "
    "Softmax LogSoftmax Relu LeakyRelu PRelu Elu Celu Sigmoid Tanh Softplus HardSigmoid HardSwish Swish Gelu Clip Erf "
    "Dropout Identity Add Sub Mul Div Sum Concat Pad Upsample Resize ReduceMean Pow Sqrt Exp Log Abs Neg Reciprocal LSTM "
    "GRU Cast Expand Slice Gather".split())
# What works number by number.
NUMBERWISE = set(
    "Abs Celu Clip Dropout Elu Erf Exp Gelu HardSigmoid HardSwish Identity LeakyRelu Log Neg Reciprocal Relu Sigmoid "
    "Softplus Sqrt Swish Tanh".split())
TYPES = (numpy.float32, numpy.int64, numpy.int32, numpy.bool_)


def of_the_wild():
    """What is found in files that are shared: a normalisation with its scale apart, a softmax of [classes, 1, 1], opset 11,
    padding that means leave out, and sizes that may vary."""
    random = numpy.random.default_rng(3)

    def constant(name, *shape):
        return onnx.numpy_helper.from_array(random.uniform(0.5, 1.5, shape).astype(numpy.float32), name)

    node = onnx.helper.make_node
    pool = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]}
    graph = onnx.helper.make_graph(
        [node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]), node("BatchNormalization", ["a", "g", "b", "m", "v"], ["c"]),
         node("Mul", ["c", "scale"], ["d"]), node("Add", ["d", "shift"], ["e"]), node("Relu", ["e"], ["f"]),
         node("MaxPool", ["f"], ["p"], **pool), node("AveragePool", ["p"], ["q"], **pool | {"pads": [1, 1, 1, 1]}),
         node("Mul", ["q", "half"], ["h"]), node("Conv", ["h", "u"], ["i"]), node("GlobalAveragePool", ["i"], ["k"]),
         node("Softmax", ["k"], ["y"], axis=1)],
        "wild", [onnx.helper.make_tensor_value_info("x", 1, ["batch", 3, "height", "width"])],
        [onnx.helper.make_tensor_value_info("y", 1, None)],
        [constant("w", 4, 3, 3, 3), constant("g", 4), constant("b", 4), constant("m", 4), constant("v", 4),
         constant("scale", 4, 1, 1), constant("shift", 4, 1, 1), onnx.numpy_helper.from_array(numpy.float32(0.5), "half"),
         constant("u", 5, 4, 1, 1)])
    file = SCRATCH / "wild.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 11)], ir_version=6), file)
    x = random.normal(size=(4, 3, 10, 14)).astype(numpy.float32)
    numpy.savez(SCRATCH / "wild.npz", x=x)
    expected = onnxruntime.InferenceSession(str(file)).run(None, {"x": x})[0]

    refused = deml("inspect", file)
    check(refused.returncode == 65 and "[3, ?, ?]" in refused.stderr and "--input-shape" in refused.stderr, f"open sizes: {refused.stderr}")
    for shape in ("3,10", "1,10,14", "3,10,14,1"):
        refused = deml("inspect", file, "--input-shape", shape)
        check(refused.returncode == 65 and "[3, ?, ?]" in refused.stderr, f"--input-shape {shape}: {refused.stderr}")
    for shape in ("3,-1,14", "3,,14", "a"):
        refused = deml("inspect", file, "--input-shape", shape)
        check(refused.returncode == 64, f"--input-shape {shape}: {refused.stderr}")
    weights, answer = SCRATCH / "wild.safetensors", SCRATCH / "wild.y.safetensors"
    made = deml("export", "--model", file, "--input-shape", "3,10,14", "--to", "deml", "--output", weights)
    done = deml("predict", "--model", weights, "--data", SCRATCH / "wild.npz", "--count", "0", "--output", answer)
    check(done.returncode == 0, f"wild: {made.stderr} {done.stderr}")
    found = load_file(answer)["predictions"]
    check(largest(found, expected) < 1e-5, f"wild: predictions differ by {largest(found, expected)}")
    layers = json.loads(deml("inspect", file, "--input-shape", "3,10,14", "--json").stdout)["layers"]
    types = [layer["type"] for layer in layers]
    check(types == ["conv2d", "batch_norm", "relu", "max_pool2d", "avg_pool2d", "conv2d", "conv2d", "global_avg_pool2d",
                    "flatten", "softmax"], f"wild: the scale is part of the normalisation: {types}")


def converted():
    folder = pathlib.Path(onnx.__file__).parent / "backend/test/data/pytorch-converted"

    def array(path):
        tensor = onnx.TensorProto()
        tensor.ParseFromString(path.read_bytes())
        return onnx.numpy_helper.to_array(tensor)

    for case in sorted(path for path in folder.iterdir() if (path / "model.onnx").exists()):
        data = case / "test_data_set_0"
        inputs = [array(data / f"input_{index}.pb") for index in range(len(list(data.glob("input_*.pb"))))]
        yield f"converted/{case.name}", onnx.load(case / "model.onnx"), inputs, array(data / "output_0.pb")


def nodes():
    from onnx.backend.test.case.node import collect_testcases

    seen = set()
    for case in collect_testcases(None):
        if case.name in seen or case.model is None or not case.data_sets:
            continue
        seen.add(case.name)
        if {node.op_type for node in case.model.graph.node} <= OPERATORS:
            inputs, outputs = case.data_sets[0]
            yield f"node/{case.name}", case.model, list(inputs), outputs[0]


def peer(case):
    """'' where it passes, `refused: …` or `FAILED: …`."""
    name, model, inputs, output = case
    stem = name.replace("/", "-")
    initializers = {tensor.name for tensor in model.graph.initializer}
    free = [value for value in model.graph.input if value.name not in initializers]
    operators = {node.op_type for node in model.graph.node}
    x = inputs[0]
    if x.ndim == 1 and operators <= NUMBERWISE and all(each.ndim == 0 for each in inputs[1:]):
        # A vector is a column: so many examples of one number.
        for value in (free[0], model.graph.output[0]):
            value.type.tensor_type.shape.dim.add().dim_value = 1
    if operators <= {"LSTM", "GRU"} and not any(each.i for node in model.graph.node for each in node.attribute if each.name == "layout"):
        # Sequences with the batch second are taken with the batch first.
        x = x.transpose(1, 0, 2)
    # All but the first input become constants.
    for value, array in list(zip(free, inputs))[1:]:
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
    file = SCRATCH / f"{stem}.onnx"
    onnx.save(model, file)
    numpy.savez(SCRATCH / f"{stem}.npz", x=x if x.ndim > 1 else x.reshape(-1, 1))
    last = model.graph.node[-1].op_type
    found = numbers(file, SCRATCH / f"{stem}.npz", stem, last in ("Softmax", "LogSoftmax"))
    if not isinstance(found, numpy.ndarray):
        text = found.stderr.strip()
        return f"refused: {text}" if found.returncode == 65 else f"FAILED: {found.returncode} {text}"
    expected = numpy.exp(output) if last == "LogSoftmax" else output
    # The runner's own tolerance.
    close = found.size == expected.size and numpy.allclose(found.reshape(-1), expected.reshape(-1), rtol=1e-3, atol=1e-5)
    return "" if close else f"FAILED: {largest(found, numpy.asarray(expected, numpy.float32))}"


def peers():
    cases = []
    for name, model, inputs, output in [*converted(), *nodes()]:
        inputs = [numpy.asarray(each) for each in inputs if isinstance(each, (numpy.ndarray, numpy.generic))]
        if inputs and all(each.dtype in TYPES for each in inputs) and isinstance(output, (numpy.ndarray, numpy.generic)):
            cases.append((name, model, inputs, numpy.asarray(output)))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(peer, cases))
    lines = [f"{case[0]}: {answer or 'passed'}" for case, answer in zip(cases, answers)]
    report = pathlib.Path(os.environ.get("DEML_FORMATS_REPORT", SCRATCH / "peers.txt"))
    report.write_text("\n".join(lines) + "\n")
    for line in lines:
        check(": FAILED" not in line, line)
    for kind, least in (("converted", 52), ("node", 141)):
        these = [answer for case, answer in zip(cases, answers) if case[0].startswith(kind)]
        passed = sum(not answer for answer in these)
        check(passed >= least, f"{kind}: only {passed} of {len(these)} pass")
        print(f"onnx {onnx.__version__}, {kind}: {passed} passed, {sum(a.startswith('refused') for a in these)} refused, "
              f"{sum(a.startswith('FAILED') for a in these)} failed")


# Hostile files ----------------------------------------------------------------------------------------------------------


class Harm:
    def __reduce__(self):
        return os.system, (f"touch {SCRATCH}/harmed",)


def hostile():
    cases = {}
    for protocol in (2, 4):
        program = pickle.dumps({"weight": Harm()}, protocol)
        cases[f"pickle{protocol}.pth"] = program
        inside = io.BytesIO()
        with zipfile.ZipFile(inside, "w") as archive:
            archive.writestr("m/data.pkl", program)
            archive.writestr("m/version", "3\n")
        cases[f"zip{protocol}.pth"] = inside.getvalue()
    torch.save(torch.nn.Linear(2, 2), SCRATCH / "module.pt")
    cases["module.pt"] = (SCRATCH / "module.pt").read_bytes()
    for name in ("lenet.pth", "lenet.pt2", "lenet.onnx", "keras_cnn.keras", "keras_cnn.h5"):
        whole = (MODELS / name).read_bytes()
        for share in (0.1, 0.5, 0.9, 0.999):
            cases[f"{share}.{name}"] = whole[: int(len(whole) * share)]
    whole = bytearray((MODELS / "keras_cnn.h5").read_bytes())
    # The root's table of symbols leads to the root itself: a group in itself.
    root = int.from_bytes(whole[64:72], "little")
    for place in range(0, len(whole) - 8):
        if whole[place : place + 4] == b"SNOD":
            whole[place + 16 : place + 24] = root.to_bytes(8, "little")
    cases["loop.h5"] = bytes(whole)
    # Lengths that lie: a graph of 2^60 bytes, a tensor with 2^40 numbers in ten bytes.
    cases["long.onnx"] = b"\x08\x09\x3a" + b"\xff" * 8 + b"\x0f" + b"\x0a\x02"
    cases["wide.onnx"] = b"\x08\x09\x3a\x0e\x2a\x0c\x08\x80\x80\x80\x80\x80\x20\x10\x01\x4a\x01\x00"
    for name, content in cases.items():
        file = SCRATCH / f"hostile-{name}"
        file.write_bytes(content)
        for command in (["inspect", file], ["evaluate", "--model", file, "--data", "mnist"]):
            done = deml(*command)
            lines = done.stderr.strip().splitlines()
            check(done.returncode in (65, 66) and 1 <= len(lines) <= 2, f"{name}: {done.returncode} {done.stderr}")
    check(not (SCRATCH / "harmed").exists(), "a pickle was run")
    outside = onnx.load(MODELS / "lenet.onnx")
    onnx.save(outside, SCRATCH / "beside.onnx", save_as_external_data=True, location="beside.bin", size_threshold=0)
    check(deml("inspect", SCRATCH / "beside.onnx").returncode == 0, "external data beside the file is read")
    for where in ("/etc/passwd", "../beside.bin", "beside.bin/../beside.bin"):
        # The loader of onnx refuses such a place itself, so the text is changed in the file.
        model = onnx.load(SCRATCH / "beside.onnx", load_external_data=False)
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = where
        (SCRATCH / "escape.onnx").write_bytes(model.SerializeToString())
        done = deml("inspect", SCRATCH / "escape.onnx")
        check(done.returncode == 65 and "beside" in done.stderr, f"{where}: {done.stderr}")


own_tools()
of_the_wild()
every_layer()
training()
module()
hostile()
peers()
print("model formats:", "all hold" if failed == 0 else f"{failed} failed")
sys.exit(failed != 0)
