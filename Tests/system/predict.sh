#!/bin/sh
# deml predict on everything it takes: datasets, single files without labels, tables, pictures; and on what it does not.
set -eu
. "$(dirname "$0")/lib.sh"
cd "$root"
scratch=$DEML_TEST_SCRATCH
python=${DEML_TEST_PYTHON:-python3}
small "$scratch/data" 6000
succeeds "a model" "$DEML" train examples/mnist-mlp.yaml --data "$scratch/data" --on simulated --rounds 2 --local-epochs 3 \
    --no-comparison --output "$scratch/run"
model=$scratch/run/best.safetensors

# The first ten test images, in every form.
"$python" - "$scratch" <<'PYTHON'
import gzip, json, struct, sys, zlib
import numpy as np
folder = sys.argv[1]
images = np.frombuffer(open(f"{folder}/data/t10k-images-idx3-ubyte", "rb").read()[16:], np.uint8).reshape(-1, 28, 28)[:10]
labels = np.frombuffer(open(f"{folder}/data/t10k-labels-idx1-ubyte", "rb").read()[8:], np.uint8)[:10]
np.savez_compressed(f"{folder}/x.npz", x=images)
np.savez(f"{folder}/xy.npz", x=images, y=labels)
open(f"{folder}/images.idx.gz", "wb").write(gzip.compress(struct.pack(">IIII", 2051, 10, 28, 28) + images.tobytes()))
np.savetxt(f"{folder}/x.csv", images.reshape(10, 784), "%d", ",")
np.savetxt(f"{folder}/named.csv", images.reshape(10, 784), "%d", ",", header=",".join(f"p{i}" for i in range(784)), comments="")
header = json.dumps({"x": {"dtype": "U8", "shape": [10, 784], "data_offsets": [0, 7840]}}).encode()
header += b" " * (-len(header) % 8)
open(f"{folder}/x.safetensors", "wb").write(struct.pack("<Q", len(header)) + header + images.tobytes())

def png(name, rows, kind, depth=8, interlace=0, palette=None, size=None, filtered=0):
    height, width = size or rows.shape[:2]
    def chunk(tag, body): return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))
    raw = b""
    previous = None
    for row in rows:
        line = np.ascontiguousarray(row, np.uint8).reshape(-1).astype(np.int32)
        if filtered == 2 and previous is not None: body = (line - previous) % 256
        elif filtered == 1:
            step = rows.shape[2] if rows.ndim == 3 else 1
            body = line.copy(); body[step:] = (line[step:] - line[:-step]) % 256
        else: body = line
        raw += bytes([filtered if not (filtered == 2 and previous is None) else 0]) + body.astype(np.uint8).tobytes()
        previous = line
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlace))
    if palette is not None: data += chunk(b"PLTE", palette)
    data += chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    open(f"{folder}/{name}", "wb").write(data)

seven = images[0]
paper = 255 - np.kron(seven, np.ones((8, 8), np.uint8))          # black ink on white, 224 x 224
png("grey.png", seven, 0)
png("paper.png", paper, 0, filtered=2)
png("colour.png", np.stack([paper] * 3, -1), 2, filtered=1)
png("alpha.png", np.stack([np.zeros_like(paper)] * 3 + [255 - paper], -1), 6)
png("palette.png", (seven > 99).astype(np.uint8), 3, palette=bytes([0, 0, 0, 255, 255, 255]))
png("deep.png", seven, 0, depth=16)
png("interlaced.png", seven, 0, interlace=1)
png("huge.png", seven, 0, size=(100000, 100000))
png("short.png", seven[:20], 0, size=(28, 28))
data = bytearray(open(f"{folder}/grey.png", "rb").read())
open(f"{folder}/cut.png", "wb").write(data[:200])
data[60] ^= 1
open(f"{folder}/flipped.png", "wb").write(data)
open(f"{folder}/seven.pgm", "wb").write(b"P5\n# a seven\n28 28\n255\n" + seven.tobytes())
open(f"{folder}/cut.pgm", "wb").write(b"P5 28 28 255\n" + seven.tobytes()[:99])
open(f"{folder}/noise", "wb").write(bytes(range(255, 0, -1)) * 4)
open(f"{folder}/words.csv", "w").write(",".join(["1"] * 784) + "\n" + ",".join(["one"] * 784) + "\n")
PYTHON

# digits FILE: the classes predicted for a file
digits() {
    "$DEML" predict --model "$model" --data "$1" --count 0 --json 2>/dev/null |
        "$python" -c 'import json, sys; print("".join(json.loads(line)["predicted"] for line in sys.stdin))' 2>&1
}
expected=$("$DEML" predict --model "$model" --data "$scratch/data" --count 10 --json |
    "$python" -c 'import json, sys; print("".join(json.loads(line)["predicted"] for line in sys.stdin))')
