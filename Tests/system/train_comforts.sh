#!/bin/sh
# What a data scientist expects of training: a validation set, patience, class weights, augmentation, going on from a model,
# several seeds, a sweep.
set -eu
. "$(dirname "$0")/lib.sh"
cd "$root"
scratch=$DEML_TEST_SCRATCH
small "$scratch/data" 2000
base="examples/mnist-mlp.yaml --data $scratch/data --local-epochs 1 --no-comparison"

# Validation and patience
succeeds "a validation set" "$DEML" train $base --rounds 3 --validation-fraction 0.2 --output "$scratch/careful"
contains "it is named at the start" "400 validation and" "$output"
contains "every round shows it" "validation " "$output"
equal "it is what is chosen by" validation "$(json "$scratch/careful/summary.json" "['chosen_on']")"
contains "the report says so" "chosen by the validation set" "$(cat "$scratch/careful/report.html")"
succeeds "without one" "$DEML" train $base --rounds 1 --output "$scratch/plain"
equal "the test set is named" test "$(json "$scratch/plain/summary.json" "['chosen_on']")"
contains "the report says so, too" "chosen by the test set" "$(cat "$scratch/plain/report.html")"
succeeds "patience" "$DEML" train $base --rounds 40 --optimizer sgd --learning-rate 1e-12 --patience 2 --validation-fraction 0.2 \
    --output "$scratch/patient"
equal "it ends the run" patience "$(json "$scratch/patient/summary.json" "['ended_by']")"
contains "and says why" "none was better than round" "$output"
# A model that learns nothing is best before it is trained, and stays so, wherever it is told.
nothing="--optimizer sgd --learning-rate 1e-12 --validation-fraction 0.2"
succeeds "nothing is learned" "$DEML" train $base --rounds 2 $nothing --output "$scratch/same"
contains "of equals the first is the best" " in round 0" "$(echo "$output" | grep '^round 1/2')"
succeeds "and is not, with more rounds" "$DEML" train --resume "$scratch/same" --rounds 4
contains "a run that goes on knows its best" " in round 0" "$(echo "$output" | grep '^round 3/4')"
contains "so does its end" "best   round 0 by the validation set" "$output"
contains "so does its report" "The best model, of round 0, is chosen" "$(cat "$scratch/same/report.html")"
for command in status compare; do
    succeeds "deml $command" "$DEML" $command "$scratch/same"
    contains "deml $command says it" " % (0)" "$output"
done
same_bytes "so is best.safetensors" "$scratch/same/rounds/0000/weights.safetensors" "$scratch/same/best.safetensors"
fails "no validation set of everything" 64 "validation-fraction" "$DEML" train $base --validation-fraction 1

# Class weights and augmentation, in processes and in threads
careful="--rounds 2 --class-weights balanced"
succeeds "augmentation in worker processes" "$DEML" train $base $careful --augmentation '{shift: 2, flip: true, noise: 0.1}' \
    --threads 2 --output "$scratch/local"
succeeds "augmentation in the simulated fleet" "$DEML" train $base $careful \
    --augmentation '{shift: 2, flip: true, noise: 0.1}' --on simulated --output "$scratch/simulated"
same_bytes "same bytes" "$scratch/local/model.safetensors" "$scratch/simulated/model.safetensors"
fails "an unknown change" 64 "mixup" "$DEML" train $base --augmentation '{mixup: 1}'
fails "too large a shift" 64 "out of sight" "$DEML" train $base --augmentation '{shift: 28}'
fails "too few weights" 64 "2 numbers" "$DEML" train $base --class-weights '[1, 2]'
fails "weights that are none" 64 "balanced" "$DEML" train $base --class-weights even

worker="$DEML_WORKER train --weights $scratch/local/best.safetensors --shard $scratch/local/shards/0000.safetensors.gz
    --delta $scratch/delta.safetensors --report $scratch/worker.json"
succeeds "a worker by hand" $worker --class-weights '[1,1,1,1,1,1,1,1,1,2]' --augmentation '{"shift": 1}'
contains "its delta says so" 'shift' "$(head -c 3000 "$scratch/delta.safetensors" | tr -cd '[:print:]')"
fails "weights of another model" 64 "2 numbers" $worker --class-weights '[1, 2]'
fails "a change that is none" 64 "mixup" $worker --augmentation '{"mixup": 1}'

# Going on from a model
succeeds "going on from a run" "$DEML" train $base --rounds 1 --continue-from "$scratch/careful" --output "$scratch/further"
equal "it begins where that ended" "$(json "$scratch/careful/summary.json" "['best_accuracy']")" \
    "$(head -n 1 "$scratch/further/metrics.jsonl" | json - "['accuracy']")"
succeeds "without a model of its own" "$DEML" train --data "$scratch/data" --rounds 1 --local-epochs 1 --no-comparison \
    --continue-from "$scratch/careful/best.safetensors" --output "$scratch/bare"
succeeds "a run that went on is resumed" "$DEML" train --resume "$scratch/further" --rounds 2
fails "a model of another shape" 65 "not the one of the settings" "$DEML" train examples/mnist-2nn.yaml --rounds 1 \
    --continue-from "$scratch/careful"
fails "no model" 66 "nothing" "$DEML" train $base --continue-from "$scratch/nothing"
fails "two beginnings" 64 "initial_weights" "$DEML" train $base --continue-from "$scratch/careful" \
    --initial-weights "$scratch/careful/best.safetensors"


