#!/bin/sh
# NEON gives the same bytes as this machine's instruction sets: the kernels are cross-compiled for AArch64 and run by
# qemu's user emulation, and so are some of the random shapes of kernels_memory. On an AArch64 machine the other way
# round: x86-64 under qemu has AVX2 from version 7.2 on.
set -eu
cd "$(dirname "$0")/../.."
compiler=$(dirname "$(readlink -f "$(command -v swift)")")/clang
options="-std=gnu11 -O3 -ffp-contract=off -I Sources/CKernels/include"

case $(uname -m) in
aarch64)
    tools/need-packages libc6-dev-amd64-cross libgcc-12-dev-amd64-cross qemu-user-static
    target=x86_64-linux-gnu emulator="qemu-x86_64-static -cpu max" ;;
*)
    tools/need-packages libc6-dev-arm64-cross libgcc-12-dev-arm64-cross qemu-user-static
    target=aarch64-linux-gnu emulator=qemu-aarch64-static ;;
esac
cross=/usr/$target gcc=/usr/lib/gcc-cross/$target/12

mkdir "$DEML_TEST_SCRATCH/objects"
for source in Sources/CKernels/*.c; do
    # shellcheck disable=SC2086
    "$compiler" --target="$target" -isystem "$cross/include" $options -c "$source" \
        -o "$DEML_TEST_SCRATCH/objects/$(basename "$source").o"
done
for program in digest sweep; do
    # shellcheck disable=SC2086
    "$compiler" --target="$target" -isystem "$cross/include" -B "$cross/lib" -B "$gcc" -L "$cross/lib" -L "$gcc" \
        -fuse-ld=lld --rtlib=libgcc -static $options "Tests/system/kernels/$program.c" \
        "$DEML_TEST_SCRATCH"/objects/*.o -lpthread -lm -o "$DEML_TEST_SCRATCH/$program-there"
done
# shellcheck disable=SC2086
"$compiler" $options Tests/system/kernels/digest.c Sources/CKernels/*.c -lpthread -lm -o "$DEML_TEST_SCRATCH/digest-here"

$emulator "$DEML_TEST_SCRATCH/sweep-there" 1 100
"$DEML_TEST_SCRATCH/digest-here" > "$DEML_TEST_SCRATCH/digests"
$emulator "$DEML_TEST_SCRATCH/digest-there" >> "$DEML_TEST_SCRATCH/digests"
cat "$DEML_TEST_SCRATCH/digests"

groups=$(cut -d ' ' -f 2 "$DEML_TEST_SCRATCH/digests" | sort -u | wc -l)
different=$(cut -d ' ' -f 2- "$DEML_TEST_SCRATCH/digests" | sort -u | wc -l)
sets=$(cut -d ' ' -f 1 "$DEML_TEST_SCRATCH/digests" | sort -u | tr '\n' ' ')
if [ "$groups" -ne 8 ] || [ "$different" -ne "$groups" ]; then
    echo "kernels_arm64: the instruction sets ($sets) do not agree: $groups groups, $different digests" >&2
    exit 1
fi
case $sets in
*neon*) echo "kernels_arm64: $sets agree" ;;
*) echo "kernels_arm64: NEON did not run ($sets)" >&2; exit 1 ;;
esac
