#!/usr/bin/env python3
"""What may be tried against the page, and what comes of it: a table of tried and result.

Strangers' pages, strange names of this server, no token, paths in names, floods of events, slow and silent clients, too much
data, and script in every text that somebody else writes. No browser."""
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

DEML = os.environ["DEML"]
SCRATCH = Path(os.environ["DEML_TEST_SCRATCH"])
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>\x1b[2J\u202e"
rows, failed = [], 0


def tried(what, holds, result):
    global failed
    failed += not holds
    rows.append((what, str(result)[:110], "" if holds else "FAIL"))
    if not holds:
        print(f"FAIL  {what}: {result}", flush=True)


class Server:
    def __init__(self, folder):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("YAGNA_")}
        environment["DEML_GOLEM_DATA"] = str(SCRATCH / "golem-data")
        self.process = subprocess.Popen([DEML, "ui", "--port", "0", "--no-browser"], cwd=folder, env=environment,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.address = self.process.stdout.readline().strip()
        self.port = int(re.match(r"http://127\.0\.0\.1:(\d+)/\?token=", self.address)[1])
        self.host = f"127.0.0.1:{self.port}"
        status, headers, _ = self.ask("GET", self.address.split(self.host)[1], known=False)
        assert status == 303, status
        self.cookie = headers["set-cookie"].split(";")[0]

    def ask(self, method, path, body=None, headers=None, known=True, host=None, timeout=20):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        fields = {"Host": host or self.host}
        if known:
            fields["Cookie"] = self.cookie
            if method != "GET":
                fields["Origin"] = f"http://{self.host}"
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            fields["Content-Type"] = "application/json"
        fields.update(headers or {})
        try:
            connection.request(method, path, body, fields)
            answer = connection.getresponse()
            return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def json(self, *words, **more):
        status, _, body = self.ask(*words, **more)
        return status, json.loads(body or b"{}")

    def memory(self):
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())[1]) / 1024

    def alive(self):
        return self.process.poll() is None and self.ask("GET", "/api/runs")[0] == 200


def doors(server):
    for path in ["/", "/api/runs", "/api/runs/x/live", "/train"]:
        tried(f"no token: GET {path}", server.ask("GET", path, known=False)[0] == 401, server.ask("GET", path, known=False)[0])
    tried("a guessed token", server.ask("GET", "/?token=" + "0" * 48, known=False)[0] == 401, 401)
    for host in ["evil.example", f"evil.example:{server.port}", f"localhost.evil.example:{server.port}", f"127.0.0.1:{server.port + 1}"]:
        status = server.ask("GET", "/api/runs", host=host)[0]
        tried(f"foreign Host {host}", status == 421, status)
    for origin in ["http://evil.example", "null", f"http://127.0.0.1:{server.port + 1}", f"https://127.0.0.1:{server.port}"]:
        status = server.ask("POST", "/api/uploads", {}, {"Origin": origin})[0]
        tried(f"foreign Origin {origin}", status == 403, status)
    status = server.ask("POST", "/api/uploads", "{}", {"Cookie": server.cookie, "Content-Type": "application/json"}, known=False)[0]
    tried("POST without Origin", status == 403, status)
    status = server.ask("POST", "/api/runs", "x=1", {"Content-Type": "application/x-www-form-urlencoded"})[0]
    tried("a form", status == 415, status)
    status = server.ask("POST", "/api/runs", "{}", {"Content-Type": "text/plain"})[0]
    tried("JSON that calls itself text", status == 415, status)
    status = server.ask("GET", "/api/runs", headers={"Sec-Fetch-Site": "cross-site"})[0]
    tried("GET out of another site", status == 403, status)
    policy = server.ask("GET", "/")[1]["content-security-policy"]
    tried("Content-Security-Policy", "default-src 'none'" in policy and "unsafe" not in policy, policy)
    where = subprocess.run(["ss", "-ltnH", f"sport = :{server.port}"], stdout=subprocess.PIPE, text=True).stdout if shutil.which("ss") else ""
    tried("who can reach it", not where or all("127.0.0.1" in line for line in where.splitlines()), "this machine alone")


