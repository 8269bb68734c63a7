#!/usr/bin/env python3
"""A minimal Golem Service Bus router: the meeting point of the test daemons.

Every daemon is started with YA_NET_TYPE=central and CENTRAL_NET_HOST pointing
here.  It registers /net/<node id>, and calls and broadcasts flow through.
A daemon's own router must NOT be used for this: it would send calls to an
unknown node round in a loop for ever.
"""
import argparse
import asyncio
import uuid

from gsb import PACKETS, packet, unpb

CALL_REQUEST, CALL_REPLY = 6, 7


class Hub:
    def __init__(self, verbose=False):
        self.services = {}   # prefix -> connection
        self.topics = {}     # topic -> set of connections
        self.verbose = verbose
        self.calls = 0

    def find(self, addr):
        parts = addr.split("/")
        for n in range(len(parts), 1, -1):
            c = self.services.get("/".join(parts[:n]))
            if c:
                return c
        return None

    async def client(self, r, w):
        c = Conn(self, w)
        c.send("hello", {1: "testnet-hub", 2: "0.0.1", 3: uuid.uuid4().bytes})
        try:
            while True:
                head = await r.readexactly(4)
                body = await r.readexactly(int.from_bytes(head, "big"))
                for num, inner in unpb(body).items():
                    c.on(num, unpb(inner), head + body)
                if w.transport.get_write_buffer_size() > 1 << 22:
                    await w.drain()
        except (asyncio.IncompleteReadError, ConnectionError, OSError):
            pass
        finally:
            c.gone()
            w.close()


class Conn:
    def __init__(self, hub, w):
        self.hub, self.w = hub, w
        self.owned, self.pending = set(), {}

    def send(self, kind, fields):
        if not self.w.is_closing():
            self.w.write(packet(kind, fields))

    def raw(self, frame):
        if not self.w.is_closing():
            self.w.write(frame)

    def on(self, num, f, frame):
        hub, kind = self.hub, PACKETS.get(num)
        if num == CALL_REQUEST:
            hub.calls += 1
            rid, addr = f[3], f.get(2, b"").decode()
            dst = hub.find(addr)
            if hub.verbose:
                print("call", f.get(1), addr, len(f.get(4, b"")), flush=True)
            if dst is None:
                self.send("call_reply", {1: rid, 2: 400, 4: "endpoint address not found"})
            else:
                dst.pending[rid] = self
                dst.raw(frame)
        elif num == CALL_REPLY:
            rid = f[1]
            src = self.pending.get(rid)
            if src:
                if not f.get(3):
                    del self.pending[rid]
                src.raw(frame)
        elif kind == "register_request":
            name = f[1].decode()
            if name in hub.services:
                self.send("register_reply", {1: 409, 2: "already registered"})
            else:
                hub.services[name] = self
                self.owned.add(name)
                self.send("register_reply", {})
                print("+", name, flush=True)
        elif kind == "unregister_request":
            name = f[1].decode()
            ok = hub.services.get(name) is self
            if ok:
                del hub.services[name]
                self.owned.discard(name)
            self.send("unregister_reply", {} if ok else {1: 404})
        elif kind == "subscribe_request":
            hub.topics.setdefault(f[1], set()).add(self)
            self.send("subscribe_reply", {})
        elif kind == "unsubscribe_request":
            hub.topics.get(f[1], set()).discard(self)
            self.send("unsubscribe_reply", {})
        elif kind == "broadcast_request":
            for c in list(hub.topics.get(f.get(3, b""), ())):
                c.raw(frame)
            self.send("broadcast_reply", {})
        elif kind == "ping":
            self.send("pong", {})

    def gone(self):
        for name in self.owned:
            if self.hub.services.get(name) is self:
                del self.hub.services[name]
                print("-", name, flush=True)
        for subs in self.hub.topics.values():
            subs.discard(self)
        for rid, src in self.pending.items():
            src.send("call_reply", {1: rid, 2: 500, 4: "lost connection"})


async def serve(port, verbose=False):
    hub = Hub(verbose)
    return await asyncio.start_server(hub.client, "127.0.0.1", port, limit=1 << 22)


async def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--port", type=int, default=7488)
    ap.add_argument("-v", action="store_true")
    a = ap.parse_args()
    srv = await serve(a.port, a.v)
    print(f"hub on 127.0.0.1:{a.port}", flush=True)
    async with srv:
        await srv.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
