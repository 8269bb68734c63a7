"""What a cheating provider makes of its work: other values, with every digest and count as they must be."""
import array
import gzip
import hashlib
import json
import math
import os
import random
import time

WAIT = 20       # seconds for a delta to copy


def digest(data):
    return hashlib.sha256(data).hexdigest()


def unpack(data):
    raw = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    n = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8:8 + n]), raw[8 + n:]


def pack(header, body):
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return gzip.compress(len(text).to_bytes(8, "little") + text + body, mtime=0)


def job_of(args):
    """The job of a `deml-worker run {...}`; None for another program."""
    words = args.get("args") or []
    return json.loads(words[1]) if words[:1] == ["run"] and len(words) == 2 else None


def place(unit, path):
    return unit.in_volume("container:" + path)


def refuse(unit, args, sentence):
    job = job_of(args)
    report = {"status": "error", "command": job["kind"], "version": "0", "stage": "read-shard", "code": "malformed",
              "message": sentence}
    path = place(unit, job["report"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report))


def shelf(unit):
    """Where the agents of one network see each other's deltas: a market has no secrets among thieves."""
    folder = unit.folder.parents[2] / "deltas"
    folder.mkdir(exist_ok=True)
    return folder


def publish(unit, args):
    job = job_of(args)
    if job and job["kind"] == "train":
        name = f"{unit.folder.parents[1].name}-{job['inputs']['weights']['sha256'][:16]}"
        partial = shelf(unit) / (name + ".part")
        partial.write_bytes(unpack(place(unit, job["output"]).read_bytes())[1])
        os.rename(partial, shelf(unit) / name)


class Cheat:
    """One run of the worker that is tampered with: `args` are run, then `finish` is called."""
    first = {}      # of an agent, for `replayed`

    def __init__(self, unit, args, kind):
        self.unit, self.kind, self.args = unit, kind, args
        self.job = job_of(args)
        if self.job and kind == "less":
            self.args = {**args, "args": ["run", json.dumps(self.with_one_example_less())]}

    def with_one_example_less(self):
        job = json.loads(json.dumps(self.job))
        there = place(self.unit, job["inputs"]["shard"]["file"])
        header, body = unpack(there.read_bytes())
        tensors, kept = {}, b""
        for name, t in sorted((k, v) for k, v in header.items() if k != "__metadata__"):
            start, end = t["data_offsets"]
            rows = t["shape"][0]
            part = body[start:end - (end - start) // rows]
            tensors[name] = {**t, "shape": [rows - 1, *t["shape"][1:]], "data_offsets": [len(kept), len(kept) + len(part)]}
            kept += part
        if "__metadata__" in header:
            tensors["__metadata__"] = header["__metadata__"]
        there.with_name("less.safetensors.gz").write_bytes(pack(tensors, kept))
        path = job["inputs"]["shard"]["file"]
        job["inputs"]["shard"] = {"file": path.rsplit("/", 1)[0] + "/less.safetensors.gz"}
        return job

    def finish(self):
        if self.job and self.job["kind"] == "predict":
            return self.finish_predictions()
        if not self.job or self.job["kind"] != "train":
            return
        delta, report = place(self.unit, self.job["output"]), place(self.unit, self.job["report"])
        old = delta.read_bytes()
        header, body = unpack(old)
        told = json.loads(report.read_text())
        if self.kind == "less":
            told["shard_sha256"] = header["__metadata__"]["deml.shard_sha256"] = self.job["inputs"]["shard"]["sha256"]
            told["examples"] += 1
            header["__metadata__"]["deml.examples"] = str(told["examples"])
        else:
            body = self.values(body)
        new = pack(header, body)
        delta.write_bytes(new)
        told["delta_sha256"] = digest(new)
        report.write_text(json.dumps(told))

    def finish_predictions(self):
        """Of some rows the outputs stand in another order: numbers as good as any."""
        output, report = place(self.unit, self.job["output"]), place(self.unit, self.job["report"])
        header, body = unpack(output.read_bytes())
        told = json.loads(report.read_text())
        kind, _, share = self.kind.partition(":")
        if kind != "rows":
            raise ValueError(self.kind)
        start, end = header["predictions"]["data_offsets"]
        rows = header["predictions"]["shape"][0]
        values = array.array("f")
        values.frombytes(body[start:end])
        width = len(values) // rows
        for row in random.sample(range(rows), max(1, int(rows * float(share or 1)))):
            values[row * width:(row + 1) * width] = values[row * width:(row + 1) * width][::-1]
        new = pack(header, body[:start] + values.tobytes() + body[end:])
        output.write_bytes(new)
        told["predictions_sha256"] = digest(new)
        report.write_text(json.dumps(told))

    def values(self, body):
        kind, _, factor = self.kind.partition(":")
        values = array.array("f")
        values.frombytes(body)
        if kind == "scaled":
            return array.array("f", [x * float(factor) for x in values]).tobytes()
        if kind == "zero":
            return bytes(len(body))
        if kind == "huge":
            return array.array("f", [3e38] * len(values)).tobytes()
        if kind == "random":
            spread = math.sqrt(sum(x * x for x in values) / len(values))
            return array.array("f", [random.gauss(0, spread) for _ in values]).tobytes()
        if kind == "replayed":
            return self.first.setdefault(self.unit.folder.parents[1].name, body)
        if kind == "copied":
            return self.another() or body
        raise ValueError(kind)

    def another(self):
        """The values of a delta that another agent made from the same weights."""
        own = self.unit.folder.parents[1].name
        mark = self.job["inputs"]["weights"]["sha256"][:16]
        end = time.time() + WAIT
        while time.time() < end:
            found = [p for p in shelf(self.unit).glob(f"*-{mark}") if not p.name.startswith(own + "-")]
            if found:
                return found[0].read_bytes()
            time.sleep(0.05)
