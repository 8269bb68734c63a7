#!/usr/bin/env python3
"""The test network behaves as providers and their guests do: one rental over plain REST, without DeML."""
import subprocess
import sys
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
TESTNET = TREE / "Tests/testnet"
command = f"{TREE}/.venv-testnet/bin/python {TESTNET}/rental.py"
sys.exit(subprocess.run([TESTNET / "up", "--providers", "1", "--exec", command], timeout=300).returncode)
