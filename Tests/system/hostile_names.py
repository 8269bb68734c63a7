#!/usr/bin/env python3
"""deml offers, payments and status show names and reasons of strangers, and a terminal that shows them is not steered."""
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DEML = os.environ["DEML"]
SCRATCH = Path(os.environ["DEML_TEST_SCRATCH"])
EXAMPLE = Path(__file__).resolve().parent.parent.parent / "examples/mnist-mlp.yaml"
HOSTILE = "evil\x1b[2J\x1b]0;owned\x07\x9b31m\u202egnp\u200b\u2028\r\nsecond line"
# What deml itself may send: end of line. Its output is no terminal here, so it uses no colours.
HARMFUL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def offer(number):
    return {"offerId": f"o{number}", "providerId": f"0x{number}", "timestamp": "2026-11-23T19:17:01Z",
            "properties": {
                "golem.node.id.name": f"p{number} {HOSTILE}", "golem.node.debug.subnet": "public",
                "golem.runtime.name": "vm" if number < 3 else "wasm" + HOSTILE, "golem.inf.mem.gib": 8,
                "golem.inf.storage.gib": 50, "golem.inf.cpu.cores": 4, "golem.inf.cpu.threads": 8,
                "golem.com.scheme": "payu", "golem.com.pricing.model": "linear",
                "golem.com.usage.vector": ["golem.usage.duration_sec", "golem.usage.cpu_sec"],
                "golem.com.pricing.model.linear.coeffs": [1e-5, 1e-5, 0],
                "golem.com.payment.platform.erc20-hoodi-tglm.address": "0x1"}}


class Daemon(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/me"):
            status, body = 200, {"identity": "0xme", "name": HOSTILE, "role": "manager"}
        elif "/scan/" in self.path and self.command == "GET":
            status, body = 200, [offer(number) for number in range(1, 5)]
        elif self.path.startswith("/payment-api/v1/invoices"):
            status, body = 500, {"message": HOSTILE}
        else:
            status, body = 200, "1"
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *_):
        pass


def run(port, *words):
    environment = {**os.environ, "YAGNA_APPKEY": "key", "YAGNA_API_URL": f"http://127.0.0.1:{port}",
                   "YAGNA_SUBNET": "public", "DEML_GOLEM_DATA": str(SCRATCH / "data")}
    done = subprocess.run([DEML, *words], env=environment, capture_output=True, timeout=60)
    return done.returncode, (done.stdout + done.stderr).decode()


def check(what, text, *expected):
    found = HARMFUL.search(text)
    assert not found, f"{what}: {found.group()!r} reaches the terminal: {text!r}"
    for word in expected:
        assert word in text, f"{what} does not show {word!r}: {text!r}"


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Daemon)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    code, text = run(port, "offers", "--market-time", "1")
    assert code == 0, text
    check("deml offers", text, "p1 evil", "second line", "runtime wasm")

    # A ledger from before texts were made harmless where they enter.
    ledgers = SCRATCH / "data/ledgers"
    ledgers.mkdir(parents=True)
    at = "2026-11-23T19:17:01Z"
    lines = [
        {"entry": "opened", "run": "r", "budget": "5", "platform": "erc20-hoodi-tglm", "at": at, "version": 1},
        {"entry": "agreement", "agreement": "a1", "at": at, "contract": {
            "provider": "0x1", "name": "p " + HOSTILE, "threads": 1, "counters": ["golem.usage.duration_sec"],
            "coefficients": [0.001], "start": 0}},
        {"entry": "rejectedInvoice", "invoice": "i", "agreement": "a1", "amount": "1", "reason": "too dear " + HOSTILE},
        {"entry": "closed", "at": at}]
    (ledgers / "r.ledger.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, text = run(port, "payments")
    assert code == 0, text
    check("deml payments", text, "p evil", "too dear")
    status(port)
    print("names and reasons of strangers steer no terminal")


def status(port):
    """A run folder that came from somebody else: its name, and what its journal tells."""
    run_folder = SCRATCH / f"runs/r{HOSTILE}".replace("\r\n", "")
    done = subprocess.run(
        [DEML, "train", EXAMPLE, "--rounds", "1", "--workers", "2", "--on", "simulated", "--max-seconds", "0.05",
         "--no-comparison", "--output", run_folder], capture_output=True, timeout=300, cwd=SCRATCH)
    assert (run_folder / "events.jsonl").exists(), done.stderr.decode()
    with open(run_folder / "events.jsonl") as journal:
        events = [json.loads(line) for line in journal]
    notice = {"event": "fleet_notice", "time": events[-1]["time"], "level": "warning", "details": {}}
    with open(run_folder / "events.jsonl", "a") as journal:
        # More than a reader takes at a time.
        for number in range(3000):
            journal.write(json.dumps({**notice, "message": f"{number} {HOSTILE}" + "x" * 100}) + "\n")
    code, text = run(port, "status", f"{run_folder}{HOSTILE}".replace("\r\n", ""))
    assert code == 66, text
    check("deml status", text, "there is no run")
    for words in (["status", run_folder], ["status", run_folder, "--json"]):
        code, text = run(port, *words)
        assert code == 0, text
        check("deml status", text, "2999 evil", "second line", "2988 evil")
        assert "2987 evil" not in text, "the newest twelve are told"


if __name__ == "__main__":
    sys.exit(main())
