#!/usr/bin/env python3
"""A complete Golem Network on loopback: chain, hub, daemons, providers. Started by `up`; steered by `control`.

    up --providers 3 --fault "1:--corrupt-output" --fault "2:--crash-after 2"

Prints the environment a requestor needs (also left in <root>/env.sh and env.json), then waits. Ctrl-C or SIGTERM stops
everything it started; so does the end of the process that started it, with --with-parent.
"""
import argparse
import ctypes
import json
import os
import queue
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from daemon import Daemon

HERE = Path(__file__).resolve().parent
PR_SET_PDEATHSIG = 1


def die_with_parent(sig=signal.SIGKILL):
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, sig)


def wait_port(port, process, timeout=20):
    end = time.time() + timeout
    while time.time() < end:
        if process.poll() is not None:
            raise RuntimeError(f"port {port}: process ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.02)
    raise TimeoutError(f"port {port}")


def free_base(start, count):
    """The first of `count` consecutive free TCP ports at or above `start`, in steps, so that two networks can live."""
    for base in range(start, start + 1000, 20):
        held = []
        try:
            for port in range(base, base + count):
                s = socket.socket()
                held.append(s)
                s.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
        finally:
            for s in held:
                s.close()
    raise RuntimeError(f"no {count} free ports above {start}")


class Network:
    def __init__(self, a):
        self.a = a
        self.root = Path(a.root or tempfile.mkdtemp(prefix="deml-testnet-")).resolve()
        self.services, self.agents, self.daemons, self.arguments = [], {}, [], {}
        self.subnet = a.subnet or f"testnet-{os.getpid()}"
        self.commands = queue.Queue()      # (words, queue for the reply), carried out by the main thread

    def spawn(self, name, *cmd):
        log = open(self.root / f"{name}.log", "a")
        return subprocess.Popen([sys.executable, *map(str, cmd)], stdout=log, stderr=subprocess.STDOUT, cwd=HERE,
                                stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=die_with_parent)

    # ---------------------------------------------------------------- up
    def up(self):
        a, start, marks = self.a, time.time(), {}
        self.root.mkdir(parents=True, exist_ok=True)
        gsb = free_base(a.gsb_base, a.providers + 2)        # the hub's port may have 4 digits at most
        rest = free_base(a.rest_base, a.providers + 2)
        hub_port, chain_port = gsb + a.providers + 1, rest + a.providers + 1
        hub = self.spawn("hub", HERE / "hub.py", "--port", hub_port)
        chain = self.spawn("chain", HERE / "chain.py", "--port", chain_port, "--tokens", a.tokens,
                           *(["-v"] if a.verbose else []))
        self.services = [("hub", hub), ("chain", chain)]
        wait_port(hub_port, hub)
        wait_port(chain_port, chain)
        marks["hub and chain"] = time.time() - start
        url = f"http://127.0.0.1:{chain_port}"
        names = ["requestor"] + [f"provider{i}" for i in range(a.providers)]
        for i, name in enumerate(names):
            clock = self.clock() if a.clock and i == 0 else None
            self.daemons.append(Daemon(name, self.root, gsb + i, rest + i, hub_port, url, f"key-{name}", extra=clock))
        for d in self.daemons:      # from this thread: PR_SET_PDEATHSIG fires when the thread that forked ends
            d.start(die_with_parent)
        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(lambda d: d.wait_ready(), self.daemons))
        marks["daemons"] = time.time() - start
        requestor = self.daemons[0]
        requestor.cli("payment", "init", "--sender", "--driver", "erc20", "--network", a.network)
        marks["payment init"] = time.time() - start
        chosen = {}
        for f in a.fault:
            i, _, arguments = f.partition(":")
            chosen.setdefault(int(i), []).extend(shlex.split(arguments))
        for i in range(a.providers):
            self.start_agent(i, chosen.get(i, []))
        self.env = {
            "YAGNA_API_URL": requestor.rest, "YAGNA_APPKEY": requestor.appkey, "YAGNA_SUBNET": self.subnet,
            "YAGNA_PAYMENT_NETWORK": a.network, "YAGNA_DATADIR": str(requestor.dir), "GSB_URL": requestor.gsb,
            "YAGNA": requestor.program, "TESTNET_ROOT": str(self.root)}
        if not a.cold:
            self.await_offers(a.providers)
            marks["offers visible"] = time.time() - start
        self.write_environment()
        return marks

    def clock(self, seconds=0):
        """Sets the clock of the requestor's computer; returns the environment of a program that goes by it."""
        path = self.root / "clock"
        with open(path, "r+b" if path.exists() else "wb") as file:      # in place: programs look at it
            file.write(struct.pack("=q", int(seconds * 1e9)))
        return {"LD_PRELOAD": self.a.clock_library, "TESTNET_CLOCK": str(path)}

    def write_environment(self):
        (self.root / "env.sh").write_text("".join(f"export {k}={shlex.quote(v)}\n" for k, v in self.env.items()))
        (self.root / "env.json").write_text(json.dumps({**self.env, "providers": [
            {"name": self.provider_name(i), "node_id": d.node_id, "api": d.rest, "gsb": d.gsb, "appkey": d.appkey,
             "daemon_pid": d.process.pid, "agent_pid": self.agents[i].pid}
            for i, d in enumerate(self.daemons[1:])]}, indent=1))

    @staticmethod
    def provider_name(i):
        return f"provider-{i}"

    def start_agent(self, i, arguments):
        d = self.daemons[1 + i]
        self.arguments[i] = arguments
        self.agents[i] = self.spawn(
            f"agent{i}", HERE / "provider.py", "--api-url", d.rest, "--gsb-url", d.gsb, "--appkey", d.appkey,
            "--daemon-pid", d.process.pid, "--guest", self.a.guest, "--name", self.provider_name(i),
            "--subnet", self.subnet, "--platform", f"erc20-{self.a.network}-tglm",
            "--workdir", self.root / f"provider{i}" / "exe-unit", *shlex.split(self.a.provider_args), *arguments)

    def await_offers(self, wanted, timeout=30, fresh_after=None):
        """A daemon listens for offers only once it has had a demand: gives it one and waits for `wanted` providers.
        With `fresh_after` (seconds since 1970) an offer counts only if it was published after that."""
        d, start, seen = self.daemons[0], time.time(), set()
        body = {"properties": {"golem.node.debug.subnet": self.subnet,
                               "golem.srv.comp.expiration": int((start + 3600) * 1000)},
                "constraints": f"(golem.node.debug.subnet={self.subnet})"}
        demand = d.post("/market-api/v1/demands", body)
        while len(seen) < wanted and time.time() - start < timeout:
            for event in d.get(f"/market-api/v1/demands/{demand}/events?timeout=1&maxEvents=50", timeout=10):
                if event["eventType"] != "ProposalEvent":
                    continue
                text = event["proposal"]["constraints"]
                published = int(text.partition("golem.srv.comp.expiration>")[2].partition(")")[0]) / 1000
                if fresh_after is None or published > fresh_after - 0.001:
                    seen.add(event["proposal"]["issuerId"])
        d.delete(f"/market-api/v1/demands/{demand}")
        if len(seen) < wanted:
            raise TimeoutError(f"only {len(seen)} of {wanted} offers were seen after {timeout} s")

    # ----------------------------------------------------------- control
    def serve_control(self):
        path = self.root / "control.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()

        def answer(connection):
            with connection:
                reply = queue.Queue()
                self.commands.put((json.loads(connection.makefile().readline()), reply))
                connection.sendall(json.dumps(reply.get()).encode() + b"\n")

        def loop():
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()
        threading.Thread(target=loop, daemon=True).start()

    def carry_out(self, wait):
        """The next command of `control`, if one comes within `wait` seconds."""
        try:
            words, reply = self.commands.get(timeout=wait)
        except queue.Empty:
            return
        try:
            reply.put({"ok": self.command(*words)})
        except Exception as e:
            reply.put({"error": f"{type(e).__name__}: {e}"})

    def command(self, verb, *words):
        if verb == "provider":                # provider I [SWITCH...]: a new agent with these switches and no others
            return self.replace_agents({int(words[0]): list(words[1:])})
        if verb == "providers":               # providers [SWITCH...]: all of them
            return self.replace_agents({i: list(words) for i in self.agents})
        if verb == "without":                 # without I: no agent there any more
            self.end(self.agents[int(words[0])])
            return "stopped"
        if verb == "kill":                    # kill agent|daemon I
            process = self.agents[int(words[1])] if words[0] == "agent" else self.daemons[1 + int(words[1])].process
            process.kill()
            process.wait()
            return "killed"
        if verb == "restart":                 # restart requestor [kill]: its daemon, same folder, same ports
            self.daemons[0].stop(kill="kill" in words)
            time.sleep(float(words[-1]) if words[-1].replace(".", "").isdigit() else 0)
            self.daemons[0].start(die_with_parent).wait_ready()
            return "restarted"
        if verb == "release-allocations":     # as `yagna payment release-allocations` does
            open_ones = self.daemons[0].get("/payment-api/v1/allocations", timeout=10)
            for one in open_ones:
                self.daemons[0].delete(f"/payment-api/v1/allocations/{one['allocationId']}")
            return len(open_ones)
        if verb == "clock":                   # clock SECONDS: by so much the requestor's differs, from now on
            return self.clock(float(words[0]))
        if verb == "leftovers":
            return self.leftovers()
        if verb == "invoices":
            return self.daemons[0].get("/payment-api/v1/invoices?maxItems=1000", timeout=10)
        if verb == "debit-notes":
            return self.daemons[0].get("/payment-api/v1/debitNotes?maxItems=1000", timeout=10)
        if verb == "settled":                 # settled SECONDS: waits until every accepted invoice is settled
            return self.settled(float(words[0]))
        raise ValueError(f"unknown command {verb}")

    def replace_agents(self, chosen):
        """Ends agents and starts new ones; dead daemons are started again. Returns when the new offers are visible."""
        since = time.time()
        for i in chosen:
            self.end(self.agents[i])
            if self.daemons[1 + i].process.poll() is not None:
                self.daemons[1 + i].start(die_with_parent).wait_ready()
        for i, arguments in chosen.items():
            self.start_agent(i, arguments)
        self.write_environment()
        self.await_offers(len(chosen), fresh_after=since)
        return sorted(chosen)

    def leftovers(self):
        """What should be nothing once a requestor has gone: allocations, demands, running agreements, guests."""
        d = self.daemons[0]
        agreements = d.get("/market-api/v1/agreements?state=Approved", timeout=10)
        guests = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if any(str(self.root).encode() in w and b"exe-unit" in w for w in words) and b"provider.py" not in b" ".join(words):
                    guests.append(int(entry.name))
        return {"allocations": [x["allocationId"] for x in d.get("/payment-api/v1/allocations", timeout=10)],
                "demands": [x.get("demandId") for x in d.get("/market-api/v1/demands", timeout=10)],
                "agreements": [x["id"] if "id" in x else x.get("agreementId") for x in agreements], "guests": guests}

    def settled(self, timeout):
        end = time.time() + timeout
        while True:
            found = self.daemons[0].get("/payment-api/v1/invoices?maxItems=1000", timeout=10)
            waiting = [i["invoiceId"] for i in found if i["status"] == "ACCEPTED"]
            if not waiting:
                return {s: sum(i["status"] == s for i in found) for s in {i["status"] for i in found}}
            if time.time() > end:
                raise TimeoutError(f"not settled after {timeout:.0f} s: {waiting}")
            time.sleep(0.5)

    # -------------------------------------------------------------- down
    def down(self):
        for process in self.agents.values():
            self.end(process)
        if self.daemons:
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda d: d.stop(), self.daemons))
        for _, process in self.services:
            self.end(process)
        if not self.a.keep and not self.a.root:
            shutil.rmtree(self.root, ignore_errors=True)

    @staticmethod
    def end(process):
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def main():
    p = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("--providers", type=int, default=3)
    p.add_argument("--root", help="folder for data and logs (a temporary one is removed at the end)")
    p.add_argument("--keep", action="store_true")
    p.add_argument("--subnet")
    p.add_argument("--network", default="hoodi", choices=["hoodi", "holesky"])
    p.add_argument("--gsb-base", type=int, default=7480)
    p.add_argument("--rest-base", type=int, default=17480)
    p.add_argument("--tokens", type=float, default=1000)
    p.add_argument("--guest", required=True, help=argparse.SUPPRESS)
    p.add_argument("--clock-library", required=True, help=argparse.SUPPRESS)
    p.add_argument("--clock", action="store_true", help="the requestor's daemon has a clock of its own: control clock SECONDS")
    p.add_argument("--cold", action="store_true", help="do not wait until the requestor's daemon knows the offers")
    p.add_argument("--fault", action="append", default=[], metavar="I:SWITCHES", help="switches for provider I (faults.py)")
    p.add_argument("--provider-args", default="", help="switches for all of them")
    p.add_argument("--with-parent", action="store_true", help="stop when the parent process ends")
    p.add_argument("--exec", help="run this shell command with the environment set, then stop")
    p.add_argument("-v", "--verbose", action="store_true")
    a = p.parse_args()
    if a.with_parent:
        die_with_parent(signal.SIGTERM)
    network, stop, code = Network(a), threading.Event(), 0
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, lambda *_: stop.set())
    try:
        marks = network.up()
        network.serve_control()
        for k, v in network.env.items():
            print(f"export {k}={shlex.quote(v)}")
        print("# " + ", ".join(f"{k} {v:.2f} s" for k, v in marks.items()), flush=True)
        print("# READY", flush=True)
        if a.exec:
            child = subprocess.Popen(a.exec, shell=True, env={**os.environ, **network.env})
            while child.poll() is None and not stop.is_set():
                network.carry_out(0.2)
            if child.poll() is None:
                child.terminate()
            code = child.wait()
        else:
            while not stop.is_set():
                network.carry_out(0.5)
                for name, process in network.services:
                    if process.poll() is not None and not stop.is_set():
                        print(f"{name} ended", file=sys.stderr)
                        code = 70
                        stop.set()
    finally:
        start = time.time()
        network.down()
        print(f"# stopped in {time.time() - start:.1f} s", flush=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
