#!/usr/bin/env python3
"""A daemon and a whole market in one process: thousands of offers, and as many machines as are rented.

    crowd.py --port 18465 --offers 5000 --worker .build/release/deml-worker --root /tmp/crowd

For what real daemons on one computer cannot be: large. It answers what a requestor sees of the REST and the GSB interface;
machines are folders in which the real worker runs. GET /_stats tells what was asked and what is left."""
import argparse
import asyncio
import base64
import hashlib
import json
import random
import shutil
import time
import uuid
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path

import uvloop
from aiohttp import WSMsgType, web
from flatbuffers import flexbuffers

PLATFORM = "erc20-hoodi-tglm"
CHUNK = 40960


def now():
    return datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def answer(value, status=200):
    return web.json_response(value, status=status)


def gone(message="not found", status=404):
    return answer({"message": message}, status)


def timeout_of(request):
    return float(request.query.get("timeout", "0"))


class Feed:
    """Events that are waited for: taken once, or read from a time on."""

    def __init__(self, items=()):
        self.items = list(items)
        self.changed = asyncio.Condition()

    async def put(self, *items):
        async with self.changed:
            self.items += items
            self.changed.notify_all()

    async def wait(self, find, timeout):
        end = time.monotonic() + timeout
        async with self.changed:
            while not (found := find()):
                left = end - time.monotonic()
                if left <= 0:
                    return []
                try:
                    await asyncio.wait_for(self.changed.wait(), left)
                except asyncio.TimeoutError:
                    return []
            return found

    async def take(self, timeout, most):
        def first():
            found, self.items = self.items[:most], self.items[most:]
            return found
        return await self.wait(first, timeout)

    async def after(self, since, timeout, most=100):
        return await self.wait(lambda: [e for e in self.items if e["eventDate"] > since][:most], timeout)


