#!/usr/bin/env python3
"""One rental over plain REST, no Swift in it: does the network behave as a real provider and its guest do?

    up --providers 1 --exec "…/python rental.py"        exits 0 when every check holds, prints what it saw
"""
import asyncio
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote

import aiohttp

from gftp import Gftp

HERE = Path(__file__).resolve().parent
API, KEY, SUBNET = (os.environ[k] for k in ("YAGNA_API_URL", "YAGNA_APPKEY", "YAGNA_SUBNET"))
PLATFORM = f"erc20-{os.environ['YAGNA_PAYMENT_NETWORK']}-tglm"
PROGRAMS = ["/bin/sh", "/usr/bin/env", "/bin/cat", "/bin/ls", "/usr/bin/sha256sum", "/usr/bin/head", "/usr/bin/id"]
start, failed = time.time(), []


def iso(seconds):
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def check(what, holds, seen=""):
    print(f"{time.time() - start:7.3f} {'ok  ' if holds else 'FAIL'} {what}", "" if holds else repr(seen), flush=True)
    if not holds:
        failed.append(what)


class Api:
    def __init__(self):
        self.s = aiohttp.ClientSession(headers={"Authorization": "Bearer " + KEY})

    async def __call__(self, method, path, body=None, **q):
        url = API + path + ("?" + "&".join(f"{k}={quote(str(v))}" for k, v in q.items()) if q else "")
        async with self.s.request(method, url, json=body) as r:
            text = await r.text()
            if r.status >= 400:
                raise RuntimeError(f"{method} {path}: {r.status} {text}")
            return json.loads(text) if text else None


async def agree(api, package, allocation, **changes):
    """Demand, negotiation, agreement, activity. Returns (demand, agreement, activity)."""
    extra = await api("GET", "/payment-api/v1/demandDecorations", allocationIds=allocation)
    properties = {
        "golem.srv.comp.expiration": int((time.time() + 7200) * 1000),
        "golem.srv.caps.multi-activity": True,
        "golem.srv.comp.task_package": package,
        "golem.srv.comp.vm.package_format": "gvmkit-squash",
        "golem.node.debug.subnet": SUBNET,
        "golem.com.payment.chosen-platform": PLATFORM,
        "golem.com.payment.debit-notes.accept-timeout?": 120,
        "golem.com.scheme.payu.debit-note.interval-sec?": 120,
        "golem.com.scheme.payu.payment-timeout-sec?": 120,
        **{d["key"]: d["value"] for d in extra["properties"]}, **changes}
    constraints = "(&" + "".join([f"(golem.node.debug.subnet={SUBNET})", "(golem.runtime.name=vm)",
                                  *extra["constraints"]]) + ")"
    body = {"properties": properties, "constraints": constraints}
    demand = await api("POST", "/market-api/v1/demands", body)
    draft = None
    while not draft:
        for e in await api("GET", f"/market-api/v1/demands/{demand}/events", timeout=10, maxEvents=10):
            if e["eventType"] == "ProposalRejectedEvent":
                await api("DELETE", f"/market-api/v1/demands/{demand}")
                raise RuntimeError(e["reason"]["message"])
            if e["proposal"]["state"] == "Initial":
                await api("POST", f"/market-api/v1/demands/{demand}/proposals/{e['proposal']['proposalId']}", body)
            else:
                draft = e["proposal"]["proposalId"]
    agreement = await api("POST", "/market-api/v1/agreements", {"proposalId": draft, "validTo": iso(60)})
    await api("POST", f"/market-api/v1/agreements/{agreement}/confirm", appSessionId="rental")
    await api("POST", f"/market-api/v1/agreements/{agreement}/wait", timeout=15)
    activity = await api("POST", "/activity-api/v1/activity", {"agreementId": agreement}, timeout=30)
    return demand, agreement, activity["activityId"]


async def batch(api, activity, *script):
    bid = await api("POST", f"/activity-api/v1/activity/{activity}/exec", {"text": json.dumps(script)}, timeout=10)
    while True:
        found = await api("GET", f"/activity-api/v1/activity/{activity}/exec/{bid}", timeout=10)
        if found and found[-1]["isBatchFinished"]:
            return found


def run(program, *arguments):
    stream = {"stream": {}}
    return {"run": {"entry_point": program, "args": list(arguments), "capture": {"stdout": stream, "stderr": stream}}}


def sh(text):
    return run("/bin/sh", "-c", text)


