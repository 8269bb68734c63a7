#!/bin/sh
# The static worker needs nothing around it: no interpreter, no library, no file but /proc, no environment, no stdin.
set -eu
here=$(dirname "$0")
worker=${DEML_WORKER:?}
scratch=${DEML_TEST_SCRATCH:?}
"$here/../../tools/need-packages" binutils util-linux

fail() {
    echo "worker_static: $1" >&2
    exit 1
}

for segment in INTERP DYNAMIC; do
    if readelf --program-headers --wide "$worker" | grep -qw "$segment"; then
        fail "$worker has a PT_$segment segment"
    fi
done

root=$scratch/root
mkdir -p "$root/proc" "$root/data"
cp "$worker" "$root/deml-worker"
"${DEML_TEST_PYTHON:?}" "$here/worker/files.py" "$root/data" --model cnn

# A new mount namespace, so that /proc disappears with it; a user namespace as well where we are not root.
spaces="--mount --pid --fork"
[ "$(id -u)" -eq 0 ] || spaces="$spaces --user --map-root-user"
PATH=$PATH:/usr/sbin:/sbin
chroot=$(command -v chroot)
# shellcheck disable=SC2086,SC2016  # a list of options; the inner shell expands
unshare $spaces sh -c 'mount -t proc proc "$1/proc" && shift && exec env -i "$@" <&-' sh "$root" \
    "$chroot" "$root" /deml-worker train --weights /data/weights.safetensors --shard /data/shard.safetensors.gz \
    --delta /data/delta.safetensors.gz --report /data/report.json --epochs 2 --optimizer adam >"$scratch/stdout" ||
    fail "train in an empty root ended with $?: $(cat "$root/data/report.json" 2>/dev/null)"

cat "$scratch/stdout"
grep -q '"status":"ok"' "$root/data/report.json" || fail "the report is not ok: $(cat "$root/data/report.json")"
[ "$(wc -l <"$scratch/stdout")" -eq 3 ] || fail "stdout has not one line for each epoch and one for the delta"
sha=$(sha256sum "$root/data/delta.safetensors.gz" | cut -d' ' -f1)
grep -qx "delta_sha256 $sha" "$scratch/stdout" || fail "stdout does not name the delta's SHA-256 $sha"
grep -q "\"delta_sha256\":\"$sha\"" "$root/data/report.json" || fail "the report does not name the delta's SHA-256"
