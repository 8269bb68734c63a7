#!/usr/bin/env python3
"""A provider agent for tests: real yagna daemon, emulated exe-unit, faults to order (see faults.py and --help)."""
import argparse
import asyncio
import json
import os
import signal
import time
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import aiohttp

import faults
from exeunit import ExeUnit, iso, now
from gsb import Gsb
from image import Cache

USAGE = ["golem.usage.duration_sec", "golem.usage.cpu_sec"]
ACCEPT = "golem.com.payment.debit-notes.accept-timeout?"
INTERVAL = "golem.com.scheme.payu.debit-note.interval-sec?"
PAY_TIMEOUT = "golem.com.scheme.payu.payment-timeout-sec?"


class Api:
    """The daemon's REST interface."""

    def __init__(self, url, key):
        self.url = url
        self.session = aiohttp.ClientSession(headers={"Authorization": "Bearer " + key}, trust_env=False,
                                             timeout=aiohttp.ClientTimeout(total=None))

    async def __call__(self, method, path, body=None, ok=True, **query):
        q = "&".join(f"{k}={quote(str(v))}" for k, v in query.items() if v is not None)
        async with self.session.request(method, self.url + path + ("?" + q if q else ""), json=body) as reply:
            text = await reply.text()
            if ok and reply.status >= 400:
                raise RuntimeError(f"{method} {path}: {reply.status} {text}")
            try:
                return json.loads(text) if text else None
            except ValueError:
                return text


class Agreement:
    def __init__(self, a, note_every):
        self.id = a["agreementId"]
        self.offer, self.demand = a["offer"]["properties"], a["demand"]["properties"]
        self.activities, self.costs, self.deadlines = {}, {}, {}
        self.last_activity = time.time()
        self.over = False
        self.coeffs = self.offer["golem.com.pricing.model.linear.coeffs"]
        self.interval = note_every or self.demand.get(INTERVAL) or self.offer.get(INTERVAL) or 120
        self.accept_timeout = self.demand.get(ACCEPT)

    def cost(self, unit):
        """Coefficients times usage, the last one fixed."""
        return sum(c * x for c, x in zip(self.coeffs, unit.usage())) + self.coeffs[-1]