class Crowd:
    def __init__(self, arguments):
        self.a = arguments
        self.random = random.Random(1)
        self.root = Path(arguments.root)
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)
        self.offers = [self.offer(i) for i in range(arguments.offers)]
        self.silent = {i for i in range(arguments.offers) if self.random.random() < arguments.silent}
        self.demands, self.scans, self.proposals = {}, {}, {}
        self.agreements, self.activities, self.allocations, self.bills, self.services = {}, {}, {}, {}, {}
        self.invoices, self.notes, self.ends = Feed(), Feed(), Feed()
        self.workers = asyncio.Semaphore(2)
        self.last = 0
        self.open = self.most_open = self.rejects = self.worked = self.told_again = 0
        self.most_services = 0

    def name(self, kind):
        self.last += 1
        return f"{kind}{self.last:08d}"

    def offer(self, i):
        factor = self.random.lognormvariate(0, self.a.spread) if self.a.spread else 1 + i * 5e-5
        price = [2e-5 * factor, 3e-5 * factor, 0.0] if self.random.random() >= self.a.dear else [1.0, 1.0, 9.0]
        return {
            "golem.activity.caps.transfer.protocol": ["http", "https", "gftp"],
            "golem.com.payment.debit-notes.accept-timeout?": 240,
            f"golem.com.payment.platform.{PLATFORM}.address": f"0x{i:040x}",
            "golem.com.payment.protocol.version": 3, "golem.com.pricing.model": "linear",
            "golem.com.pricing.model.linear.coeffs": price, "golem.com.scheme": "payu",
            "golem.com.usage.vector": ["golem.usage.duration_sec", "golem.usage.cpu_sec"],
            "golem.inf.cpu.architecture": "x86_64", "golem.inf.cpu.brand": "Crowded CPU " * 4,
            "golem.inf.cpu.capabilities": ["sse3", "avx", "avx2"] * 12,
            "golem.inf.cpu.cores": 2, "golem.inf.cpu.threads": 2,
            "golem.inf.mem.gib": 4.0, "golem.inf.storage.gib": 20.0, "golem.node.debug.subnet": "public",
            "golem.node.id.name": f"crowd-{i}", "golem.node.net.is-public": True,
            "golem.runtime.capabilities": ["inet", "vpn", "manifest-support", "start-entrypoint"],
            "golem.runtime.name": "vm", "golem.runtime.version": "0.5.3", "golem.srv.caps.multi-activity": True,
        }

    # Market

    def proposal(self, i, state, previous=None, price=None):
        name = self.name("R-prop")
        self.proposals[name] = i
        proposal = {"proposalId": name, "issuerId": f"0x{i:040x}", "state": state, "constraints": "()",
                    "properties": self.offers[i], "timestamp": now()}
        if price:
            proposal["properties"] = self.offers[i] | {"golem.com.pricing.model.linear.coeffs": price}
        if previous:
            proposal["prevProposalId"] = previous
        return {"eventType": "ProposalEvent", "eventDate": now(), "proposal": proposal}

    async def subscribe(self, request):
        name = self.name("demand")
        order = list(range(self.a.offers))
        self.random.shuffle(order)
        offers = [(i, None) for i in order]
        if self.a.twin:
            # A second, later offer of every node.
            offers += [(i, [float(x) for x in self.a.twin.split(",")]) for i in order]
        self.demands[name] = Feed(offers)
        return answer(name, 201)

    async def unsubscribe(self, request):
        return answer(None) if self.demands.pop(request.match_info["id"], None) else gone()

    async def demand_events(self, request):
        feed = self.demands.get(request.match_info["id"])
        if feed is None:
            return gone()
        events = await feed.take(timeout_of(request), int(request.query.get("maxEvents", "10")))
        return answer([self.proposal(e[0], "Initial", price=e[1]) if isinstance(e, tuple) else e for e in events])

    async def counter(self, request):
        feed = self.demands.get(request.match_info["id"])
        if feed is None:
            return gone()
        i, ours = self.proposals[request.match_info["proposal"]], self.name("P-ours")
        self.proposals[ours] = i

        async def reply():
            await asyncio.sleep(self.a.latency * (0.5 + self.random.random()))
            await feed.put(self.proposal(i, "Draft", ours))
        if i not in self.silent:
            asyncio.create_task(reply())
        return answer(ours)

    async def reject_proposal(self, request):
        self.rejects += 1
        return web.Response(status=204)

    async def create_agreement(self, request):
        name = self.name("agreement")
        proposal = (await request.json())["proposalId"]
        self.agreements[name] = {"provider": self.proposals[proposal], "state": "Proposal", "activities": []}
        return answer(name)

    async def confirm(self, request):
        self.agreements[request.match_info["id"]]["state"] = "Approved"
        return web.Response(status=204)

    async def wait_agreement(self, request):
        await asyncio.sleep(self.a.latency)
        return web.Response(status=204)

    async def agreement(self, request):
        name = request.match_info["id"]
        one = self.agreements[name]
        return answer({"agreementId": name, "state": one["state"], "demand": {"properties": {}},
                       "offer": {"providerId": f"0x{one['provider']:040x}", "properties": self.offers[one["provider"]]}})

    async def terminate(self, request):
        name = request.match_info["id"]
        one = self.agreements[name]
        if one["state"] == "Terminated":
            return gone("over", 410)
        one["state"] = "Terminated"
        for activity in one["activities"]:
            self.end(self.activities[activity])
        await self.bill(name)
        return answer(None)

    async def cancel(self, request):
        self.agreements[request.match_info["id"]]["state"] = "Cancelled"
        return answer(None)

    async def agreement_events(self, request):
        return answer(await self.ends.after(request.query.get("afterTimestamp", ""), timeout_of(request)))

    async def begin_scan(self, request):
        name = self.name("scan")
        self.scans[name] = Feed(range(self.a.offers))
        return answer(name)

    async def scan_events(self, request):
        found = await self.scans[request.match_info["id"]].take(
            timeout_of(request), int(request.query.get("maxEvents", "10")))
        return answer([{"offerId": f"o{i}", "providerId": f"0x{i:040x}", "properties": self.offers[i], "timestamp": now()}
                       for i in found])

    async def end_scan(self, request):
        self.scans.pop(request.match_info["id"], None)
        return answer(None)

    # Activities

    async def create_activity(self, request):
        agreement, name = (await request.json())["agreementId"], self.name("activity")
        self.activities[name] = {"agreement": agreement, "start": time.time(), "end": None, "cpu": 0.0, "batches": {},
                                 "folder": self.root / name}
        self.agreements[agreement]["activities"].append(name)
        return answer({"activityId": name})

    async def list_activities(self, request):
        return answer(self.agreements.get(request.query.get("agreementId"), {}).get("activities", []))

    def alive(self, request):
        activity = self.activities.get(request.match_info["id"])
        return activity if activity and activity["end"] is None else None

    async def execute(self, request):
        activity = self.alive(request)
        if activity is None:
            return gone("GSB error: endpoint address not found", 500)
        name = self.name("batch")
        batch = activity["batches"][name] = {"results": Feed(), "done": False}
        asyncio.create_task(self.run_batch(activity, batch, json.loads((await request.json())["text"])))
        return answer(name)

    async def results(self, request):
        activity = self.alive(request)
        if activity is None:
            return gone("GSB error: endpoint address not found", 500)
        batch = activity["batches"][request.match_info["batch"]]
        if "event-stream" in request.headers.get("Accept", ""):
            # Nothing is shown live; the stream stays open as a real one does.
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            await batch["results"].wait(lambda: batch["done"], 600)
            return response
        wanted = request.query.get("commandIndex")
        if wanted is None:
            await batch["results"].wait(lambda: batch["done"], timeout_of(request))
            return answer(batch["results"].items)
        known = batch["results"].items
        if not await batch["results"].wait(lambda: batch["done"] or len(known) > int(wanted), timeout_of(request)):
            return gone("Timeout", 408)
        return answer(known[:int(wanted) + 1])

    async def run_batch(self, activity, batch, script):
        for index, command in enumerate(script):
            (kind, words), = command.items()
            output, message = "", None
            try:
                if kind == "transfer":
                    await self.transfer(activity["folder"], words["from"], words["to"])
                elif kind == "run":
                    output = await self.work(activity, words["args"])
            except Exception as error:
                message = f"{type(error).__name__}: {error}"
            batch["done"] = message is not None or index == len(script) - 1
            await batch["results"].put({
                "index": index, "result": "Error" if message else "Ok", "stdout": output, "stderr": None,
                "message": message, "isBatchFinished": batch["done"], "eventDate": now()})
            if message:
                print("batch failed:", message, flush=True)
                return

    async def work(self, activity, words):
        folder = activity["folder"]
        (folder / "golem/output").mkdir(parents=True, exist_ok=True)
        known = self.a.answers and self.question(folder, words)
        if known and known.exists():
            job = json.loads(words[1])
            for name in ("output", "report"):
                shutil.copyfile(known / name, folder / job[name].lstrip("/"))
            self.told_again += 1
            return ""
        self.worked += 1
        async with self.workers:
            begun = time.time()
            process = await asyncio.create_subprocess_exec(
                # Paths stand by themselves or in a job's JSON.
                self.a.worker, *[w.replace("/golem/", f"{folder}/golem/") for w in words], stdout=-1, stderr=-1)
            output, errors = await process.communicate()
            activity["cpu"] += time.time() - begun
        if process.returncode:
            raise RuntimeError(f"ExeScript command exited with code {process.returncode}: {errors.decode()[-300:]}")
        if known:
            job, part = json.loads(words[1]), known.with_name(uuid.uuid4().hex)
            part.mkdir(parents=True)
            for name in ("output", "report"):
                shutil.copyfile(folder / job[name].lstrip("/"), part / name)
            if not known.exists():
                part.rename(known)
        return output.decode()

    def question(self, folder, words):
        """Where the answer to a job lies, once a worker has given it: named after all that it depends on."""
        if words[:1] != ["run"]:
            return None
        job = json.loads(words[1])
        inputs = {}
        for role, file in job["inputs"].items():
            path = folder / file["file"].lstrip("/")
            inputs[role] = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None
            if inputs[role] != file.get("sha256"):
                return None     # the worker will refuse it
        if "output" not in job or "state" in job:
            return None
        question = [job["kind"], job.get("options"), job.get("form"), inputs]
        return Path(self.a.answers) / hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()

    async def state(self, request):
        return answer({"state": ["Ready" if self.alive(request) else "Terminated", None]})

    async def usage(self, request):
        activity = self.activities[request.match_info["id"]]
        return answer({"currentUsage": [time.time() - activity["start"], activity["cpu"]], "timestamp": int(time.time())})

    def end(self, activity):
        if activity["end"] is None:
            activity["end"] = time.time()
            shutil.rmtree(activity["folder"], ignore_errors=True)

    async def destroy(self, request):
        if activity := self.alive(request):
            self.end(activity)
        return answer(None)

    # Files over the bus

    async def bind(self, request):
        address = (await request.json())["listen"]["on"]
        self.most_services = max(self.most_services, len(self.services) + 1)
        self.services[address] = {"socket": None, "ready": asyncio.Event(), "asked": {}}
        return answer({"servicesId": base64.urlsafe_b64encode(address.encode()).decode().rstrip("=")}, 201)

    def address(self, request):
        text = request.match_info["id"]
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()

    async def unbind(self, request):
        service = self.services.pop(self.address(request), None)
        if service and service["socket"]:
            await service["socket"].close()
        return answer(None)

    async def socket(self, request):
        service = self.services[self.address(request)]
        socket = service["socket"] = web.WebSocketResponse(protocols=["gsb+flexbuffers"], max_msg_size=1 << 24)
        await socket.prepare(request)
        service["ready"].set()
        async for message in socket:
            if message.type == WSMsgType.BINARY:
                reply = flexbuffers.Loads(message.data)
                asked = service["asked"].pop(reply["id"], None)
                if asked and not asked.done():
                    asked.set_result(reply)
        return socket

    async def ask(self, url, component, payload):
        service = self.services["/public/gftp/" + url.rpartition("/")[2]]
        await asyncio.wait_for(service["ready"].wait(), 20)
        name = uuid.uuid4().hex
        reply = service["asked"][name] = asyncio.get_running_loop().create_future()
        await service["socket"].send_bytes(
            bytes(flexbuffers.Dumps({"id": name, "component": component, "payload": payload})))
        reply = await asyncio.wait_for(reply, 60)
        if "error" in reply:
            raise RuntimeError(f"{component}: {reply['error']}")
        return reply.get("payload")

    async def transfer(self, folder, source, target):
        if source.startswith("container:"):
            data = (folder / source[10:].lstrip("/")).read_bytes()
            for offset in range(0, len(data), CHUNK):
                chunk = {"offset": offset, "content": data[offset:offset + CHUNK]}
                await self.ask(target, "UploadChunk", {"chunk": chunk})
            await self.ask(target, "UploadFinished", {"hash": hashlib.sha3_256(data).hexdigest()})
            return
        size = (await self.ask(source, "GetMetadata", None))["fileSize"]
        data = bytearray()
        while len(data) < size:
            part = await self.ask(source, "GetChunk", {"offset": len(data), "size": min(CHUNK, size - len(data))})
            data += bytes(part["content"])
        path = folder / target[10:].lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    # Money

    async def bill(self, agreement):
        one = self.agreements[agreement]
        price = self.offers[one["provider"]]["golem.com.pricing.model.linear.coeffs"]
        amount = sum((Decimal(repr(price[0] * (x["end"] - x["start"]) + price[1] * x["cpu"]))
                      for x in map(self.activities.get, one["activities"])), Decimal(0))
        name = self.name("invoice")
        self.bills[name] = {"invoiceId": name, "agreementId": agreement, "amount": f"{amount:.18f}", "status": "RECEIVED",
                            "issuerId": f"0x{one['provider']:040x}", "paymentPlatform": PLATFORM,
                            "activityIds": one["activities"]}
        await self.invoices.put({"eventType": "InvoiceReceivedEvent", "invoiceId": name, "eventDate": now()})

    async def allocate(self, request):
        body, name = await request.json(), str(uuid.uuid4())
        self.allocations[name] = {"allocationId": name, "totalAmount": body["totalAmount"], "spentAmount": "0",
                                  "remainingAmount": body["totalAmount"], "address": "0xme", "paymentPlatform": PLATFORM,
                                  "timeout": body.get("timeout")}
        return answer(self.allocations[name], 201)

    async def allocation(self, request):
        one = self.allocations.get(request.match_info["id"])
        return answer(one) if one else gone()

    async def release(self, request):
        return answer(None) if self.allocations.pop(request.match_info["id"], None) else gone("gone", 410)

    async def read_bill(self, request):
        one = self.bills.get(request.match_info["id"])
        return answer(one) if one else gone()

    async def accept(self, request):
        if (await request.json())["allocationId"] not in self.allocations:
            return gone("no such allocation", 400)
        self.bills[request.match_info["id"]]["status"] = "ACCEPTED"
        return answer(None)

    async def reject(self, request):
        self.bills[request.match_info["id"]]["status"] = "REJECTED"
        return gone("not implemented", 501)

    async def events(self, request, feed):
        return answer(await feed.after(request.query.get("afterTimestamp", ""), timeout_of(request)))

    # The whole

    @web.middleware
    async def count(self, request, handler):
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            return await handler(request)
        finally:
            self.open -= 1

    async def stats(self, request):
        statuses = {}
        for bill in self.bills.values():
            statuses[bill["status"]] = statuses.get(bill["status"], 0) + 1
        rented = sorted(self.offers[one["provider"]]["golem.com.pricing.model.linear.coeffs"][0]
                        for one in self.agreements.values() if one["activities"])
        return answer({
            "most_open": self.most_open, "most_services": self.most_services, "worked": self.worked,
            "told_again": self.told_again, "rejects": self.rejects, "agreements": len(self.agreements),
            "activities": len(self.activities), "bills": statuses, "rented_prices": rented,
            "prices": sorted(o["golem.com.pricing.model.linear.coeffs"][0] for o in self.offers),
            "left": {"allocations": len(self.allocations), "demands": len(self.demands), "services": len(self.services),
                     "agreements": sum(one["state"] == "Approved" for one in self.agreements.values()),
                     "activities": sum(one["end"] is None for one in self.activities.values())}})

    def application(self):
        def constant(value):
            async def handler(request):
                return answer(value)
            return handler

        market, payment = "/market-api/v1", "/payment-api/v1"
        activity, bus = "/activity-api/v1/activity", "/gsb-api/v1/services"
        app = web.Application(middlewares=[self.count], client_max_size=1 << 26)
        decorations = {"properties": [{"key": f"golem.com.payment.platform.{PLATFORM}.address", "value": "0xme"}],
                       "constraints": ["(golem.com.payment.protocol.version>1)"]}
        app.add_routes([
            web.get("/me", constant({"identity": "0x" + "f" * 40, "name": "me", "role": "manager"})),
            web.get("/version/get", constant({"current": {"version": "0.17.6"}})),
            web.get("/_stats", self.stats),
            web.post(market + "/demands", self.subscribe), web.get(market + "/demands", constant([])),
            web.delete(market + "/demands/{id}", self.unsubscribe),
            web.get(market + "/demands/{id}/events", self.demand_events),
            web.post(market + "/demands/{id}/proposals/{proposal}", self.counter),
            web.post(market + "/demands/{id}/proposals/{proposal}/reject", self.reject_proposal),
            web.post(market + "/agreements", self.create_agreement),
            web.get(market + "/agreements/{id}", self.agreement),
            web.post(market + "/agreements/{id}/confirm", self.confirm),
            web.post(market + "/agreements/{id}/wait", self.wait_agreement),
            web.post(market + "/agreements/{id}/terminate", self.terminate),
            web.post(market + "/agreements/{id}/cancel", self.cancel),
            web.get(market + "/agreementEvents", self.agreement_events),
            web.post(market + "/scan", self.begin_scan), web.get(market + "/scan/{id}/events", self.scan_events),
            web.delete(market + "/scan/{id}", self.end_scan),
            web.post(activity, self.create_activity), web.get(activity, self.list_activities),
            web.post(activity + "/{id}/exec", self.execute), web.get(activity + "/{id}/exec/{batch}", self.results),
            web.get(activity + "/{id}/state", self.state), web.get(activity + "/{id}/usage", self.usage),
            web.delete(activity + "/{id}", self.destroy),
            web.post(bus, self.bind), web.delete(bus + "/{id}", self.unbind), web.get(bus + "/{id}", self.socket),
            web.post(payment + "/allocations", self.allocate),
            web.get(payment + "/allocations", lambda r: constant(list(self.allocations.values()))(r)),
            web.get(payment + "/allocations/{id}", self.allocation),
            web.put(payment + "/allocations/{id}", self.allocation),
            web.delete(payment + "/allocations/{id}", self.release),
            web.get(payment + "/demandDecorations", constant(decorations)),
            web.get(payment + "/invoiceEvents", lambda r: self.events(r, self.invoices)),
            web.get(payment + "/debitNoteEvents", lambda r: self.events(r, self.notes)),
            web.get(payment + "/invoices", lambda r: constant(list(self.bills.values()))(r)),
            web.get(payment + "/debitNotes", constant([])),
            web.get(payment + "/invoices/{id}", self.read_bill),
            web.post(payment + "/invoices/{id}/accept", self.accept),
            web.post(payment + "/invoices/{id}/reject", self.reject),
            web.get(payment + "/payments/status", constant([])),
            web.get(payment + "/requestorAccounts", constant([])),
        ])
        return app


async def application(arguments):
    return Crowd(arguments).application()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=18465)
    parser.add_argument("--offers", type=int, default=100)
    parser.add_argument("--silent", type=float, default=0.0, help="share of providers that never answer a proposal")
    parser.add_argument("--dear", type=float, default=0.0, help="share of offers above any limit")
    parser.add_argument("--spread", type=float, default=0.0, help="sigma of log-normal prices")
    parser.add_argument("--twin", default="", help="prices of a second offer that every node makes after the first")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before a provider answers, about")
    parser.add_argument("--worker", required=True)
    parser.add_argument("--answers", default="", help="a folder: what the worker once answered is given again for the same job, "
                        "so that a thousand machines do not share two processors")
    parser.add_argument("--root", required=True)
    given = parser.parse_args()
    web.run_app(application(given), host="127.0.0.1", port=given.port, print=None, access_log=None, shutdown_timeout=1,
                backlog=2048, loop=uvloop.new_event_loop())     # as the real daemon's server
