#!/bin/sh
# A minute of damaged files for every reader: no crash, no hang, memory below 512 MB, and nothing read that is not read
# back the same. DEML_FUZZ_SECONDS and DEML_FUZZ_SEED change it; an input that fails is kept in the scratch folder.
set -eu
: "${DEML:?}" "${DEML_TEST_SCRATCH:?}"
fuzz=$(dirname "$DEML")/deml-fuzz
[ -x "$fuzz" ] || "$(dirname "$0")/../../tools/swift-build" --product deml-fuzz
log=$DEML_TEST_SCRATCH/fuzz.log
"$fuzz" --seconds "${DEML_FUZZ_SECONDS:-60}" --seed "${DEML_FUZZ_SEED:-0}" --maximum-memory-mb 512 \
    --output "$DEML_TEST_SCRATCH" >"$log" 2>&1 || { tail -n 40 "$log" >&2; exit 1; }
cat "$log"

# It tried something, on every reader.
[ "$(grep -c ' executions, ' "$log")" -ge 14 ]
awk '/ executions, / && $2 < 1000 { print "hardly tried: " $0; bad = 1 } END { exit bad }' "$log"
