"""A test network for the time of a `with`: started by `up`, steered as by `control`, gone at the end in every case."""
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Testnet:
    __test__ = False

    def __init__(self, providers=3, *arguments, root=None):
        # In a system test's scratch folder, which its runner removes when the test holds and keeps when it does not.
        self.root = Path(root or tempfile.mkdtemp(prefix="net-", dir=os.environ.get("DEML_TEST_SCRATCH")))
        # Agreements with providers whose daemon died: ours cannot end them, and shows them as approved until they expire.
        self.dead = set()
        self.command = [str(HERE / "up"), "--with-parent", "--root", str(self.root), "--providers", str(providers), *arguments]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        while line := self.process.stdout.readline():
            if line.strip() == "# READY":
                self.env = json.loads((self.root / "env.json").read_text())
                return self
        raise RuntimeError(f"the test network did not start: see {self.root}")

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.process.stdout.close()

    def environment(self, **more):
        """What a requestor's process gets: the daemon's address and key, and nothing of the person's own Golem settings."""
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("YAGNA", "YA_", "GSB", "GOLEM"))}
        return {**keep, **{k: v for k, v in self.env.items() if isinstance(v, str)}, **more}

    def control(self, *words):
        s = socket.socket(socket.AF_UNIX)
        s.connect(str(self.root / "control.sock"))
        s.sendall(json.dumps([str(w) for w in words]).encode() + b"\n")
        reply = json.loads(s.makefile().readline())
        s.close()
        if "error" in reply:
            raise RuntimeError(f"control {' '.join(map(str, words))}: {reply['error']}")
        return reply["ok"]

    def await_nothing_left(self, timeout=20):
        """Waits until no allocation, demand, agreement or guest is left; returns what is still there after `timeout`."""
        end = time.time() + timeout
        while True:
            left = self.control("leftovers")
            left = {k: [x for x in v if x not in self.dead] for k, v in left.items()}
            if not any(left.values()) or time.time() > end:
                return {k: v for k, v in left.items() if v}
            time.sleep(0.3)

    def forget_demands(self):
        """Demands that are there now no longer count as left over."""
        self.dead |= set(self.control("leftovers")["demands"])

    def log(self, i):
        """What provider I's agent has written."""
        return (self.root / f"agent{i}.log").read_text()