def names(server, work):
    before = {path for path in SCRATCH.rglob("*") if path.is_file() and ".uploads" not in str(path)}
    _, begun = server.json("POST", "/api/uploads", {})
    for name in ["../../../evil", "/tmp/evil-of-deml", "%2e%2e%2fevil", "..%5c..%5cevil", "a/../../../evil", ".bashrc", "CON", "x%00.csv",
                 "a" * 5000, "%E2%80%AEgnp.exe", "-rf"]:
        status, answer = server.json("PUT", f"/api/uploads/{begun['id']}?name={name}", body=b"1,2\n")
        outside = {path for path in SCRATCH.rglob("*") if path.is_file() and ".uploads" not in str(path)} - before
        tried(f"upload called {name[:30]}", status in (200, 422) and not outside and not Path("/tmp/evil-of-deml").exists(),
              f"{status}, in its own folder" if status == 200 else f"{status} {answer['what']}")
    for run in ["..%2f..", "%2e%2e", "..", ".uploads", "%00", "a%2f..%2fb", "x" * 3000]:
        status = server.ask("GET", f"/api/runs/{run}/report")[0]
        tried(f"run called {run[:24]}", status in (404, 400), status)
    os.symlink("/etc", work / "etc")
    for path, wanted in [("/etc/passwd", 403), ("etc/passwd", 403), ("../secret.csv", 403), ("upload:../../x", 404), ("~/.ssh", (403, 404))]:
        (SCRATCH / "secret.csv").write_text("a,label\n1,2\n")
        status, answer = server.json("POST", "/api/data/look", {"data": path})
        tried(f"data {path}", status in (wanted if isinstance(wanted, tuple) else (wanted,)), f"{status} {answer.get('what')}")
    for settings in [{"output": "/tmp/evil"}, {"initial_weights": "/etc/passwd"}, {"model": "/etc/passwd"}, {"continue_from": "../x"},
                     {"golem": {"app_key": "x"}}, {"golem": {"data_folder": "/tmp"}}, {"golem": {"image": "/etc/passwd"}}]:
        status, answer = server.json("POST", "/api/runs", {"settings": {"data": "mnist", **settings}})
        tried(f"settings {json.dumps(settings)}", status in (403, 404, 422), f"{status} {answer.get('what')}")
    for name in ["../../evil", "--output", "$(touch evil)", "a\nb", "", "."]:
        status, answer = server.json("POST", "/api/runs", {"name": name, "settings": {"data": "mnist", "rounds": 0}})
        tried(f"run to be called {name!r}", status == 422, f"{status} {answer['what'][:60]}")
    status, answer = server.json("POST", "/api/runs", {"settings": {"data": "mnist", "fleet": "golem", "golem": {"budget": 1000}}})
    tried("money without a word", status == 409, f"{status} {answer['what']}")
    status, answer = server.json("POST", "/api/runs", {"settings": {"data": "mnist", "fleet": "golem", "golem": {"budget": 1000}}, "agreedGLM": 1})
    tried("money with another amount", status == 409, f"{status} {answer['what']}")


def floods(server):
    _, begun = server.json("POST", "/api/uploads", {})
    status, answer = raw(server, f"PUT /api/uploads/{begun['id']}?name=big HTTP/1.1\r\nContent-Length: {10 << 30}\r\n")
    tried("an upload of 10 GB", status == 413, f"{status} {answer}")
    memory = server.memory()
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(head(server, f"PUT /api/uploads/{begun['id']}?name=endless HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"))
    block = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
    for _ in range(192):
        connection.sendall(block)
    grown = server.memory() - memory
    tried("192 MB without a length", grown < 64, f"memory grows by {grown:.0f} MB")
    connection.close()
    deadline = time.monotonic() + 10
    partial = [1]
    while partial and time.monotonic() < deadline:
        partial = [path for path in (SCRATCH / "work/runs/.uploads" / begun["id"]).iterdir()]
        time.sleep(0.1)
    tried("its sender goes in the middle", not partial, "nothing is left" if not partial else partial)
    status, answer = raw(server, "GET /api/runs HTTP/1.1\r\nX: " + "x" * 100_000 + "\r\n")
    tried("a header of 100 kB", status in (400, 431), status)
    status, _ = server.json("POST", "/api/models/check", {"input": {"shape": [1]}, "layers": [{"type": "relu"}] * 100_000, "loss": "mse"})
    tried("a model of 100,000 layers", status in (413, 422), status)
    nested = {"type": "relu"}
    for _ in range(300):
        nested = {"type": "residual", "layers": [nested]}
    status, answer = server.json("POST", "/api/models/check", {"input": {"shape": [1]}, "layers": [nested], "loss": "mse"})
    tried("layers 300 deep", status in (200, 400, 422), f"{status} {(answer.get('mistake') or answer).get('what', '')[:60]}")
    status = server.ask("POST", "/api/data/look", "[" * 100_000, {"Content-Type": "application/json"})[0]
    tried("100,000 brackets", status == 400, status)
    tried("the server is there", server.alive(), "yes")


def head(server, text):
    return (text + f"Host: {server.host}\r\nCookie: {server.cookie}\r\nOrigin: http://{server.host}\r\n\r\n").encode()


def raw(server, text):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head(server, text))
        answer = connection.recv(65536).decode(errors="replace")
    match = re.match(r"HTTP/1\.1 (\d+)", answer)
    words = re.search(r'"what":"([^"]*)', answer)
    return int(match[1]) if match else 0, words[1] if words else ""


