#!/usr/bin/env python3
"""examples/golem: builds from the library Golem alone, and each program does on a real daemon what its page says."""
import hashlib
import json
import re
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "golem"))
from checks import SCRATCH, TREE, Testnet, check_nothing_left, expect, run_all  # noqa: E402

PACKAGE = TREE / "examples/golem"
BUILD = TREE / ".build-golem-examples"
PROGRAMS = ["/bin/sh", "/bin/echo", "/bin/cat", "/bin/mkdir", "/bin/ls", "/bin/rm", "/usr/bin/sort", "/usr/bin/wc"]
TAG = "golem/alpine:latest"


class Registry(BaseHTTPRequestHandler):
    """What the image registry answers, and the place where the image lies."""

    def do_GET(self):
        if self.path == f"/v1/image/info?count=true&tag={TAG.replace('/', '%2F').replace(':', '%3A')}":
            body = json.dumps({"sha3": self.server.sha3, "http": f"{self.server.url}/image.gvmi", "https": None}).encode()
        elif self.path == "/image.gvmi":
            body = self.server.image
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def registry():
    path = SCRATCH / "examples.gvmi"
    subprocess.run([TREE / "Tests/testnet/pack", path, *PROGRAMS], check=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    server.image = path.read_bytes()
    server.sha3 = hashlib.sha3_224(server.image).hexdigest()
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main():
    SCRATCH.mkdir(parents=True, exist_ok=True)

    def build():
        start = time.time()
        done = subprocess.run(["swift", "build", "--disable-index-store", "--package-path", PACKAGE, "--scratch-path", BUILD],
                              capture_output=True, text=True)
        expect(done.returncode == 0, "the examples build", (done.stdout + done.stderr)[-3000:])
        expect("warning:" not in done.stdout, "without warnings",
               sorted({x for x in done.stdout.splitlines() if "warning:" in x}))
        return f"{time.time() - start:.0f} s"

    def only_golem():
        """Whoever needs the library alone compiles nothing of learning."""
        targets = set(re.findall(r'[tT]arget\(\s*name: "([^"]+)"', (TREE / "Package.swift").read_text()))
        expect({"Golem", "NeuralNetwork", "Tensors", "Federation"} <= targets, "the targets of the tree", targets)
        # A folder is made for every target of the tree, objects only for what is compiled.
        built = {x.parent.name.removesuffix(".build") for x in (BUILD / "debug").glob("*.build/**/*.o")}
        expect("Golem" in built and {"hello", "batch", "service", "market"} <= built, "what was to be built", built)
        needed = {x for x in targets & built if not x.endswith("Tests")}
        learning = {"NeuralNetwork", "Tensors", "Jobs", "Worker", "Datasets", "Fleets", "Federation", "GolemFleet",
                    "CKernels", "Application", "Reports", "deml"}
        expect(not needed & learning, "no learning module is built", needed & learning)
        return ", ".join(sorted(needed))

    def page():
        """The hello world of the library's page is the one that is run here, and has 20 lines."""
        text = (TREE / "requestor/Golem/README.md").read_text()
        source = (PACKAGE / "Sources/hello/main.swift").read_text()
        blocks = re.findall(r"```swift\n(.*?)```", text, re.S)
        expect(source in blocks, "README's hello world is examples/golem's", blocks[:1])
        expect(len(source.splitlines()) <= 20, "it has 20 lines at most", len(source.splitlines()))

    with Testnet(2) as network:
        server = registry()

        def example(name, *words, code=0, seconds=120, **more):
            environment = network.environment(
                **{"XDG_DATA_HOME": str(SCRATCH / "data"), "REGISTRY_URL": server.url, **more})
            done = subprocess.run([BUILD / "debug" / name, *map(str, words)], env=environment, capture_output=True, text=True,
                                  timeout=seconds)
            expect(done.returncode == code, f"{name} ends with {code}", (done.returncode, done.stdout + done.stderr))
            return done.stdout + done.stderr

        def paid(text):
            """The lines of the table of costs, checked against the daemon's invoices."""
            lines = re.findall(r"^(provider-\d): (\S+) GLM, (\w+)$", text, re.M)
            expect(lines, "a table of costs", text)
            known = {(float(x["amount"]), x["status"]) for x in network.control("invoices")}
            for provider, amount, state in lines:
                expect(state in ("accepted", "settled"), f"{provider} is paid", text)
                expect(any(abs(float(amount) - a) < 1e-12 and s in ("ACCEPTED", "SETTLED") for a, s in known),
                       "the daemon knows that amount", (amount, known))
            check_nothing_left(network)
            return lines

        def hello():
            text = example("hello")
            expect(re.match(r"Hello from provider-[01]\n", text), "the machine's greeting", text)
            expect(len(paid(text)) == 1, "one machine is paid", text)
            ledgers = list((SCRATCH / "data/golem-swift/ledgers").glob("hello-*.ledger.jsonl"))
            expect(len(ledgers) == 1, "its ledger lies in the data folder", ledgers)

        def hello_without():
            text = example("hello", code=77, YAGNA_APPKEY="")
            expect("YAGNA_APPKEY is not set" in text and "yagna app-key" in text, "what is missing, and what to do", text)
            text = example("hello", code=69, YAGNA_API_URL="http://127.0.0.1:9")
            expect("the daemon cannot be reached" in text, "nobody answers", text)
            text = example("hello", code=74, REGISTRY_URL="http://127.0.0.1:9")
            expect("the image registry does not answer" in text, "no registry", text)

        def batch():
            folder = SCRATCH / "sorted"
            files = []
            for number in range(4):
                path = SCRATCH / f"names-{number}.txt"
                path.write_text("".join(f"{(i * 7919 + number) % 10007:05}\n" for i in range(10007)))
                files.append(path)
            text = example("batch", folder, *files)
            for path in files:
                expected = "".join(f"{i:05}\n" for i in range(10007))
                expect((folder / path.name).read_text() == expected, f"{path.name} is sorted", text)
                expect(hashlib.sha3_256(expected.encode()).hexdigest() in text, "its hash is told", text)
            expect(len(paid(text)) == 2, "two machines are paid", text)

        def service():
            text = example("service", 8)
            kinds = re.findall(r"^(\w+): instance 0", text, re.M)
            expect(kinds == ["starting", "running", "checkFailed", "checkFailed", "starting", "running", "stopped"],
                   "it is started again after two failed checks", text)
            expect("second 8: 8 values" in text, "what it holds outlives the restart", text)
            paid(text)

        def market():
            text = example("market", 30, 2)
            expect("provider-0: 2 threads" in text and "0.2880 GLM an hour" in text, "what they ask", text)
            expect("2 providers in subnet" in text, "all are seen", text)
            check_nothing_left(network)

        code = run_all([("build", build), ("only-golem", only_golem), ("page", page), ("hello", hello),
                        ("hello-without", hello_without), ("batch", batch), ("service", service), ("market", market)])
        server.shutdown()
        return code


if __name__ == "__main__":
    sys.exit(main())