async def guest(api, activity, files):
    """What a program in the guest finds, against what provider-image.md says of the real one."""
    async def out(command):
        return (await batch(api, activity, command))[-1]

    async def text(command):
        found = await out(sh(command))
        return (found["stdout"] or "") if found["result"] == "Ok" else found

    found = await out(run("/bin/cat", "/proc/self/environ"))
    check("no environment", found["result"] == "Ok" and not found["stdout"], found)
    check("nothing on stdin", await text("cat") == "")
    check("working folder of the image", await text("pwd") == "/golem/work\n")
    devices = await text("cat /proc/net/dev")
    check("no network but lo", [x.split(":")[0].strip() for x in devices.splitlines()[2:]] in ([], ["lo"]), devices)
    check("root of the image, nothing of the host", await text("ls /") ==
          "bin\ndev\netc\ngolem\nlib\nlib64\nproc\nsys\ntmp\nusr\n", await text("ls /"))
    check("no process of the host", len((await text("cd /proc; echo [0-9]*")).split()) <= 2)
    check("root", await text("id -u") == "0\n")
    check("the root keeps what was written", await text("echo a >/etc/x; cat /etc/x") == "a\n" == await text("cat /etc/x"))
    found = await out(sh("head -c 2300 /dev/zero"))
    check("2300 bytes of output arrive", len(found["stdout"]) == 2300)
    found = await out(sh("head -c 460000 /dev/zero"))
    check("output is one ring at the end", len(found["stdout"]) < 460000, len(found["stdout"]))
    found = await out(sh("echo bad >&2; exit 65"))
    check("exit code", found["message"].endswith("code 65") and found["stderr"] == "bad\n", found)
    found = await out(sh("kill -11 $$"))
    check("a signal is a bare number", found["message"].endswith("code 11"), found)
    found = await out(run("/usr/local/bin/nothing"))
    check("a missing program is 9", found["message"].endswith("code 9"), found)
    found = await out(run("sh"))
    check("no search in PATH", found["message"].endswith("code 9"), found)

    data = os.urandom(1 << 21)
    url = await files.publish_bytes(data)
    path = Path(tempfile.mkdtemp()) / "back"
    target, done = await files.receive_file(path)
    before = time.time()
    found = await batch(api, activity, {"transfer": {"from": url, "to": "container:/golem/input/a"}},
                        sh("cat /golem/input/a >/golem/output/b; ls -l /golem/input"),
                        {"transfer": {"from": "container:/golem/output/b", "to": target}})
    check(f"2 MiB in and out in {time.time() - before:.2f} s", path.read_bytes() == data, found)
    check("uploads are not executable", found[1]["stdout"].splitlines()[1].startswith("-rw-r--r--"), found)
    digests = await done
    check("announced hash is SHA3-256", digests[0] == digests[1] == hashlib.sha3_256(data).hexdigest())
    found = (await batch(api, activity, {"transfer": {"from": url, "to": "container:/tmp/a"}}))[-1]
    check("transfers reach volumes only", "path not found in container" in (found["message"] or ""), found)
    found = (await batch(api, activity, {"deploy": {}}))[-1]
    check("no second deploy", "not allowed in state Ready" in (found["message"] or ""), found)


async def main():
    api = Api()
    folder = Path(tempfile.mkdtemp())
    image = folder / "guest.gvmi"
    subprocess.run([HERE / "pack", image, *PROGRAMS], check=True)
    digest = hashlib.sha3_224(image.read_bytes()).hexdigest()
    allocation = (await api("POST", "/payment-api/v1/allocations", {
        "totalAmount": "1", "paymentPlatform": PLATFORM, "makeDeposit": False, "timeout": iso(3600)}))["allocationId"]
    async with Gftp(API, KEY) as files:
        url = await files.publish_file(image)
        package = f"hash:sha3:{digest}:{url}"
        try:
            await agree(api, package, allocation, **{"golem.com.payment.debit-notes.accept-timeout?": 500})
            check("accept-timeout above the provider's is refused", False)
        except RuntimeError as e:
            check("accept-timeout above the provider's is refused", "DebitNote acceptance" in str(e), e)
        bad = await agree(api, f"hash:sha3:{'0' * 56}:{url}", allocation)
        found = await batch(api, bad[2], {"deploy": {}}, {"start": {"args": []}})
        check("a wrong hash stops the deployment", "Hash mismatch" in found[-1]["message"] and len(found) == 1, found)
        await end(api, bad, allocation)
        good = await agree(api, package, allocation)
        before = time.time()
        found = await batch(api, good[2], {"deploy": {}}, {"start": {"args": []}})
        check(f"deploy and start in {time.time() - before:.2f} s", [x["result"] for x in found] == ["Ok", "Ok"], found)
        check("volumes are told", "/golem/output" in (found[0]["stdout"] or ""), found)
        await guest(api, good[2], files)
        await end(api, good, allocation, settle=True)
    await api("DELETE", f"/payment-api/v1/allocations/{allocation}")
    await api.s.close()
    print(f"{len(failed)} failed" if failed else "all hold", flush=True)
    sys.exit(1 if failed else 0)


async def end(api, rental, allocation, settle=False):
    demand, agreement, activity = rental
    await api("DELETE", f"/activity-api/v1/activity/{activity}", timeout=15)
    await api("POST", f"/market-api/v1/agreements/{agreement}/terminate", {"message": "Finished"})
    await api("DELETE", f"/market-api/v1/demands/{demand}")
    invoice, limit = None, time.time() + 60
    while not invoice and time.time() < limit:
        await asyncio.sleep(0.2)
        invoice = next((i for i in await api("GET", "/payment-api/v1/invoices") if i["agreementId"] == agreement), None)
    path = f"/payment-api/v1/invoices/{invoice['invoiceId']}"
    await api("POST", path + "/accept", {"totalAmountAccepted": invoice["amount"], "allocationId": allocation}, timeout=10)
    while settle and (await api("GET", path))["status"] != "SETTLED" and time.time() < limit:
        await asyncio.sleep(0.5)
    if settle:
        check("the invoice is settled", (await api("GET", path))["status"] == "SETTLED")


if __name__ == "__main__":
    asyncio.run(main())
