#!/bin/sh
# The recipe of `make train` on all of MNIST: accuracy, what the run folder holds, and the same bytes whenever it is done
# again: with one and two threads, with the simulated fleet, with portable kernels.
set -eu
. "$(dirname "$0")/lib.sh"
cd "$root"
run=$DEML_TEST_SCRATCH/run

succeeds "make train" make --no-print-directory train TRAIN_OPTIONS="--output $run --keep-deltas --threads 1 --json"
summary=$(printf '%s\n' "$output" | tail -n 1)
log=$(cat "$DEML_TEST_SCRATCH/stderr")
equal "the last line is summary.json" "$(json "$run/summary.json" "")" "$(printf '%s\n' "$summary" | json - "")"
at_least "test accuracy" 0.975 "$(json "$run/summary.json" "['accuracy']")"
at_least "accuracy in one place" 0.975 "$(json "$run/summary.json" "['comparison']['one_place']['accuracy']")"
at_least "accuracy on one shard" 0.9 "$(json "$run/summary.json" "['comparison']['one_shard']['accuracy']")"
equal "three rounds" 3 "$(json "$run/summary.json" "['rounds']")"
equal "three workers" 3 "$(json "$run/summary.json" "['workers'].__len__()")"
equal "the model's digest" "$(sha256sum <"$run/model.safetensors" | cut -d ' ' -f 1)" \
    "$(json "$run/summary.json" "['model_sha256']")"
for file in config.json metrics.jsonl events.jsonl model.safetensors best.safetensors summary.json mistakes.json report.html; do
    exists "$file is there" "$run/$file"
done
contains "a plain line a round" "round 3/3   accuracy " "$log"
contains "the comparison is printed" "one shard alone" "$log"
contains "the learning curve is printed" "█" "$log"
lacks "no colour where there is no terminal" "$(printf '\033')" "$log"
report=$(cat "$run/report.html")
for part in "<svg" "Test accuracy" "Confusion matrix" "Labels on each shard" "one place" "</html>"; do
    contains "report.html has $part" "$part" "$report"
done
for part in "balanced accuracy" "ROC AUC" "calibration error"; do
    contains "the measures have $part" "$part" "$log"
    contains "report.html has $part" "$part" "$report"
done
at_least "area under the curve" 0.99 "$(json "$run/summary.json" "['metrics']['roc_auc']")"
equal "every round is measured" 4 "$(grep -c '"roc_auc":0' "$run/metrics.jsonl")"
lacks "report.html needs nothing from elsewhere" "http" "$report"
contains "report.html has a verdict" " one shard alone.</p>" "$report"
contains "wrong examples are pictures" 'src="data:image/png;base64,' "$report"
contains "what was decided about the data" "What was decided about the data" "$report"
equal "a dozen mistakes" 12 "$(json "$run/mistakes.json" ".__len__()")"
at_least "the time of everything is more than that of the rounds" "$(json "$run/summary.json" "['seconds']")" \
    "$(json "$run/summary.json" "['wall_seconds']")"
lacks "no line for each worker" "epoch 5/5" "$log"

again=$DEML_TEST_SCRATCH/again
succeeds "the same command again, two threads" "$DEML" train examples/mnist-mlp.yaml --output "$again" --keep-deltas \
    --threads 2 --no-comparison
models "$run" >"$DEML_TEST_SCRATCH/first"
models "$again" >"$DEML_TEST_SCRATCH/second"
equal "nine deltas are compared" 9 "$(grep -c delta- "$DEML_TEST_SCRATCH/first")"
same_bytes "same bytes of every delta and model" "$DEML_TEST_SCRATCH/first" "$DEML_TEST_SCRATCH/second"

succeeds "in the simulated fleet" "$DEML" train examples/mnist-mlp.yaml --output "$DEML_TEST_SCRATCH/simulated" \
    --on simulated --no-comparison
same_bytes "same bytes of the model" "$run/model.safetensors" "$DEML_TEST_SCRATCH/simulated/model.safetensors"

# Portable kernels are far slower, so on a part of the data. Workers have an empty environment: a wrapper sets it.
small "$DEML_TEST_SCRATCH/data" 3000
wrapper=$DEML_TEST_SCRATCH/worker
printf '#!/bin/sh\nDEML_ISA=portable exec %s "$@"\n' "$DEML_WORKER" >"$wrapper"
chmod +x "$wrapper"
short="--data $DEML_TEST_SCRATCH/data --rounds 2 --local-epochs 1 --keep-deltas --no-comparison"
succeeds "a short run" "$DEML" train examples/mnist-mlp.yaml $short --output "$DEML_TEST_SCRATCH/fast"
succeeds "a short run with portable kernels" env DEML_ISA=portable "$DEML" train examples/mnist-mlp.yaml $short \
    --output "$DEML_TEST_SCRATCH/portable" --worker "$wrapper"
equal "the portable kernels were used" portable \
    "$(head -n 1 "$DEML_TEST_SCRATCH/portable/rounds/0001/reports.jsonl" | json - "['report']['isa']")"
models "$DEML_TEST_SCRATCH/fast" >"$DEML_TEST_SCRATCH/first"
models "$DEML_TEST_SCRATCH/portable" >"$DEML_TEST_SCRATCH/second"
equal "six deltas are compared" 6 "$(grep -c delta- "$DEML_TEST_SCRATCH/first")"
same_bytes "same bytes with portable kernels" "$DEML_TEST_SCRATCH/first" "$DEML_TEST_SCRATCH/second"

# The model is used.
succeeds "deml evaluate" "$DEML" evaluate --model "$run" --data mnist --json
equal "evaluate finds the accuracy of the run" "$(json "$run/summary.json" "['best_accuracy']")" \
    "$(printf '%s\n' "$output" | json - "['accuracy']")"
equal "evaluate takes the measures of the run" "$(json "$run/summary.json" "['metrics']")" \
    "$(printf '%s\n' "$output" | json - "['metrics']")"
succeeds "deml predict" "$DEML" predict --model "$run/best.safetensors" --data requestor/Datasets/mnist --count 10
contains "the first digit is a 7" "example 0  7  right" "$output"
contains "probabilities are shown" " %" "$output"
contains "digits are drawn" "█" "$output"
succeeds "deml predict writes a table" "$DEML" predict --model "$run" --data mnist --count 0 \
    --output "$DEML_TEST_SCRATCH/predictions.csv"
equal "a line an example and the heading" 10001 "$(wc -l <"$DEML_TEST_SCRATCH/predictions.csv" | tr -d ' ')"
succeeds "deml inspect" "$DEML" inspect "$run/best.safetensors"
contains "inspect says what it is" "weights" "$output"
succeeds "deml compare" "$DEML" compare "$run" "$DEML_TEST_SCRATCH/simulated"
contains "compare shows what differs" "fleet" "$output"
succeeds "deml shard" "$DEML" shard mnist --parts 4 --partition pathological:2 --output "$DEML_TEST_SCRATCH/shards"
contains "shard shows the labels" "shard  examples" "$output"
exists "a shard" "$DEML_TEST_SCRATCH/shards/shard-003.safetensors.gz"
finish
