"""Starting a real yagna daemon on loopback, with nothing that reaches outside."""
import json
import os
import subprocess
import sysconfig
import time
import urllib.request
from pathlib import Path

PAYMENTS_TOML = """[engine]
process-interval = 1
process-interval-after-send = 1
process-interval-after-error = 3
process-interval-after-no-gas-or-token-start = 5
process-interval-after-no-gas-or-token-max = 20
process-interval-after-no-gas-or-token-increase = 1.5
report-alive-interval = 5
gather-interval = 5
gather-at-start = true
automatic-recover = false
ignore-deadlines = true

[chain.hoodi]
chain-name = "Hoodi"
chain-id = 560048
currency-symbol = "tETH"
priority-fee = 0.000001
max-fee-per-gas = 20.0
transaction-timeout = 100
token = {{ address = "0x55555555555556AcFf9C332Ed151758858bd7a26", symbol = "tGLM" }}
confirmation-blocks = 0

[[chain.hoodi.rpc-endpoints]]
names = "{chain}/hoodi"
endpoints = "{chain}/hoodi"
max-timeout-ms = 5000
verify-interval-secs = 300
allowed-head-behind-secs = 120

[chain.holesky]
chain-name = "Holesky"
chain-id = 17000
currency-symbol = "tETH"
priority-fee = 0.000001
max-fee-per-gas = 20.0
transaction-timeout = 100
token = {{ address = "0x8888888815bf4DB87e57B609A50f938311EEd068", symbol = "tGLM" }}
confirmation-blocks = 0

[[chain.holesky.rpc-endpoints]]
names = "{chain}/holesky"
endpoints = "{chain}/holesky"
max-timeout-ms = 5000
verify-interval-secs = 300
allowed-head-behind-secs = 120
"""


def find_yagna():
    if os.environ.get("YAGNA_BIN"):
        return os.environ["YAGNA_BIN"]
    cand = Path(sysconfig.get_path("scripts")) / "yagna"
    if cand.exists():
        return str(cand)
    from shutil import which
    return which("yagna") or "yagna"


class Daemon:
    def __init__(self, name, root, gsb_port, rest_port, hub_port, chain_url, appkey, log="info", extra=None):
        self.name, self.appkey = name, appkey
        self.dir = Path(root) / name
        self.gsb = f"tcp://127.0.0.1:{gsb_port}"
        self.gsb_port = gsb_port
        self.rest = f"http://127.0.0.1:{rest_port}"
        self.chain = chain_url
        self.program = find_yagna()
        self.process = None
        self.env = {k: v for k, v in os.environ.items() if not k.upper().endswith("_PROXY")}
        self.env.update({
            "YAGNA_DATADIR": str(self.dir),
            "GSB_URL": self.gsb,
            "YAGNA_API_URL": self.rest,
            "YAGNA_AUTOCONF_APPKEY": appkey,
            "YA_NET_TYPE": "central",
            "CENTRAL_NET_HOST": f"127.0.0.1:{hub_port}",
            "YA_NET_BIND_URL": f"udp://127.0.0.1:{rest_port}",
            "YAGNA_METRICS_URL": "http://127.0.0.1:9/",
            "YA_CONSENT_STATS": "deny",
            "OFFER_BROADCAST_DELAY": "100ms",
            "UNSUB_BROADCAST_DELAY": "100ms",
            "MEAN_CYCLIC_BCAST_INTERVAL": "3s",
            "MEAN_CYCLIC_UNSUBSCRIBES_INTERVAL": "3s",
            "BCAST_NODE_BAN_TIMEOUT": "1s",
            "PAYMENT_CYCLE_DEFAULT_INTERVAL": "10s",
            "PAYMENT_CYCLE_DEFAULT_EXTRA_PAY_TIME": "5s",
            "PAYMENT_SHUTDOWN_TIMEOUT_SECS": "1",
            "YA_PAYMENT_SYNC_NOTIF_BACKOFF_INITIAL_DELAY": "2s",
            "RUST_LOG": os.environ.get("YAGNA_LOG", log),
        })
        self.env.update(extra or {})

    def start(self, before=None):
        """Starts it in its folder; `before` runs in the child ahead of the program."""
        self.dir.mkdir(parents=True, exist_ok=True)
        (self.dir / "config-payments.toml").write_text(PAYMENTS_TOML.format(chain=self.chain))
        self.log = open(self.dir / "stdout.log", "a")
        self.process = subprocess.Popen([self.program, "service", "run", "--disable-metrics-push"], env=self.env,
                                        stdout=self.log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                        start_new_session=True, preexec_fn=before)
        return self

    def request(self, method, path, body=None, timeout=10):
        data = None if body is None else json.dumps(body).encode()
        req = urllib.request.Request(self.rest + path, data, method=method, headers={
            "Authorization": "Bearer " + self.appkey, "Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(req, timeout=timeout) as r:
            text = r.read()
            return json.loads(text) if text else None

    def get(self, path, timeout=2):
        return self.request("GET", path, None, timeout)

    def post(self, path, body):
        return self.request("POST", path, body)

    def delete(self, path):
        return self.request("DELETE", path)

    def wait_ready(self, timeout=60):
        t = time.time()
        while time.time() - t < timeout:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} exited: see {self.log.name}")
            try:
                self.node_id = self.get("/me")["identity"]
                return self.node_id
            except Exception:
                time.sleep(0.05)
        raise TimeoutError(self.name)

    def cli(self, *args, js=True, timeout=60):
        r = subprocess.run([self.program, *args] + (["--json"] if js else []), env=self.env,
                           capture_output=True, text=True, timeout=timeout)
        if r.returncode:
            raise RuntimeError(f"yagna {' '.join(args)}: {r.stdout}{r.stderr}")
        return json.loads(r.stdout) if js and r.stdout.strip() else r.stdout

    def stop(self, timeout=10, kill=False):
        if self.process and self.process.poll() is None:
            self.process.kill() if kill else self.process.terminate()
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
