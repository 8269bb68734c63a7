#!/bin/sh
# The Golem client against the real daemon, on a network on loopback: rent, transfer, pay, cancel, find nobody.
set -eu
tree=$(cd "$(dirname "$0")/../.." && pwd)
scratch=${DEML_TEST_SCRATCH:-$(mktemp -d)}
"$tree/tools/need-packages" squashfs-tools
"$tree/Tests/testnet/pack" "$scratch/client.gvmi" /bin/cp /bin/sleep
export GOLEM_TEST_IMAGE="$scratch/client.gvmi"
cd "$tree"
# The second provider's activity is still being made when a run that waits for the first machine is cancelled.
exec Tests/testnet/up --providers 2 --fault "1:--start-delay 1" \
    --exec "swift test -c release --skip-build --no-parallel --filter GolemTests.LiveTests"
