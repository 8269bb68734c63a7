#!/usr/bin/env python3
"""Every bad input ends with the right exit code, one line on stderr, an error report that names stage and file, no
delta, no temporary file, nothing on stdout, and in little time and memory. Prints a table: input, exit code, stderr."""

import gzip
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import time
import zlib

HERE = pathlib.Path(__file__).resolve().parent
PYTHON = os.environ["DEML_TEST_PYTHON"]
if os.path.realpath(sys.prefix) != os.path.realpath(pathlib.Path(PYTHON).parent.parent):
    # numpy and safetensors are in the private Python; file systems of our own need a mount namespace.
    spaces = ["--mount"] if os.geteuid() == 0 else ["--mount", "--user", "--map-root-user"]
    os.execvp("unshare", ["unshare", *spaces, PYTHON, __file__])

sys.path.insert(0, str(HERE / "worker"))
sys.dont_write_bytecode = True
import files  # noqa: E402
import numpy  # noqa: E402
import safetensors.numpy  # noqa: E402

SCRATCH = pathlib.Path(os.environ["DEML_TEST_SCRATCH"])
MAXIMUM_SECONDS = 20
MAXIMUM_KIBIBYTES = 200 * 1024
CASES = []


def case(name, code, stage, *words):
    """A case: changes the good files and gives the options to add; the message must hold all the words."""

    def remember(change):
        CASES.append((name, code, stage, words, change))
        return change

    return remember