# What a run has decided of its data holds for those that go on from it
awk 'BEGIN { srand(1); print "a,b,kind"; for (i = 0; i < 300; i++) { k = i % 2; printf "%.3f,%.3f,%s\n", k + rand(), 5 * rand(), k ? "yes" : "no" } }' \
    > "$scratch/table.csv"
awk -F, -v OFS=, '{ print $3, $2, $1 }' "$scratch/table.csv" > "$scratch/turned.csv"
sed 's/yes/YES/' "$scratch/table.csv" > "$scratch/renamed.csv"
short="--rounds 1 --local-epochs 2 --on simulated --no-comparison --no-tensorboard"
succeeds "a run on a table" "$DEML" train --data "$scratch/table.csv" $short --test-fraction 0.3 --class-weights balanced \
    --output "$scratch/first"
contains "what each class counts is said" "of the classes: 'no' " "$output"
best=$(json "$scratch/first/summary.json" "['best_accuracy']")
succeeds "without data named it is that of the run" "$DEML" train --continue-from "$scratch/first" $short \
    --output "$scratch/second"
equal "it begins where that ended" "$best" "$(head -n 1 "$scratch/second/metrics.jsonl" | json - "['accuracy']")"
succeeds "columns are taken by their names" "$DEML" train --continue-from "$scratch/first" --data "$scratch/turned.csv" \
    --test-fraction 0.3 $short --output "$scratch/third"
equal "so it begins there, too" "$best" "$(head -n 1 "$scratch/third/metrics.jsonl" | json - "['accuracy']")"
succeeds "a run that went on so is resumed" "$DEML" train --resume "$scratch/third" --rounds 2
succeeds "several seeds go on so" "$DEML" train --continue-from "$scratch/first" --data "$scratch/turned.csv" \
    --test-fraction 0.3 $short --repeat 2 --output "$scratch/fourth"
equal "each from there" "$best" "$(head -n 1 "$scratch/fourth/seed-1/metrics.jsonl" | json - "['accuracy']")"
fails "other classes" 65 "'YES' is none of the classes" "$DEML" train --continue-from "$scratch/first" \
    --data "$scratch/renamed.csv" $short
fails "rows that were trained on are not tested" 64 "trained on" "$DEML" train --continue-from "$scratch/first" \
    --data "$scratch/table.csv" --test-fraction 0.5 $short
cp "$scratch/first/best.safetensors" "$scratch/alone.safetensors"
fails "a file alone says no data" 64 "not said which data" "$DEML" train --continue-from "$scratch/alone.safetensors" $short
fails "a class weight that is none" 64 "class-weights: -1" "$DEML" train --data "$scratch/table.csv" $short \
    --class-weights '[1, -1]'
fails "predictions to the standard output" 64 "name a file" "$DEML" predict --model "$scratch/first" --output -

# Several seeds
succeeds "several seeds" "$DEML" train $base --rounds 1 --repeat 3 --on simulated --output "$scratch/seeds"
contains "the mean in a table" "  mean " "$output"
contains "the deviation in a table" "  deviation " "$output"
equal "three runs" 3 "$(json "$scratch/seeds/repeat.json" "['runs'].__len__()")"
contains "mean and deviation in the report" "<td>deviation</td>" "$(cat "$scratch/seeds/report.html")"
succeeds "once more" "$DEML" train --resume "$scratch/seeds"
contains "what is done is not done again" "seed-2 is done already" "$output"
fails "no folder is used twice" 73 "runs in this folder" "$DEML" train $base --repeat 2 --output "$scratch/seeds"

# The sweep finds what the whole grid finds, in a third of its work.
rates="0.0316 0.0562 0.1 0.178 0.316 0.562 1"
sweep="examples/mnist-2nn.yaml --rounds 18 --validation-fraction 0.1"
succeeds "a sweep" "$DEML" sweep $sweep --over learning_rate="$(echo "$rates" | tr ' ' ',')" --output "$scratch/sweep" --json
for rate in $rates; do
    "$DEML" train $sweep --learning-rate "$rate" --target-accuracy 1 --no-comparison --no-tensorboard \
        --output "$scratch/grid-$rate" >/dev/null
done
"${DEML_TEST_PYTHON:-python3}" - "$scratch" $rates <<'PYTHON' >"$scratch/found"
import json, sys
folder, rates = sys.argv[1], sys.argv[2:]
grid = {rate: json.load(open(f"{folder}/grid-{rate}/summary.json"))["best_validation_accuracy"] for rate in rates}
sweep = json.load(open(f"{folder}/sweep/sweep.json"))
best = next(trial for trial in sweep["trials"] if trial["name"] == sweep["best"])
share = sweep["examples"] / sweep["examples_of_grid"]
print(f"grid {grid}; the sweep found {best['values'][0]}: {best['accuracy']} in {share:.3f} of the work")
print("found" if best["accuracy"] >= max(grid.values()) and share <= 1 / 3 else "missed")
PYTHON
cat "$scratch/found"
equal "as good as the grid's best, in a third of its work" found "$(tail -n 1 "$scratch/found")"
exists "a picture" "$scratch/sweep/report.html"
contains "it is drawn" 'class="heat"' "$(cat "$scratch/sweep/report.html")"
fails "a setting that is none" 64 "learning_rat" "$DEML" sweep $sweep --over learning_rat=1,2
fails "a value that is none" 64 "learning-rate" "$DEML" sweep $sweep --over learning_rate=0.1,much
finish
