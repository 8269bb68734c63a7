#!/bin/sh
# What make does around the builds: a checkout that was moved or copied is built anew, and the slowest parts of
# `make test` are printed, after a failure too.
set -eu
. "$(dirname "$0")/lib.sh"

tree=$DEML_TEST_SCRATCH/tree
mkdir -p "$tree"
cp -r "$root/Makefile" "$root/tools" "$tree"

# --- build folders
cd "$tree"
succeeds "a fresh clone has nothing to remove" tools/build-folders
equal "the build folder knows its place" "$(pwd -P)" "$(cat .build/place)"
mkdir -p .build/release .build-static/release
echo "module cache" >.build/release/kept
echo "inputs: [\"$(pwd -P)/Sources/\"]" >.build-static/release.yaml
tools/build-folders
exists "a build folder stays where it was made" .build/release/kept
exists "one that was begun without make stays too" .build-static/release.yaml
equal "and learns its place" "$(pwd -P)" "$(cat .build-static/place)"

mv "$tree" "$tree-moved"
cd "$tree-moved"
output=$(make swift-is-here 2>&1)
contains "make says what was moved" ".build was made for $tree, this is $tree-moved: it is built anew" "$output"
contains "every build folder is looked at" ".build-static was made for $tree" "$output"
lacks "nothing of the old build is left" kept "$(ls -R .build .build-static)"
output=$(make swift-is-here 2>&1)
equal "the second time nothing is removed" "" "$output"

rm .build/place
mkdir .build/release
echo "inputs: [\"/somewhere/else/Sources/\"]" >.build/release.yaml
tools/build-folders 2>"$DEML_TEST_SCRATCH/said"
contains "a copy that was built without make is found" "built anew" "$(cat "$DEML_TEST_SCRATCH/said")"

# --- parts
DEML_PARTS=$DEML_TEST_SCRATCH/parts
export DEML_PARTS
tools/part "quick" true
set +e
tools/part "broken" sh -c 'exit 7'
status=$?
set -e
equal "a part ends as its command does" 7 "$status"
for number in 1 2 3 4 5 6 7 8 9 10 11; do echo "$((number * 10)) part $number" >>"$DEML_PARTS"; done
output=$(tools/part --slowest)
contains "parts that failed are noted too" "broken" "$(cat "$DEML_PARTS")"
contains "all are counted" "the slowest parts of 13, which took 660 s together" "$output"
equal "the slowest stands first" "   110 s  part 11" "$(printf '%s\n' "$output" | sed -n 2p)"
equal "ten are shown" 11 "$(printf '%s\n' "$output" | wc -l)"

# make test with steps that do nothing or fail: the slowest parts come last, and the failure is not lost.
cat >steps.mk <<'MAKE'
include Makefile
lint:
	tools/part "lint" true
test-unit:
	tools/part "unit tests" sh -c 'echo no >&2; exit 3'
test-system:
	tools/part "system tests" true
MAKE
unset DEML_PARTS
set +e
output=$(make -f steps.mk MAKE='make -f steps.mk' test 2>&1)
status=$?
set -e
equal "make test fails when a part does" 2 "$status"
contains "and says where the time went all the same" "the slowest parts of 2," "$(printf '%s\n' "$output" | tail -n 4)"

# --- unit tests, with a swift that answers by the target
mkdir -p bin Tests/GoodTests Tests/EmptyTests Tests/BadTests
cat >bin/swift <<'SWIFT'
#!/bin/sh
for filter in "$@"; do :; done
case $filter in
    *Good*) echo "✔ Test run with 3 tests in 1 suite passed after 0.001 seconds." ;;
    *Empty*) echo "✔ Test run with 0 tests in 0 suites passed after 0.001 seconds." ;;
    *) echo "✘ Test run with 3 tests in 1 suite failed after 0.001 seconds with 1 issue." && exit 1 ;;
esac
SWIFT
chmod +x bin/swift
succeeds "targets that hold pass" env PATH="$PWD/bin:$PATH" tools/unit-tests GoodTests
set +e
output=$(PATH="$PWD/bin:$PATH" tools/unit-tests 2>&1)
status=$?
set -e
equal "a target that fails, or has no tests, fails all" 1 "$status"
contains "each of them is named, after all have run" "failed unit tests: BadTests EmptyTests" \
    "$(printf '%s\n' "$output" | tail -n 1)"

finish