def container(header, data=b""):
    """The bytes of a safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def replace_shard(folder, **tensors):
    files.write_shard(folder / "shard.safetensors.gz", files.shard() | tensors)


def raw_shard(folder, content):
    (folder / "shard.safetensors.gz").write_bytes(content)


def replace_model(folder, change):
    model = json.loads(json.dumps(files.MODELS["mlp"]))
    change(model)
    files.write_weights(folder / "weights.safetensors", files.weights(), description=json.dumps(model))


# Shards.


@case("shard: truncated gzip", 65, "read-shard", "shard.safetensors.gz")
def _(folder):
    path = folder / "shard.safetensors.gz"
    path.write_bytes(path.read_bytes()[:-1000])


@case("shard: one flipped bit in the gzip", 65, "read-shard")
def _(folder):
    path = folder / "shard.safetensors.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


@case("shard: gzip bomb behind the last tensor", 65, "read-shard", "expands beyond")
def _(folder):
    packer = zlib.compressobj(9, wbits=31)
    content = packer.compress(safetensors.numpy.save(files.shard()))
    zeros = bytes(1 << 20)
    content += b"".join(packer.compress(zeros) for _ in range(2048)) + packer.flush()
    raw_shard(folder, content)


@case("shard: gzip bomb as one honest tensor of 1 TB", 65, "read-shard")
def _(folder):
    size = 1 << 40
    header = {"x": {"dtype": "U8", "shape": [size // 784, 1, 28, 28], "data_offsets": [0, size // 784 * 784]}}
    raw_shard(folder, gzip.compress(container(header, bytes(1 << 24))))


@case("shard: gzip header promises less than is there", 65, "read-shard")
def _(folder):
    raw_shard(folder, gzip.compress(container({"x": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}, bytes(9))))


@case("shard: header length beyond the file", 65, "read-shard", "header length")
def _(folder):
    raw_shard(folder, struct.pack("<Q", 1 << 20) + b"{}")


@case("shard: header length of 2^63", 65, "read-shard", "header")
def _(folder):
    raw_shard(folder, struct.pack("<Q", 1 << 63) + b"{}" * 100)


@case("shard: overlapping tensors", 65, "read-shard")
def _(folder):
    header = {
        "x": {"dtype": "U8", "shape": [2, 1, 28, 28], "data_offsets": [0, 1568]},
        "y": {"dtype": "U8", "shape": [2], "data_offsets": [1566, 1568]},
    }
    raw_shard(folder, container(header, bytes(1568)))


@case("shard: a gap between tensors", 65, "read-shard")
def _(folder):
    header = {
        "x": {"dtype": "U8", "shape": [2, 1, 28, 28], "data_offsets": [0, 1568]},
        "y": {"dtype": "U8", "shape": [2], "data_offsets": [1570, 1572]},
    }
    raw_shard(folder, container(header, bytes(1572)))


@case("shard: a name twice", 65, "read-shard")
def _(folder):
    entry = b'"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}'
    raw_shard(folder, container(b"{" + entry + b"," + entry + b"}", bytes(2)))


@case("shard: shape that overflows", 65, "read-shard")
def _(folder):
    header = {"x": {"dtype": "F64", "shape": [1 << 62, 1 << 62], "data_offsets": [0, 8]}}
    raw_shard(folder, container(header, bytes(8)))


@case("shard: unknown dtype", 65, "read-shard", "F99")
def _(folder):
    raw_shard(folder, container({"x": {"dtype": "F99", "shape": [2], "data_offsets": [0, 2]}}, bytes(2)))


@case("shard: header nested 100,000 deep", 65, "read-shard")
def _(folder):
    raw_shard(folder, container(b'{"x":' + b"[" * 100_000))


@case("shard: random bytes", 65, "read-shard")
def _(folder):
    raw_shard(folder, numpy.random.default_rng(0).bytes(10_000))


@case("shard: empty file", 65, "read-shard")
def _(folder):
    raw_shard(folder, b"")


@case("shard: wrong dtype of x (I32)", 65, "read-shard", "'x'", "I32")
def _(folder):
    replace_shard(folder, x=files.shard()["x"].astype(numpy.int32))


@case("shard: wrong dtype of y (F32)", 65, "read-shard", "'y'", "F32")
def _(folder):
    replace_shard(folder, y=files.shard()["y"].astype(numpy.float32))


@case("shard: NaN among the inputs", 65, "read-shard", "'x'", "NaN")
def _(folder):
    x = files.shard()["x"].astype(numpy.float32)
    x[7, 0, 3, 3] = numpy.nan
    replace_shard(folder, x=x)


@case("shard: label out of range", 65, "read-shard", "12", "10")
def _(folder):
    y = files.shard()["y"]
    y[3] = 12
    replace_shard(folder, y=y)


@case("shard: negative label", 65, "read-shard", "-1")
def _(folder):
    y = files.shard()["y"].astype(numpy.int64)
    y[3] = -1
    replace_shard(folder, y=y)


@case("shard: no examples", 65, "read-shard", "no examples")
def _(folder):
    replace_shard(folder, x=numpy.zeros((0, 1, 28, 28), numpy.uint8), y=numpy.zeros(0, numpy.uint8))


@case("shard: does not fit the model", 65, "read-shard", "28, 28", "32, 32")
def _(folder):
    replace_shard(folder, x=numpy.zeros((200, 1, 32, 32), numpy.uint8))


@case("shard: more inputs than labels", 65, "read-shard", "200", "199")
def _(folder):
    replace_shard(folder, y=files.shard()["y"][:199])


@case("shard: no labels", 65, "read-shard", "'y'")
def _(folder):
    files.write_shard(folder / "shard.safetensors.gz", {"x": files.shard()["x"]})


@case("shard: missing file", 66, "read-shard", "shard.safetensors.gz")
def _(folder):
    (folder / "shard.safetensors.gz").unlink()


@case("shard: a folder", 74, "read-shard", "folder")
def _(folder):
    (folder / "shard.safetensors.gz").unlink()
    (folder / "shard.safetensors.gz").mkdir()


@case("shard: a pipe that nobody writes to", 74, "read-shard", "not a regular file")
def _(folder):
    (folder / "shard.safetensors.gz").unlink()
    os.mkfifo(folder / "shard.safetensors.gz")


# Weights.


@case("weights: missing file", 66, "read-weights", "weights.safetensors")
def _(folder):
    (folder / "weights.safetensors").unlink()


@case("weights: NaN", 65, "read-weights", "1.weight", "nan")
def _(folder):
    tensors = files.weights()
    tensors["1.weight"][3, 5] = numpy.nan
    files.write_weights(folder / "weights.safetensors", tensors)


@case("weights: infinity", 65, "read-weights", "3.bias", "inf")
def _(folder):
    tensors = files.weights()
    tensors["3.bias"][0] = numpy.inf
    files.write_weights(folder / "weights.safetensors", tensors)


@case("weights: wrong shape", 65, "read-weights", "1.weight", "[32, 784]", "[784, 32]")
def _(folder):
    tensors = files.weights()
    tensors["1.weight"] = numpy.ascontiguousarray(tensors["1.weight"].T)
    files.write_weights(folder / "weights.safetensors", tensors)


@case("weights: wrong dtype (I32)", 65, "read-weights", "1.bias", "I32")
def _(folder):
    tensors = files.weights()
    tensors["1.bias"] = tensors["1.bias"].astype(numpy.int32)
    files.write_weights(folder / "weights.safetensors", tensors)


@case("weights: a tensor is missing", 65, "read-weights", "3.bias")
def _(folder):
    tensors = files.weights()
    del tensors["3.bias"]
    files.write_weights(folder / "weights.safetensors", tensors)


@case("weights: a tensor too many", 65, "read-weights", "9.bias")
def _(folder):
    files.write_weights(folder / "weights.safetensors", files.weights() | {"9.bias": numpy.zeros(3, numpy.float32)})


@case("weights: no model description", 65, "read-weights", "deml.model")
def _(folder):
    safetensors.numpy.save_file(files.weights(), folder / "weights.safetensors")


@case("weights: description is not JSON", 65, "read-weights", "model description")
def _(folder):
    files.write_weights(folder / "weights.safetensors", files.weights(), description='{"input": ')


@case("weights: unknown layer", 65, "read-weights", "layer 2", "transformer")
def _(folder):
    replace_model(folder, lambda model: model["layers"][2].update(type="transformer"))


@case("weights: unknown key in a layer", 65, "read-weights", "layer 1", "units")
def _(folder):
    replace_model(folder, lambda model: model["layers"][1].update(units=3))


@case("weights: layers that do not fit", 65, "read-weights", "layer 2", "[1, 28, 10]")
def _(folder):
    replace_model(folder, lambda model: model["layers"].pop(0))


@case("weights: a layer of 10^15 numbers", 65, "read-weights", "layer 1")
def _(folder):
    replace_model(folder, lambda model: model["layers"][1].update(out_features=10**15))


@case("weights: layers nested 10,000 deep", 65, "read-weights")
def _(folder):
    inner = '{"type":"residual","layers":[' * 10_000 + '{"type":"relu"}' + "]}" * 10_000
    text = '{"input":{"shape":[4]},"layers":[' + inner + '],"loss":"mse"}'
    files.write_weights(folder / "weights.safetensors", files.weights(), description=text)


@case("weights: a kernel that wants 68 GB for each thread", 65, "train", "layer 0 (conv2d)", "are free")
def _(folder):
    write_wide_padding(folder, channels=1)
    return ["--threads", "64"]


@case("weights: a kernel that wants 72 PB for each thread", 65, "train", "layer 0 (conv2d)", "are free")
def _(folder):
    write_wide_padding(folder, channels=1 << 20)


def write_wide_padding(folder, channels):
    """A model of few numbers, whose padding makes an image of 131,071 x 131,071 out of one pixel."""
    model = {
        "input": {"shape": [channels, 1, 1]},
        "layers": [
            {"type": "conv2d", "out_channels": 2, "kernel_size": 1, "stride": 65535, "padding": 65535},
            {"type": "global_avg_pool2d"}, {"type": "flatten"},
        ],
        "loss": "cross_entropy",
    }  # fmt: skip
    tensors = {"0.weight": numpy.ones((2, channels, 1, 1), "float32"), "0.bias": numpy.zeros(2, "float32")}
    files.write_weights(folder / "weights.safetensors", tensors, description=json.dumps(model))
    x, y = numpy.zeros((4, channels, 1, 1), "uint8"), numpy.zeros(4, "uint8")
    files.write_shard(folder / "shard.safetensors.gz", {"x": x, "y": y})


# Arguments.


@case("arguments: no epochs", 64, "arguments", "epochs")
def _(folder):
    return ["--epochs", "0"]


@case("arguments: negative batch size", 64, "arguments", "batch")
def _(folder):
    return ["--batch-size=-5"]


@case("arguments: learning rate is no number", 64, "arguments", "learning")
def _(folder):
    return ["--learning-rate", "nan"]


@case("arguments: momentum with adam", 64, "arguments", "momentum")
def _(folder):
    return ["--optimizer", "adam", "--momentum", "0.9"]


@case("arguments: unknown optimizer", 64, "arguments", "sophia")
def _(folder):
    return ["--optimizer", "sophia"]


@case("arguments: no threads", 64, "arguments", "threads")
def _(folder):
    return ["--threads", "0"]


@case("arguments: unknown option", 64, "arguments", "--speed")
def _(folder):
    return ["--speed", "11"]


@case("training diverges", 65, "train", "loss became nan")
def _(folder):
    return ["--learning-rate", "1e30", "--epochs", "3"]


# Outputs. The report is checked before the work begins, so that nobody trains for nothing.


@case("output: folder does not exist", 73, None, "nowhere")
def _(folder):
    return ["--delta", folder / "nowhere/delta.gz", "--report", folder / "nowhere/report.json"]


@case("output: delta's folder does not exist", 73, "write-delta", "nowhere")
def _(folder):
    return ["--delta", folder / "nowhere/delta.gz"]


@case("output: read-only file system", 73, None, "Read-only")
def _(folder):
    mount(folder / "out", "ro")


@case("output: disk full", 74, "write-delta", "No space")
def _(folder):
    mount(folder / "out", "size=32k")


@case("output: disk full before the report", 74, None, "No space")
def _(folder):
    mount(folder / "out", "size=8k")
    (folder / "out/ballast").write_bytes(bytes(8192))


def mount(path, options):
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=True)


# One case.


def measure(command, folder):
    """Runs a command; returns exit code, stdout, stderr, seconds and peak memory in KiB."""
    with open(folder / "stdout", "wb") as out, open(folder / "stderr", "wb") as err:
        start = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env={})
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
    out, err = (folder / "stdout").read_text(), (folder / "stderr").read_text()
    return os.waitstatus_to_exitcode(status), out, err, seconds, usage.ru_maxrss


def try_case(number, name, code, stage, words, change):
    folder = SCRATCH / f"case-{number}"
    shutil.copytree(SCRATCH / "good", folder)
    output = folder / "out"
    output.mkdir()
    options = change(folder) or []
    delta, report = output / "delta.safetensors.gz", output / "report.json"
    command = [os.environ["DEML_WORKER"], "train", "--weights", folder / "weights.safetensors"]
    command += ["--shard", folder / "shard.safetensors.gz"]
    for option, path in (("--delta", delta), ("--report", report)):
        command += [] if option in options else [option, path]
    got, out, err, seconds, kibibytes = measure(command + options, folder)

    mistakes = []
    if got != code:
        mistakes.append(f"exit code {got}, wanted {code}")
    if len(err.splitlines()) != 1:
        mistakes.append(f"{len(err.splitlines())} lines on stderr")
    if out and name != "training diverges" and not name.startswith("output"):
        mistakes.append(f"stdout is {out[:100]!r}")
    mistakes += [f"stderr lacks {word!r}" for word in words if word not in err]
    if stage is not None:
        mistakes += check_report(report, stage)
    left = sorted(path.name for path in output.iterdir() if path.name not in ("report.json", "ballast"))
    if left:
        mistakes.append(f"left behind: {left}")
    if seconds > MAXIMUM_SECONDS or kibibytes > MAXIMUM_KIBIBYTES:
        mistakes.append(f"took {seconds:.1f} s and {kibibytes // 1024} MiB")
    said = err.strip().removeprefix("deml-worker: ").replace(f"{folder}/", "")
    print(f"| {name} | {got} | {said[:160]} |")
    for mistake in mistakes:
        print(f"worker_bad_inputs: {name}: {mistake}", file=sys.stderr)
    return not mistakes


def check_report(path, stage):
    try:
        report = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        return [f"the report cannot be read: {error}"]
    wanted = {"status": "error", "stage": stage}
    mistakes = [f"the report's {key} is {report.get(key)!r}" for key in wanted if report.get(key) != wanted[key]]
    if not report.get("message"):
        mistakes.append("the report has no message")
    if stage.split("-")[0] in ("read", "write") and not report.get("file"):
        mistakes.append("the report names no file")
    return mistakes


def main():
    files.write_weights_and_shard(SCRATCH / "good")
    print("| input | exit code | stderr |\n|---|---|---|")
    good = [try_case(number, *parts) for number, parts in enumerate(CASES)]
    print(f"{good.count(True)} of {len(good)} bad inputs answered as they should be")
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
