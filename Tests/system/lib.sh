# Assertions for the whole-system tests. Sourced, not run: . "$(dirname "$0")/lib.sh"
#
# Each assertion counts, and says what failed with what was found. A script ends with `finish`, which prints
# `N passed, N failed` and exits with 1 when something failed.

passed=0
failed=0
: "${DEML:?the path of deml}" "${DEML_TEST_SCRATCH:?an empty folder}"
root=$(cd "$(dirname "$0")/../.." && pwd)
mnist=$root/requestor/Datasets/mnist

ok() {
    passed=$((passed + 1))
    echo "ok    $1"
}

not_ok() {
    failed=$((failed + 1))
    echo "FAIL  $1" >&2
    [ $# -lt 2 ] || printf '%s\n' "$2" | sed 's/^/      /' | tail -n 30 >&2
}

# equal WHAT EXPECTED FOUND
equal() {
    if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "expected: $2
found:    $3"; fi
}

# at_least WHAT BOUND FOUND: numbers, decimals too
at_least() {
    if awk -v bound="$2" -v found="$3" 'BEGIN { exit !(found != "" && found + 0 >= bound + 0) }'; then
        ok "$1 ($3 >= $2)"
    else
        not_ok "$1" "at least $2 was expected, found: $3"
    fi
}

# contains WHAT PART TEXT
contains() {
    case $3 in
        *"$2"*) ok "$1" ;;
        *) not_ok "$1" "expected to find: $2
in: $3" ;;
    esac
}

# lacks WHAT PART TEXT
lacks() {
    case $3 in
        *"$2"*) not_ok "$1" "expected not to find: $2
in: $3" ;;
        *) ok "$1" ;;
    esac
}

# exists WHAT PATH: a file that is not empty, or a folder
exists() {
    if [ -d "$2" ] || [ -s "$2" ]; then ok "$1"; else not_ok "$1" "there is no $2, or it is empty"; fi
}

# same_bytes WHAT FILE FILE
same_bytes() {
    if cmp -s "$2" "$3"; then
        ok "$1"
    else
        not_ok "$1" "$(cmp "$2" "$3" 2>&1)"
    fi
}

# fails WHAT EXIT-CODE PART-OF-MESSAGE COMMAND...: ends with the code, says the part on stderr in one short message, and
# does not crash.
fails() {
    what=$1 code=$2 part=$3
    shift 3
    set +e
    errors=$("$@" 2>&1 >"$DEML_TEST_SCRATCH/stdout" </dev/null)
    status=$?
    set -e
    if [ "$status" -ne "$code" ]; then
        not_ok "$what" "exit code $code was expected, found $status, which said: $errors"
        return
    fi
    case $errors in
        *"Fatal error"* | *"Stack dump"* | *"Thread "*" crashed"*) not_ok "$what" "it crashed: $errors" ;;
        *"$part"*)
            lines=$(printf '%s\n' "$errors" | wc -l)
            if [ "$lines" -le 12 ]; then
                ok "$what: $(printf '%s\n' "$errors" | grep -F -m 1 -- "$part" | cut -c 1-160)"
            else
                not_ok "$what" "the message has $lines lines: $errors"
            fi
            ;;
        *) not_ok "$what" "expected a message with: $part
found: $errors" ;;
    esac
}

# succeeds WHAT COMMAND...: ends with 0; stdout is kept in $output, stderr shown when not
succeeds() {
    what=$1
    shift
    set +e
    output=$("$@" 2>"$DEML_TEST_SCRATCH/stderr" </dev/null)
    status=$?
    set -e
    if [ "$status" -eq 0 ]; then
        ok "$what"
    else
        not_ok "$what" "exit code $status: $(tail -n 5 "$DEML_TEST_SCRATCH/stderr")"
    fi
}

# json FILE-OR-- EXPRESSION: a value out of JSON, by Python: json summary.json "['comparison']['one_place']['accuracy']"
json() {
    "${DEML_TEST_PYTHON:-python3}" -c '
import json, sys
path, expression = sys.argv[1:]
text = sys.stdin.read() if path == "-" else open(path).read()
value = eval("value" + expression, {"value": json.loads(text)})
print(json.dumps(value) if isinstance(value, (dict, list, bool)) or value is None else value)' "$1" "$2"
}

# models RUN: the SHA-256 of the final model and of every round's weights and deltas, one a line
models() {
    (cd "$1" && find . \( -name '*.safetensors' -o -name 'delta-*.safetensors.gz' \) -not -path './work/*' \
        -not -path './shards/*' | LC_ALL=C sort | xargs sha256sum)
}

# small NAME COUNT: a small dataset of COUNT training examples in the folder NAME, out of MNIST
small() {
    "${DEML_TEST_PYTHON:-python3}" - "$mnist" "$1" "$2" <<'PYTHON'
import gzip, os, struct, sys
source, target, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.makedirs(target, exist_ok=True)
for name, size, number in [("train-images-idx3-ubyte", 784, count), ("train-labels-idx1-ubyte", 1, count),
                           ("t10k-images-idx3-ubyte", 784, min(count, 2000)), ("t10k-labels-idx1-ubyte", 1, min(count, 2000))]:
    data = gzip.open(f"{source}/{name}.gz").read()
    head = 16 if size == 784 else 8
    header = data[:4] + struct.pack(">I", number) + data[8:head]
    with open(f"{target}/{name}", "wb") as file:
        file.write(header + data[head:head + size * number])
PYTHON
}

finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
    exit
}