equal "ten answers" 10 "$(printf %s "$expected" | wc -c | tr -d ' ')"
for file in x.npz xy.npz images.idx.gz x.csv named.csv x.safetensors; do
    equal "$file gives the same answers" "$expected" "$(digits "$scratch/$file")"
done
for file in grey.png paper.png colour.png alpha.png palette.png seven.pgm; do
    equal "$file is a 7" 7 "$(digits "$scratch/$file")"
done

succeeds "a table of all outputs" "$DEML" predict --model "$model" --data "$scratch/x.csv" --count 0 --output "$scratch/out.csv"
equal "its heading" "example,predicted,0,1,2,3,4,5,6,7,8,9" "$(head -n 1 "$scratch/out.csv")"
equal "its lines" 11 "$(wc -l <"$scratch/out.csv" | tr -d ' ')"
succeeds "outputs as safetensors" "$DEML" predict --model "$model" --data "$scratch/x.csv" --output "$scratch/out.safetensors"
contains "which inspect knows" "predictions" "$("$DEML" inspect "$scratch/out.safetensors")"
succeeds "what a person sees" "$DEML" predict --model "$scratch/run" --data "$scratch/grey.png"
contains "the picture" "█" "$output"
contains "the probability" " %" "$output"
lacks "no verdict where the truth is not known" "right" "$output"

# Every form of writing, by this process and by the machines of a fleet: the same bytes.
data=$scratch/data
for form in csv npz jsonl safetensors safetensors.gz; do
    succeeds "$form here" "$DEML" predict --model "$model" --data "$data" --count 0 --output "$scratch/here.$form"
    succeeds "$form by two processes" "$DEML" predict --model "$model" --data "$data" --on local --machines 2 \
        --shard-rows 300 --worker "$DEML_WORKER" --audit all --output "$scratch/there.$form"
    same_bytes "$form: the same" "$scratch/here.$form" "$scratch/there.$form"
done
contains "what was done by whom" "local-2" "$output"
contains "and looked at" "recomputed here" "$output"
equal "nothing is left of the work" "" "$(ls -d "$scratch"/*.work 2>/dev/null)"
for contents in top classes; do
    "$DEML" predict --model "$model" --data "$data" --count 0 --contents $contents --top 2 --output "$scratch/here-$contents.npz" >/dev/null
    succeeds "$contents" "$DEML" predict --model "$model" --data "$data" --on simulated --contents $contents --top 2 \
        --format npz --output "$scratch/there-$contents"
    same_bytes "$contents: the same" "$scratch/here-$contents.npz" "$scratch/there-$contents"
done
equal "what numpy reads" "ok" "$("$python" - "$scratch" <<'PYTHON'
import csv, json, sys
import numpy as np
folder = sys.argv[1]
whole = np.load(f"{folder}/here.npz")
p, labels = whole["predictions"], whole["labels"]
assert p.dtype == np.float32 and p.shape == (len(labels), 10) and np.allclose(p.sum(1), 1, atol=1e-5)
assert list(whole["class_names"]) == [str(i) for i in range(10)] and list(whole["rows"]) == list(range(len(p)))
top, classes = np.load(f"{folder}/here-top.npz"), np.load(f"{folder}/here-classes.npz")
assert (top["classes"] == np.argsort(-p, 1, kind="stable")[:, :2]).all() and (classes["classes"] == p.argmax(1)).all()
assert (classes["probabilities"] == p.max(1)).all() and (top["probabilities"][:, 0] == p.max(1)).all()
rows = list(csv.DictReader(open(f"{folder}/here.csv")))
lines = [json.loads(line) for line in open(f"{folder}/here.jsonl")]
for i, (row, line) in enumerate(zip(rows, lines, strict=True)):
    assert int(row["example"]) == line["example"] == i and row["label"] == line["truth"] == str(labels[i])
    assert row["predicted"] == line["predicted"] == str(p[i].argmax())
    assert [np.float32(row[str(k)]) for k in range(10)] == list(p[i])
print("ok")
PYTHON
)"
"$DEML" evaluate --model "$model" --data "$data" --json >"$scratch/here.json"
"$DEML" evaluate --model "$model" --data "$data" --on local --worker "$DEML_WORKER" --json >"$scratch/there.json"
same_bytes "a test by a fleet gives the same measures" "$scratch/here.json" "$scratch/there.json"
# Machines get a file of another tool as weights that they can read.
for form in onnx keras; do
    succeeds "the model for $form" "$DEML" export --model "$model" --to $form --output "$scratch/model.$form"
    succeeds "$form here" "$DEML" predict --model "$scratch/model.$form" --data "$data" --count 0 --output "$scratch/here-$form.csv"
    succeeds "$form by two processes" "$DEML" predict --model "$scratch/model.$form" --data "$data" --on local --machines 2 \
        --shard-rows 300 --worker "$DEML_WORKER" --audit all --output "$scratch/there-$form.csv"
    same_bytes "$form: the same" "$scratch/here-$form.csv" "$scratch/there-$form.csv"
