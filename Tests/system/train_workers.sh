#!/bin/sh
# Workers that fail, are late, deliver damage or nothing: what deml says, what it keeps, and when it goes on without them.
set -eu
. "$(dirname "$0")/lib.sh"
cd "$root"
scratch=$DEML_TEST_SCRATCH
small "$scratch/data" 3000
train="$DEML train examples/mnist-mlp.yaml --data $scratch/data --rounds 2 --local-epochs 1 --no-comparison"

# worker NAME BODY: a worker that does BODY when it is the fifth to be started (in the second round), else its work
worker() {
    mkdir -p "$scratch/$1-started"
    cat >"$scratch/$1" <<WRAPPER
#!/bin/sh
PATH=/usr/bin:/bin
number=1
until mkdir "$scratch/$1-started/\$number" 2>/dev/null; do number=\$((number + 1)); done
if [ \$number -eq 5 ]; then
    $2
fi
exec $DEML_WORKER "\$@"
WRAPPER
    chmod +x "$scratch/$1"
}

# disturbed NAME MESSAGE OPTIONS...: the run ends well all the same, with the model of an undisturbed run, and says why
disturbed() {
    name=$1 message=$2
    shift 2
    succeeds "$name: the run finishes" $train --output "$scratch/run-$name" --worker "$scratch/$name" "$@"
    contains "$name: it says what happened" "$message" "$output"
    contains "$name: and what becomes of the shard" "given to another worker" "$output"
    equal "$name: events.jsonl has it" 1 "$(grep -c '"event":"attempt_failed"' "$scratch/run-$name/events.jsonl")"
    equal "$name: a record is kept" 1 "$(grep -c '"failure":' "$scratch/run-$name/rounds/0002/reports.jsonl")"
    same_bytes "$name: the model is that of an undisturbed run" "$scratch/undisturbed/model.safetensors" \
        "$scratch/run-$name/model.safetensors"
}

succeeds "an undisturbed run" $train --output "$scratch/undisturbed"

worker doomed 'echo "the disk is on fire" >&2; exit 74'
sed -i 's/-eq 5/-ge 1/' "$scratch/doomed"
worker fails 'echo "the disk is on fire" >&2; exit 74'
disturbed fails "failed at "
contains "fails: its last words are shown" "it said: the disk is on fire" "$("$DEML" train examples/mnist-mlp.yaml \
    --data "$scratch/data" --rounds 1 --local-epochs 1 --no-comparison --worker "$scratch/doomed" --retries 0 2>&1 \
    --output "$scratch/run-doomed" || true)"
contains "fails: the tail of stderr is kept" "the disk is on fire" \
    "$(grep '"failure":' "$scratch/run-fails/rounds/0002/reports.jsonl")"
worker silent 'exit 0'
disturbed silent "failed at "
worker late 'sleep 60'
disturbed late "was late at train" --timeout 2 --straggler-factor 0
# The worker's folder holds its job and what comes of it.
worker damages "$DEML_WORKER"' "$@" && printf x | dd of=delta.safetensors bs=1 seek=200 conv=notrunc 2>/dev/null; exit 0'
disturbed damages "failed at "
# A slow worker gets company, and the first good answer counts; nothing failed then.
worker slow 'sleep 20'
succeeds "slow: the run finishes" $train --output "$scratch/run-slow" --worker "$scratch/slow" --straggler-factor 3
contains "slow: it says so" "another worker gets it too" "$output"
same_bytes "slow: the model is that of an undisturbed run" "$scratch/undisturbed/model.safetensors" \
    "$scratch/run-slow/model.safetensors"

# Without another try the round goes on with those that answered, or the run ends.
worker once 'exit 70'
succeeds "a round closes with --min-workers" $train --output "$scratch/run-min" --worker "$scratch/once" --retries 0 \
    --min-workers 2
contains "it says that a shard was left out" "left out of the round" "$output"
equal "two of three answers count" 2 "$(tail -n 1 "$scratch/run-min/metrics.jsonl" | json - "['answers']")"

worker always 'exit 70'
sed -i 's/-eq 5/-ge 1/' "$scratch/always"
fails "no worker ever answers" 69 "round 1" $train --output "$scratch/run-always" --worker "$scratch/always"
exists "the run folder is kept" "$scratch/run-always/config.json"
finish
