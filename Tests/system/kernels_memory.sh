#!/bin/sh
# No kernel reads or writes outside its arrays or its blocks of scratch, computes with undefined behaviour, or races, and
# all give the bytes that plain loops give: thousands of random shapes under the address and undefined-behaviour sanitizers
# (kernels/sweep.c; what fails names its seed), and every kernel under the thread sanitizer (kernels/digest.c).
set -eu
cd "$(dirname "$0")/../.."
compiler=$(dirname "$(readlink -f "$(command -v swift)")")/clang
libraries=$(dirname "$compiler")/../lib/swift/linux  # the thread sanitizer knows dispatch and wants it
cases=2500                                           # for each of two processes

# build PROGRAM SANITIZERS: two files at a time.
build() {
    objects=$DEML_TEST_SCRATCH/$1.objects
    mkdir "$objects"
    printf '%s\n' Sources/CKernels/kernels_*.c Sources/CKernels/[!k]*.c "Tests/system/kernels/$1.c" |
        xargs -P 2 -I FILE sh -c '"$0" -c FILE -o "$1/$(basename FILE).o" -std=gnu11 -g -O1 -ffp-contract=off \
            -I Sources/CKernels/include -fsanitize="$2" -fno-sanitize-recover=all' "$compiler" "$objects" "$2"
    "$compiler" "$objects"/*.o -fsanitize="$2" -fuse-ld=lld -lpthread -lm -L "$libraries" -ldispatch -lBlocksRuntime \
        -Wl,-rpath,"$libraries" -o "$DEML_TEST_SCRATCH/$1"
}

build sweep address,undefined
"$DEML_TEST_SCRATCH/sweep" 1 "$cases" &
first=$!
"$DEML_TEST_SCRATCH/sweep" $((cases + 1)) "$cases"
wait "$first"
echo "kernels_memory: nothing found by the sanitizers address,undefined"

build digest thread
"$DEML_TEST_SCRATCH/digest" > "$DEML_TEST_SCRATCH/digests"
[ "$(wc -l < "$DEML_TEST_SCRATCH/digests")" -ge 5 ] || { echo "kernels_memory: too little ran" >&2; exit 1; }
echo "kernels_memory: nothing found by the sanitizer thread"