class Provider:
    def __init__(self, a):
        self.a = a
        self.agreements, self.units = {}, {}
        self.subscription = None
        self.session = f"testnet-{os.getpid()}"
        self.faults = faults.Faults(a)
        self.cache = Cache(Path(a.workdir) / "images")

    def log(self, *x):
        print(datetime.now().strftime("%H:%M:%S.%f")[:-3], f"<{self.a.name}>", *x, flush=True)

    def properties(self):
        a = self.a
        return {
            "golem.activity.caps.transfer.protocol": ["http", "https", "gftp"],
            "golem.activity.caps.transfer.report-progress": True,
            "golem.activity.caps.deploy.report-progress": True,
            ACCEPT: a.accept_timeout,
            f"golem.com.payment.platform.{a.platform}.address": self.me,
            "golem.com.payment.protocol.version": 3,
            "golem.com.pricing.model": "linear",
            "golem.com.pricing.model.linear.coeffs": a.prices,
            "golem.com.scheme": "payu",
            INTERVAL: a.debit_interval,
            PAY_TIMEOUT: 120,
            "golem.com.usage.vector": USAGE,
            "golem.inf.cpu.architecture": "x86_64",
            "golem.inf.cpu.brand": "Testnet CPU",
            "golem.inf.cpu.capabilities": ["sse3", "avx", "avx2"],
            "golem.inf.cpu.cores": a.cores,
            "golem.inf.cpu.model": "Stepping 1 Family 6 Model 85",
            "golem.inf.cpu.threads": a.cores,
            "golem.inf.cpu.vendor": "GenuineIntel",
            "golem.inf.mem.gib": a.mem,
            "golem.inf.storage.gib": a.storage,
            "golem.node.debug.subnet": a.subnet,
            "golem.node.id.name": a.name,
            "golem.node.net.is-public": False,
            "golem.runtime.capabilities": ["inet", "vpn", "manifest-support", "start-entrypoint"],
            "golem.runtime.name": a.runtime,
            "golem.runtime.version": "0.5.3",
            "golem.srv.caps.multi-activity": True,
            "golem.srv.caps.payload-manifest": True,
        }

    async def run(self):
        self.api = Api(self.a.api_url, self.a.appkey)
        for _ in range(200):
            try:
                self.me = (await self.api("GET", "/me"))["identity"]
                break
            except Exception:
                await asyncio.sleep(0.1)
        self.since = iso()
        await self.publish()
        self.log(f"ready node={self.me} subnet={self.a.subnet}")
        loops = [self.market(), self.agreement_events(), self.activity_events(), self.billing(),
                 self.payment_events("invoiceEvents"), self.payment_events("debitNoteEvents")]
        tasks = [asyncio.create_task(loop) for loop in loops]
        try:
            await asyncio.gather(*tasks)
        except Exception as e:
            self.log("agent ends:", repr(e))
            raise
        finally:
            for task in tasks:
                task.cancel()

    # -------------------------------------------------------------- market
    async def publish(self):
        if self.subscription:
            await self.api("DELETE", f"/market-api/v1/offers/{self.subscription}", ok=False)
        self.offer = self.properties()
        self.constraints = (f"(&\n  (golem.srv.comp.expiration>{int(time.time() * 1000)})\n"
                            f"  (golem.node.debug.subnet={self.a.subnet})\n)")
        self.subscription = await self.api("POST", "/market-api/v1/offers",
                                           {"properties": self.offer, "constraints": self.constraints})

    def busy(self):
        return sum(not g.over for g in self.agreements.values()) >= self.a.max_agreements

    async def market(self):
        while True:
            subscription = self.subscription
            events = await self.api("GET", f"/market-api/v1/offers/{subscription}/events", ok=False, timeout=5, maxEvents=20)
            if not isinstance(events, list):
                await asyncio.sleep(0.2)
                continue
            for event in events:
                try:
                    await self.on_market(subscription, event)
                except Exception as e:
                    self.log("market:", e)

    async def on_market(self, subscription, event):
        kind = event["eventType"]
        if kind == "ProposalEvent":
            await self.on_proposal(subscription, event["proposal"])
        elif kind == "AgreementEvent":
            await self.on_agreement(event["agreement"])
        elif kind == "ProposalRejectedEvent":
            self.log("proposal rejected by requestor:", event.get("reason"))

    def objection(self, demand):
        """Why a real provider with default settings would not have this demand, or None."""
        if self.busy():
            return f"No capacity available. Reached Agreements limit: {self.a.max_agreements}"
        left = demand.get("golem.srv.comp.expiration", 0) / 1000 - time.time()
        longest = 100 * 365 * 86400 if demand.get(ACCEPT) else 30 * 60
        if not 5 * 60 <= left <= longest and not self.a.any_expiration:
            return f"Proposal expires in {left:.0f} s which is less than 5min or more than {longest} s from now"
        if left > 10 * 3600 and not demand.get(PAY_TIMEOUT):
            return "A payment timeout is needed for agreements longer than 10 h"
        if demand.get(ACCEPT) and not 5 <= demand[ACCEPT] <= self.a.accept_timeout:
            return f"DebitNote acceptance deadline should be between 5 s and {self.a.accept_timeout} s."
        if not demand.get("golem.com.payment.chosen-platform"):
            return "Missing: golem.com.payment.chosen-platform"
        if demand.get("golem.srv.comp.vm.package_format") != "gvmkit-squash":
            return "Missing: golem.srv.comp.vm.package_format"
        return None

    async def on_proposal(self, subscription, proposal):
        demand = proposal["properties"]
        path = f"/market-api/v1/offers/{subscription}/proposals/{proposal['proposalId']}"
        why = self.objection(demand)
        if why:
            self.log("reject proposal:", why)
            await self.api("POST", path + "/reject", {"message": why, "golem.proposal.rejection.is-final": False}, ok=False)
            return
        answer = dict(self.offer)
        for key in (ACCEPT, INTERVAL, PAY_TIMEOUT):
            if demand.get(key):
                answer[key] = demand[key]
            else:
                answer.pop(key, None)
        await self.api("POST", path, {"properties": answer, "constraints": self.constraints})

    async def on_agreement(self, g):
        gid = g["agreementId"]
        if self.a.reject_agreement or self.busy():
            await self.api("POST", f"/market-api/v1/agreements/{gid}/reject",
                           {"message": "Rejected by policy" if self.a.reject_agreement else "busy",
                            "golem.provider.code": "Testnet"}, ok=False)
            self.log("agreement rejected", gid[:8])
            return
        agreement = self.agreements[gid] = Agreement(g, self.a.note_every)
        try:
            await self.api("POST", f"/market-api/v1/agreements/{gid}/approve", None, appSessionId=self.session, timeout=10)
        except RuntimeError as e:        # expired or cancelled meanwhile
            del self.agreements[gid]
            self.log("approve:", e)
            await self.publish()
            return
        agreement.last_activity = time.time()
        self.log("agreement approved", gid[:8])

    async def events_of(self, path, **query):
        """All events of a kept list, each once, for ever."""
        since = self.since
        while True:
            events = await self.api("GET", path, ok=False, afterTimestamp=since, timeout=10, maxEvents=20, **query)
            if not isinstance(events, list):
                await asyncio.sleep(1)
                continue
            for event in events:
                since = event["eventDate"]
                yield event

    async def agreement_events(self):
        async for event in self.events_of("/market-api/v1/agreementEvents", appSessionId=self.session):
            if event["eventType"] == "AgreementTerminatedEvent":
                agreement = self.agreements.get(event["agreementId"])
                if agreement and not agreement.over:
                    self.log("agreement terminated by", event.get("terminator"), json.dumps(event.get("reason")))
                    asyncio.create_task(self.finish(agreement))

    async def terminate(self, agreement, code, message):
        await self.api("POST", f"/market-api/v1/agreements/{agreement.id}/terminate",
                       {"message": message, "golem.provider.code": code}, ok=False)
        self.log("terminating agreement:", code)
        await self.finish(agreement)

    async def finish(self, agreement):
        if agreement.over:
            return
        agreement.over = True
        for unit in list(agreement.activities.values()):
            if unit.state != "Terminated":
                await self.end_activity(agreement, unit, "agreement finished")
        amount = sum(agreement.costs.values()) * self.a.overbill
        if self.a.no_invoice:
            self.log("fault: no invoice")
            await self.publish()
            return
        try:
            invoice = await self.api("POST", "/payment-api/v1/invoices", {
                "agreementId": agreement.id, "activityIds": list(agreement.activities), "amount": self.a.invoice_amount or f"{amount:.18f}",
                "paymentDueDate": iso(now() + timedelta(seconds=120))})
            await self.api("POST", f"/payment-api/v1/invoices/{invoice['invoiceId']}/send", None, timeout=10)
            self.log(f"invoice sent {invoice['invoiceId'][:8]} amount {amount:.9f}")
        except Exception as e:
            self.log("invoice:", e)
        await self.publish()

    # ---------------------------------------------------------- activities
    async def activity_events(self):
        async for event in self.events_of("/activity-api/v1/events", appSessionId=self.session):
            kind = event["eventType"]
            kind = kind if isinstance(kind, str) else next(iter(kind))
            agreement = self.agreements.get(event["agreementId"])
            if agreement is None:
                continue
            if kind == "CreateActivity":
                if self.a.never_start:
                    self.log("fault: CreateActivity ignored")
                    continue
                asyncio.create_task(self.start_activity(agreement, event["activityId"]))
            elif kind == "DestroyActivity":
                unit = agreement.activities.get(event["activityId"])
                if unit:
                    asyncio.create_task(self.end_activity(agreement, unit, "destroyed by requestor"))

    async def start_activity(self, agreement, activity):
        gsb = await Gsb(self.a.gsb_url).connect()
        unit = ExeUnit(gsb, activity, agreement, self.a.workdir, self.cache, self.faults, self.a.guest, self.log)
        unit.on_crash = self.crash
        unit.note_at = time.time() + agreement.interval
        agreement.activities[activity] = self.units[activity] = unit
        agreement.last_activity = time.time()
        await unit.open()
        self.log("activity", activity[:6], "initialized")
        await unit.dead.wait()
        agreement.last_activity = time.time()
        agreement.costs[activity] = agreement.costs.get(activity) or agreement.cost(unit)

    async def end_activity(self, agreement, unit, reason):
        if unit.id in agreement.costs and unit.state == "Terminated":
            return
        cost = agreement.costs[unit.id] = agreement.cost(unit)
        await unit.close(reason)
        self.log("activity", unit.id[:6], "ended:", reason, f"cost {cost:.9f}", unit.moved)
        await self.debit(agreement, unit, cost)

    async def crash(self, unit):
        kind = self.faults.crash_kind
        self.log(f"fault: {kind} dies now")
        if kind in ("agent", "daemon"):
            if kind == "daemon":
                os.kill(self.a.daemon_pid, signal.SIGKILL)
            unit.kill()
            unit.remove()
            os._exit(1)
        self.faults.crash_after = 0      # once; the agent lives on and takes new work
        unit.agreement.costs[unit.id] = unit.agreement.cost(unit)
        await unit.vanish()
        if kind == "reported":           # what a real agent does when its child process ends
            gsb = await Gsb(self.a.gsb_url).connect()
            await gsb.call("/local/activity/SetActivityState", {
                "activityId": unit.id, "timeout": None, "credentials": None,
                "state": {"state": ["Terminated", None], "reason": "exe-unit process exited", "errorMessage": "exit code 1"}})
            await gsb.close()

    # ------------------------------------------------------------- billing
    async def billing(self):
        while True:
            await asyncio.sleep(0.5)
            for agreement in list(self.agreements.values()):
                if not agreement.over:
                    await self.bill(agreement)

    async def bill(self, agreement):
        live = [unit for unit in agreement.activities.values() if unit.state != "Terminated"]
        for unit in live:
            if time.time() >= unit.note_at:
                unit.note_at = time.time() + agreement.interval
                try:
                    await self.debit(agreement, unit, agreement.cost(unit))
                except Exception as e:
                    self.log("debit note:", e)
        if not live and time.time() - agreement.last_activity > self.a.idle:
            await self.terminate(agreement, "NoActivity", f"No activity created within {self.a.idle}s")
        if any(time.time() > end for end in agreement.deadlines.values()) and not agreement.over:
            await self.terminate(agreement, "DebitNotesDeadline",
                                 f"Requestor isn't accepting DebitNotes in time ({agreement.accept_timeout}s)")

    async def debit(self, agreement, unit, cost):
        due = cost * self.a.overbill
        note = await self.api("POST", "/payment-api/v1/debitNotes", {
            "activityId": unit.id, "totalAmountDue": f"{due:.18f}", "usageCounterVector": unit.usage()})
        nid = note["debitNoteId"]
        if agreement.accept_timeout and not agreement.over and unit.state != "Terminated":
            agreement.deadlines[nid] = time.time() + agreement.accept_timeout
        await self.api("POST", f"/payment-api/v1/debitNotes/{nid}/send", None, ok=False, timeout=10)
        self.log(f"debit note {nid[:8]} {due:.9f}")

    async def payment_events(self, what):
        async for event in self.events_of(f"/payment-api/v1/{what}"):
            if event["eventType"] == "DebitNoteAcceptedEvent":
                for agreement in self.agreements.values():
                    if event["debitNoteId"] in agreement.deadlines:
                        agreement.deadlines.clear()
            self.log(json.dumps({k: v for k, v in event.items() if k != "eventDate"}))

    async def stop(self):
        for unit in self.units.values():
            if unit.state != "Terminated":
                unit.kill()
                unit.remove()
        if self.subscription:
            await self.api("DELETE", f"/market-api/v1/offers/{self.subscription}", ok=False)