done

# Killed in the middle: the same command goes on; another is refused by name, and so is what makes no sense.
cnn=$scratch/cnn
succeeds "a model with more to compute" "$DEML" train examples/mnist-cnn.yaml --data "$data" --on simulated --workers 2 \
    --fraction 1 --rounds 1 --local-epochs 1 --max-seconds 1 --no-comparison --output "$cnn"
twin() { "$DEML" predict --model "$cnn" --data "$data" --on local --machines 1 --shard-rows 100 \
    --worker "$DEML_WORKER" --output "$scratch/cnn.csv" "$@"; }
"$DEML" predict --model "$cnn" --data "$data" --count 0 --output "$scratch/cnn-here.csv" >/dev/null
"$DEML" predict --model "$cnn" --data "$data" --on local --machines 1 --shard-rows 100 \
    --worker "$DEML_WORKER" --output "$scratch/cnn.csv" >/dev/null 2>&1 &
process=$!
# Only what has its name is done: what was being written when it was killed is not.
shards_done() { ls "$scratch/cnn.csv.work/done" 2>/dev/null | grep -c '\.safetensors$' || true; }
until [ "$(shards_done)" -ge 2 ] || ! kill -0 $process 2>/dev/null; do sleep 0.05; done
kill -9 $process
wait $process 2>/dev/null || true
done=$(shards_done)
at_least "shards that were done" 2 "$done"
fails "another part of the data" 64 "the rows were" twin --split train
fails "another model" 64 "the model was" "$DEML" predict --model "$model" --data "$data" --on local --worker "$DEML_WORKER" \
    --output "$scratch/cnn.csv"
half=$scratch/cnn.csv.work/done/000019.safetensors.1.2.tmp
echo half >"$half"
# Stopped by Ctrl-C it says so, and keeps what is done too.
"$DEML" predict --model "$cnn" --data "$data" --on local --machines 1 --shard-rows 100 --worker "$DEML_WORKER" \
    --output "$scratch/cnn.csv" >"$scratch/stopped.txt" 2>&1 &
process=$!
until [ "$(shards_done)" -gt "$done" ] || ! kill -0 $process 2>/dev/null; do sleep 0.02; done
kill -TERM $process
code=0
wait $process || code=$?
equal "stopped" 130 "$code"
done=$(shards_done)
fails "what was half written is gone" 2 "No such file" ls "$half"
contains "and it says how to go on" "stopped with $done of 20 shards done; the same command goes on" "$(cat "$scratch/stopped.txt")"
succeeds "it goes on" twin
contains "with what was done" "$done shards done before" "$output"
same_bytes "to the same bytes" "$scratch/cnn-here.csv" "$scratch/cnn.csv"
fails "no such fleet" 64 "moon" "$DEML" predict --model "$model" --data "$data" --on moon
fails "machines of nobody" 64 "--machines belongs to --on" "$DEML" predict --model "$model" --data "$data" --machines 2
fails "no machines" 64 "--machines" "$DEML" predict --model "$model" --data "$data" --on local --machines 0 --output "$scratch/n.csv"
fails "a share that is none" 64 "--audit" "$DEML" predict --model "$model" --data "$data" --on local --audit 7 --output "$scratch/n.csv"
fails "a worker that is none" 66 "no worker" "$DEML" predict --model "$model" --data "$data" --on local --worker "$scratch/none"
fails "prices without a market" 64 "--budget belongs" "$DEML" predict --model "$model" --data "$data" --on local --budget 1
fails "an output that is a folder" 73 "folder" "$DEML" predict --model "$model" --data "$data" --on local --output "$scratch"
fails "rows that are none" 65 "words.csv" "$DEML" predict --model "$model" --data "$scratch/words.csv" --on local --output "$scratch/n.csv"
equal "nothing was written for those" "" "$(ls -d "$scratch"/n.csv* 2>/dev/null)"

for file in deep.png interlaced.png huge.png short.png cut.png flipped.png cut.pgm noise words.csv; do
    fails "$file" 65 "$file" "$DEML" predict --model "$model" --data "$scratch/$file"
done
fails "beyond the end" 64 "--start" "$DEML" predict --model "$model" --data "$scratch/x.csv" --start 10
fails "no class of each" 64 "--top is to be 1 or more" "$DEML" predict --model "$model" --data "$scratch/x.csv" --top 0
fails "a model that is none" 65 "grey.png" "$DEML" predict --model "$scratch/grey.png" --data "$scratch/x.csv"
finish
