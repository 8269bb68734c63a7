#!/bin/sh
# Runs that are disturbed: deml killed in the middle of a round and resumed, a worker killed, Ctrl-C. All end with the
# model of an undisturbed run.
set -eu
. "$(dirname "$0")/lib.sh"
cd "$root"
scratch=$DEML_TEST_SCRATCH
small "$scratch/data" 6000

# A worker that, when it is the fifth to be started (in the middle of the second round) and a file called hold is there,
# leaves its process id and waits until the file is gone. Exactly then the tests do harm.
cat >"$scratch/worker" <<WRAPPER
#!/bin/sh
PATH=/usr/bin:/bin
number=1
until mkdir "$scratch/started/\$number" 2>/dev/null; do number=\$((number + 1)); done
if [ \$number -eq 5 ] && [ -e "$scratch/hold" ]; then
    echo \$\$ >"$scratch/held.new" && mv "$scratch/held.new" "$scratch/held"
    while [ -e "$scratch/hold" ]; do sleep 0.05; done
fi
exec $DEML_WORKER "\$@"
WRAPPER
chmod +x "$scratch/worker"

train="$DEML train examples/mnist-mlp.yaml --data $scratch/data --rounds 3 --local-epochs 2 --no-comparison"

# until_held PID: waits for the fifth worker; fails when deml ends before
until_held() {
    while [ ! -e "$scratch/held" ]; do
        kill -0 "$1" 2>/dev/null || return 1
        sleep 0.05
    done
}

# prepare: the next run is held in its second round
prepare() {
    rm -rf "$scratch/started" "$scratch/held"
    mkdir "$scratch/started"
    touch "$scratch/hold"
}

prepare
rm "$scratch/hold"
succeeds "an undisturbed run" $train --output "$scratch/undisturbed" --worker "$scratch/worker"
model=$scratch/undisturbed/model.safetensors

prepare
$train --output "$scratch/killed" --worker "$scratch/worker" >"$scratch/log" 2>&1 &
deml=$!
if until_held $deml; then ok "the second round has begun"; else not_ok "the second round has begun" "$(cat "$scratch/log")"; fi
kill -9 $deml
wait $deml 2>/dev/null || true
rm "$scratch/hold"
equal "the killed run has finished one round" 0001 "$(ls "$scratch/killed/rounds" | grep -v partial | tail -n 1)"
equal "the killed run has no summary" "" "$(ls "$scratch/killed" | grep -x summary.json || true)"
succeeds "deml evaluate on what was saved" "$DEML" evaluate --model "$scratch/killed/model.safetensors" --data "$scratch/data" --json
fails "other settings are refused on resume" 64 learning_rate "$DEML" train --resume "$scratch/killed" --learning-rate 0.1
succeeds "deml train --resume" "$DEML" train --resume "$scratch/killed"
contains "it says where it goes on" "after round 1" "$output"
same_bytes "the final model is that of the undisturbed run" "$model" "$scratch/killed/model.safetensors"
for round in 0001 0002 0003; do
    same_bytes "round $round is that of the undisturbed run" "$scratch/undisturbed/rounds/$round/weights.safetensors" \
        "$scratch/killed/rounds/$round/weights.safetensors"
done
equal "three lines of metrics" 3 "$(grep -vc '"round":0[,}]' "$scratch/killed/metrics.jsonl")"
exists "report.html" "$scratch/killed/report.html"
succeeds "more rounds by --resume" "$DEML" train --resume "$scratch/killed" --rounds 4
equal "four rounds" 4 "$(json "$scratch/killed/summary.json" "['rounds']")"

# A checkpoint that was damaged is refused by the name of the file, and the round before is offered.
for name in weights.safetensors round.json reports.jsonl; do
    cp "$scratch/killed/rounds/0004/$name" "$scratch/whole"
    printf '~' | dd of="$scratch/killed/rounds/0004/$name" bs=1 seek=300 conv=notrunc 2>/dev/null
    fails "damage in $name" 65 "rounds/0004/$name" "$DEML" train --resume "$scratch/killed" --rounds 5
    contains "damage in $name: the way out is told" "go on from round 3, which is whole" "$errors"
    cp "$scratch/whole" "$scratch/killed/rounds/0004/$name"