def crowd(server):
    """500 pages that follow a run, some of which never read, while it goes on."""
    run = SCRATCH / "work/runs/crowded"
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps({"data": "mnist", "rounds": 9}))
    journal = open(run / "events.jsonl", "w")

    def event(name, **values):
        journal.write(json.dumps({"time": "2026-03-01T12:00:00.123Z", "event": name, **values}) + "\n")
        journal.flush()

    event("run_started", fleet="local", workers=3, clients_per_round=3, rounds=9, finished_rounds=0, parameters=1,
          train_examples=1, test_examples=1, loss=1)
    before = server.memory()
    begun = time.monotonic()
    clients = []
    for _ in range(500):
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        connection.sendall(head(server, "GET /api/runs/crowded/live HTTP/1.1\r\n"))
        clients.append(connection)
    for connection in clients[100:]:
        text = b""
        while b"run_" not in text and b'"whole":true' not in text:
            text += connection.recv(65536)
    tried("500 pages follow a run", True, f"all told in {time.monotonic() - begun:.1f} s")
    # The first hundred never read. The others hear of every round.
    for number in range(1, 10):
        event("round_finished", round=number, loss=1, accuracy=0.5, seconds=1, evaluation_seconds=0, bytes_up=0, bytes_down=0, clients=3,
              answers=3, failures=0, examples=3, weights_sha256="")
    begun = time.monotonic()
    for connection in clients[100:]:
        text = b""
        while b"[9,0.5," not in text:
            text += connection.recv(65536)
    slowest = time.monotonic() - begun
    tried("400 of them hear of the last round", slowest < 5, f"within {slowest:.1f} s, 100 silent ones beside them")
    begun = time.monotonic()
    status = server.ask("GET", "/api/runs")[0]
    tried("another page meanwhile", status == 200 and time.monotonic() - begun < 1, f"{(time.monotonic() - begun) * 1000:.0f} ms")
    tried("memory of 500 pages", server.memory() - before < 100, f"{server.memory() - before:.0f} MB")
    for connection in clients:
        connection.close()
    journal.close()


def watched(server):
    """A run that three pages follow: what they take of the machine's time."""
    def used():
        fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    status, answer = server.json("POST", "/api/runs", {"name": "watched", "settings": {
        "data": "mnist", "model": {"layers": [{"type": "flatten"}, {"type": "linear", "out_features": 128}, {"type": "relu"}, {"type": "linear"}],
                                   "input": {"divide_by": 255}}, "fleet": "simulated", "rounds": 4, "local_epochs": 3, "comparison": False}})
    assert status == 201, answer
    folder = SCRATCH / "work/runs" / answer["run"]
    while not (folder / "events.jsonl").exists():
        time.sleep(0.02)
    before, begun = used(), time.monotonic()
    pages = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(3)]
    for page in pages:
        page.sendall(head(server, f"GET /api/runs/{answer['run']}/live HTTP/1.1\r\n"))
        threading.Thread(target=lambda page=page: all(iter(lambda: page.recv(65536), b"")), daemon=True).start()
    while not (folder / "summary.json").exists():
        time.sleep(0.05)
    seconds = time.monotonic() - begun
    share = (used() - before) / seconds / os.cpu_count()
    tried("a run that three pages follow", share < 0.01, f"they take {share * 100:.2f} % of the machine in {seconds:.1f} s")
    for page in pages:
        page.shutdown(socket.SHUT_RDWR)


def slow(server):
    """Clients that send a letter a second hold nobody up; those that send nothing are let go."""
    sockets = []
    for _ in range(100):
        connection = socket.create_connection(("127.0.0.1", server.port))
        connection.sendall(b"GET /api/runs HTTP/1.1\r\nHost: ")
        sockets.append(connection)
    begun = time.monotonic()
    status = server.ask("GET", "/api/runs")[0]
    tried("100 requests that never end", status == 200 and time.monotonic() - begun < 1, f"another is answered in {(time.monotonic() - begun) * 1000:.0f} ms")
    for connection in sockets:
        connection.close()


