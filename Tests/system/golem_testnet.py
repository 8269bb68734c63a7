#!/usr/bin/env python3
"""The test network behaves as providers and their guests do: one rental over plain REST, without DeML. And
`make testnet` prints an environment in which the daemon answers, until it is interrupted."""
import os
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
TESTNET = TREE / "Tests/testnet"


def rental():
    command = f"{TREE}/.venv-testnet/bin/python {TESTNET}/rental.py"
    return subprocess.run([TESTNET / "up", "--providers", "1", "--exec", command], timeout=300).returncode


def by_make():
    command = "make testnet PROVIDERS=1".split()
    with subprocess.Popen(command, cwd=TREE, stdout=subprocess.PIPE, text=True, start_new_session=True) as network:
        exports = {}
        try:
            for line in network.stdout:
                if line.startswith("# READY"):
                    break
                if line.startswith("export "):
                    name, _, value = shlex.split(line)[1].partition("=")
                    exports[name] = value
            else:
                print(f"make testnet ended with {network.wait()} before it was ready", file=sys.stderr)
                return 1
            request = urllib.request.Request(
                exports["YAGNA_API_URL"] + "/me", headers={"Authorization": "Bearer " + exports["YAGNA_APPKEY"]})
            with urllib.request.urlopen(request, timeout=20) as answer:
                print("make testnet: the daemon says", answer.read().decode())
        finally:
            # As a terminal's Ctrl-C does: everybody in the group.
            os.killpg(network.pid, signal.SIGINT)
        rest = network.stdout.read()
        network.wait(60)
    if "# stopped" not in rest:
        print(f"make testnet did not stop properly: {rest}", file=sys.stderr)
        return 1
    print("make testnet: stopped")
    return 0


sys.exit(rental() or by_make())
