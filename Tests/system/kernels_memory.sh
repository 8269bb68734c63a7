#!/bin/sh
# No kernel reads or writes outside its arrays, computes with undefined behaviour, or races: every kernel runs under the
# address, undefined-behaviour and thread sanitizers (arrays of exactly the size that the header states).
set -eu
cd "$(dirname "$0")/../.."
compiler=$(dirname "$(readlink -f "$(command -v swift)")")/clang
libraries=$(dirname "$compiler")/../lib/swift/linux  # the thread sanitizer knows dispatch and wants it

for sanitizers in address,undefined thread; do
    "$compiler" Tests/system/kernels/digest.c Sources/CKernels/*.c -std=gnu11 -g -O1 -ffp-contract=off \
        -I Sources/CKernels/include -fsanitize="$sanitizers" -fno-sanitize-recover=all -fuse-ld=lld -lpthread -lm \
        -L "$libraries" -ldispatch -lBlocksRuntime -Wl,-rpath,"$libraries" \
        -o "$DEML_TEST_SCRATCH/digest"
    "$DEML_TEST_SCRATCH/digest" > "$DEML_TEST_SCRATCH/digests"
    [ "$(wc -l < "$DEML_TEST_SCRATCH/digests")" -ge 5 ] || { echo "kernels_memory: too little ran" >&2; exit 1; }
    echo "kernels_memory: nothing found by the sanitizers $sanitizers"
done