done
succeeds "the same files put back" "$DEML" train --resume "$scratch/killed" --rounds 5

# Looking at a run that starts does not stop it.
rm -f "$scratch/over"
(until [ -e "$scratch/over" ]; do "$DEML" status "$scratch"/polled-* >/dev/null 2>&1 || true; done) &
poller=$!
for number in 1 2 3; do
    succeeds "a run that is watched, $number" $train --rounds 1 --on simulated --output "$scratch/polled-$number"
done
touch "$scratch/over"
wait $poller

prepare
$train --output "$scratch/worker-killed" --worker "$scratch/worker" >"$scratch/log" 2>&1 &
deml=$!
if until_held $deml; then ok "a worker can be killed"; else not_ok "a worker can be killed" "$(cat "$scratch/log")"; fi
kill -9 "$(cat "$scratch/held")"
rm "$scratch/hold"
if wait $deml; then ok "the run finishes"; else not_ok "the run finishes" "$(cat "$scratch/log")"; fi
contains "it says that the worker was killed" "was lost at train: it was killed" "$(cat "$scratch/log")"
contains "it says what becomes of the shard" "given to another worker" "$(cat "$scratch/log")"
equal "events.jsonl says it too" 1 "$(grep -c '"attempt_failed"' "$scratch/worker-killed/events.jsonl")"
equal "the summary counts it" 1 "$(json "$scratch/worker-killed/summary.json" "['failures']")"
contains "report.html names it" "it was killed" "$(cat "$scratch/worker-killed/report.html")"
same_bytes "the final model is that of the undisturbed run" "$model" "$scratch/worker-killed/model.safetensors"

# Killed after its first epoch of many.
prepare
$train --local-epochs 30 --output "$scratch/mid-epoch" --worker "$scratch/worker" >"$scratch/log" 2>&1 &
deml=$!
until_held $deml || not_ok "a worker can be killed while it trains" "$(cat "$scratch/log")"
rm "$scratch/hold"
held=$(cat "$scratch/held")
# All three clients of the second round have finished an epoch, so the held one too.
clients() {
    grep '"event":"epoch_finished"' "$scratch/mid-epoch/events.jsonl" | grep '"round":2[,}]' | grep -o '"client":[0-9]*' |
        sort -u | wc -l
}
until [ "$(clients)" -eq 3 ] || ! kill -0 $deml 2>/dev/null; do sleep 0.02; done
kill -9 "$held" 2>/dev/null || true
if wait $deml; then ok "the run finishes"; else not_ok "the run finishes" "$(cat "$scratch/log")"; fi
contains "it says that the worker was killed while training" "was lost at train: it was killed" "$(cat "$scratch/log")"

for signal in INT TERM; do
    prepare
    $train --output "$scratch/stopped-$signal" --worker "$scratch/worker" >"$scratch/log" 2>&1 &
    deml=$!
    if until_held $deml; then ok "SIG$signal can be sent"; else not_ok "SIG$signal can be sent" "$(cat "$scratch/log")"; fi
    kill -s $signal $deml
    set +e
    wait $deml
    status=$?
    set -e
    equal "SIG$signal ends the run with its exit code" 130 $status
    contains "it says how to go on" "deml train --resume" "$(cat "$scratch/log")"
    if kill -0 "$(cat "$scratch/held")" 2>/dev/null; then not_ok "no worker is left"; else ok "no worker is left"; fi
    rm "$scratch/hold"
    succeeds "going on" "$DEML" train --resume "$scratch/stopped-$signal"
    same_bytes "the final model is that of the undisturbed run" "$model" "$scratch/stopped-$signal/model.safetensors"
done
finish
