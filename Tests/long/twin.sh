#!/bin/sh
# The twin at its full size: MNIST's 60,000 images by three providers, honest; with one that lies and one that dies; with
# `kill -9` of the requestor and the same command again. Says of each machine where its time went.
#
#   DEML=.build/release/deml DEML_WORKER=.build/release/deml-worker Tests/long/twin.sh [honest|trouble|killed ...]
#
# Takes some four minutes on two cores. For the figures nothing else may run.
set -eu
cd "$(dirname "$0")/../.."
: "${DEML:=$PWD/.build/release/deml}" "${DEML_WORKER:=$PWD/.build/release/deml-worker}"
scratch=$(mktemp -d "${TMPDIR:-/tmp}/deml-twin.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
export DEML DEML_WORKER DEML_TEST_SCRATCH="$scratch" DEML_TEST_SPLIT=train
Tests/system/golem_predict.py "$@"