def main():
    p = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("--api-url", default=os.environ.get("YAGNA_API_URL", "http://127.0.0.1:7465"))
    p.add_argument("--gsb-url", default=os.environ.get("GSB_URL", "tcp://127.0.0.1:7464"))
    p.add_argument("--appkey", default=os.environ.get("YAGNA_APPKEY"))
    p.add_argument("--daemon-pid", type=int, help="for --crash-kind daemon")
    p.add_argument("--guest", required=True, help="the program made from guest.c")
    p.add_argument("--name", default="testnet-provider")
    p.add_argument("--subnet", default="testnet")
    p.add_argument("--platform", default="erc20-hoodi-tglm")
    p.add_argument("--runtime", default="vm")
    p.add_argument("--cores", type=int, default=2)
    p.add_argument("--mem", type=float, default=4.0)
    p.add_argument("--storage", type=float, default=20.0)
    p.add_argument("--prices", type=lambda s: [float(x) for x in s.split(",")], default=[0.00002, 0.00003, 0.0],
                   help="per second, per cpu second, start")
    p.add_argument("--workdir", required=True)
    p.add_argument("--max-agreements", type=int, default=1)
    p.add_argument("--idle", type=float, default=90, help="seconds without an activity before the agreement is ended")
    p.add_argument("--debit-interval", type=int, default=120)
    p.add_argument("--accept-timeout", type=int, default=240)
    p.add_argument("--any-expiration", action="store_true", help="do not enforce the usual expiration limits")
    faults.add_arguments(p)
    provider = Provider(p.parse_args())

    async def live():
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(provider.run())
        for s in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(s, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            pass
        finally:
            try:
                await provider.stop()
            finally:
                await provider.api.session.close()
    asyncio.run(live())


if __name__ == "__main__":
    main()