def writers(server, work):
    """A model that writes: only some at a time, and who goes away is not written for."""
    (work / "fox.txt").write_text("the quick brown fox jumps over the lazy dog.\n" * 40)
    subprocess.run([DEML, "train", "--data", "fox.txt", "--on", "simulated", "--rounds", "1", "--local-epochs", "1", "--workers", "1",
                    "--no-comparison", "--no-tensorboard", "--output", "runs/fox"], cwd=work, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)

    def ask(**wish):
        body = json.dumps({"prompt": "the ", **wish})
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        connection.sendall(head(server, "POST /api/models/fox/generate HTTP/1.1\r\nContent-Type: application/json\r\n"
                                f"Content-Length: {len(body)}\r\n") + body.encode())
        text = b""
        while not re.search(rb"event: \w+\ndata: [^\n]*\n\n", text):
            piece = connection.recv(65536)
            assert piece, text
            text += piece
        return connection, text.decode()

    silent = [ask(tokens=10_000) for _ in range(4)]
    tried("four texts are asked for and not read", all("event: text" in text for _, text in silent), "they are written")
    connection, text = ask(tokens=5)
    tried("a fifth", "event: trouble" in text and "already" in text, "4 texts are being written already" if "4 texts" in text else text[-80:])
    connection.close()
    begun = time.monotonic()
    status = server.ask("GET", "/api/runs")[0]
    tried("another page meanwhile", status == 200 and time.monotonic() - begun < 1, f"{(time.monotonic() - begun) * 1000:.0f} ms")
    for connection, _ in silent:
        connection.close()
    begun, text = time.monotonic(), "already"
    while "already" in text and time.monotonic() - begun < 5:
        connection, text = ask(tokens=5)
        connection.close()
    tried("they go, and another comes", "event: text" in text, f"written for after {(time.monotonic() - begun) * 1000:.0f} ms")
    for wish in [{"prompt": ""}, {"tokens": 10**9}, {"temperature": -1}, {"topK": 0}, {"seed": -1}, {"prompt": "x" * 100_000}]:
        status = server.ask("POST", "/api/models/fox/generate", {"prompt": "the ", **wish})[0]
        tried(f"a text with {json.dumps(wish)[:40]}", status in (400, 422), status)


def script(server, work):
    """Texts of others come as texts."""
    run = work / "runs" / "named"
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps({"data": "mnist", "rounds": 1}))
    moment = "2026-03-01T12:00:00.123Z"
    provider = {"id": "p", "name": SCRIPT}
    with open(run / "events.jsonl", "w") as events:
        for name, values in [
                ("run_started", dict(fleet="golem", workers=1, clients_per_round=1, rounds=1, finished_rounds=0, parameters=1,
                                     train_examples=1, test_examples=1, loss=1)),
                ("attempt_failed", dict(round=1, client=0, attempt=0, provider=provider, failure="lost", stage=SCRIPT, message=SCRIPT,
                                        next="retry")),
                ("fleet_notice", dict(level="warning", message=SCRIPT, provider=provider, details={})),
                ("run_failed", dict(rounds=0, message=SCRIPT))]:
            events.write(json.dumps({"time": moment, "event": name, **values}) + "\n")
    (run / "report.html").write_text(f"<html>{SCRIPT}</html>")
    status, headers, body = server.ask("GET", "/api/runs/named/report")
    tried("script in a report", "sandbox" in headers["content-security-policy"] and "script-src" not in headers["content-security-policy"],
          headers["content-security-policy"])
    status, headers, body = server.ask("GET", "/api/runs")
    harmful = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]")
    tried("script in a failure", headers["content-type"].startswith("application/json") and not harmful.search(body.decode()), "JSON, made harmless")
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head(server, "GET /api/runs/named/live HTTP/1.1\r\n"))
        text = b""
        while b"\r\ndata: " not in text or b"\n\n" not in text.split(b"\r\ndata: ")[1]:
            text += connection.recv(65536)
    told = text.decode().split("\r\ndata: ")[1].split("\n\n")[0]
    tried("script in a provider's name", not harmful.search(json.dumps(json.loads(told), ensure_ascii=False)), "JSON, made harmless")
    rows_ = "\n".join(f"{i % 2 * 3 + i / 100},{SCRIPT.split(chr(27))[0]}{i % 2}" for i in range(60))
    (work / "script.csv").write_text(f"<b>x</b>,label\n{rows_}\n")
    status, answer = server.json("POST", "/api/data/look", {"data": "script.csv"})
    tried("script in classes and columns", status == 200 and answer["classes"][0]["name"].startswith("<script>"), "texts of a JSON")
    sources = "".join(path.read_text() for path in (Path(__file__).resolve().parent.parent.parent / "requestor/UserInterface/Assets").glob("*.js"))
    tried("markup out of texts in the scripts", not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", sources), "none: texts are texts")


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    work = SCRATCH / "work"
    work.mkdir()
    server = Server(work)
    try:
        doors(server)
        names(server, work)
        floods(server)
        crowd(server)
        watched(server)
        slow(server)
        writers(server, work)
        script(server, work)
        tried("after all that", server.alive(), f"it answers; {server.memory():.0f} MB")
        begun = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(20)
        tried("SIGTERM", code == 0, f"ends with {code} in {time.monotonic() - begun:.1f} s")
    finally:
        server.process.kill()
    width = max(len(what) for what, _, _ in rows)
    for what, result, verdict in rows:
        print(f"{what:{min(width, 60)}}  {result}  {verdict}".rstrip())
    print(f"{len(rows) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
