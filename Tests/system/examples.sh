#!/bin/sh
# Every file in examples/ runs; those that take long are shortened, so their bounds are lower than what the files promise.
set -eu
. "$(dirname "$0")/lib.sh"
cd "$root"
tools/need-packages dataset-fashion-mnist

# example NAME BOUND OPTIONS...: runs it and wants at least that best accuracy
example() {
    name=$1 bound=$2
    shift 2
    tried="$tried $name"
    succeeds "$name runs" "$DEML" train "examples/$name.yaml" --output "$DEML_TEST_SCRATCH/$name" --no-comparison "$@"
    at_least "$name: accuracy" "$bound" "$(json "$DEML_TEST_SCRATCH/$name/summary.json" "['best_accuracy']")"
    exists "$name: report.html" "$DEML_TEST_SCRATCH/$name/report.html"
}
tried=

example mnist-mlp 0.95 --rounds 1
equal "mnist-mlp: parameters" 101770 "$(json "$DEML_TEST_SCRATCH/mnist-mlp/summary.json" "['parameters']")"
example mnist-2nn 0.97
equal "2NN: parameters" 199210 "$(json "$DEML_TEST_SCRATCH/mnist-2nn/summary.json" "['parameters']")"
at_least "2NN: rounds to 97 %, at most 45" "$(json "$DEML_TEST_SCRATCH/mnist-2nn/summary.json" "['rounds']")" 45
example mnist-cnn 0.60 --rounds 1 --local-epochs 1
equal "CNN: parameters" 1663370 "$(json "$DEML_TEST_SCRATCH/mnist-cnn/summary.json" "['parameters']")"
example mnist-cnn-noniid 0.20 --rounds 2
example fashion-cnn 0.60 --rounds 1
example fashion-resnet 0.30 --rounds 1 --workers 2 --local-steps 100
equal "residual net: parameters" 279722 "$(json "$DEML_TEST_SCRATCH/fashion-resnet/summary.json" "['parameters']")"
example shakespeare-transformer 0.12 --rounds 1
equal "transformer: parameters" 803200 "$(json "$DEML_TEST_SCRATCH/shakespeare-transformer/summary.json" "['parameters']")"
succeeds "the transformer writes on" "$DEML" generate --model "$DEML_TEST_SCRATCH/shakespeare-transformer" \
    --prompt MENENIUS: --tokens 100 --seed 3
example shakespeare-lstm 0.10 --rounds 1 --local-epochs 1

for file in examples/*.yaml; do
    name=$(basename "$file" .yaml)
    contains "$name is tried" "$name" "$tried"
    contains "$name says what to expect" "# Expect:" "$(cat "$file")"
done
finish
