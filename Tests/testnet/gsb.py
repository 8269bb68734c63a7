"""A small client for the Golem Service Bus TCP protocol (asyncio).

Frame  : 4-byte big-endian length, then one protobuf `Packet`.
Packet : a oneof; field numbers are listed in PACKETS below.
Bodies : FlexBuffers.  A typed reply is a map with one key, "Ok" or "Err".
"""
import asyncio
import os
import uuid

from flatbuffers import flexbuffers

PACKETS = {1: "hello", 2: "register_request", 3: "register_reply", 4: "unregister_request", 5: "unregister_reply",
           6: "call_request", 7: "call_reply", 8: "subscribe_request", 9: "subscribe_reply",
           10: "unsubscribe_request", 11: "unsubscribe_reply", 12: "broadcast_request", 13: "broadcast_reply",
           14: "ping", 15: "pong"}
NUM = {v: k for k, v in PACKETS.items()}


class GsbError(Exception):
    pass


def dumps(obj) -> bytes:
    return bytes(flexbuffers.Dumps(obj))


def loads(data: bytes):
    return flexbuffers.Loads(data)


def _varint(n):
    out = bytearray()
    while True:
        b = n & 0x7F
        n >>= 7
        out.append(b | (0x80 if n else 0))
        if not n:
            return bytes(out)


def _read_varint(b, i):
    n = s = 0
    while True:
        c = b[i]
        i += 1
        n |= (c & 0x7F) << s
        if c < 0x80:
            return n, i
        s += 7


def pb(fields: dict) -> bytes:
    out = bytearray()
    for k, v in fields.items():
        if isinstance(v, bool):
            v = int(v)
        if isinstance(v, int):
            if v:
                out += _varint(k << 3) + _varint(v)
        else:
            if isinstance(v, str):
                v = v.encode()
            if v:
                out += _varint(k << 3 | 2) + _varint(len(v)) + v
    return bytes(out)


def unpb(b: bytes) -> dict:
    out, i = {}, 0
    while i < len(b):
        tag, i = _read_varint(b, i)
        if tag & 7 == 2:
            n, i = _read_varint(b, i)
            out[tag >> 3] = b[i:i + n]
            i += n
        elif tag & 7 == 0:
            out[tag >> 3], i = _read_varint(b, i)
        else:
            raise GsbError(f"wire type {tag & 7}")
    return out


def packet(kind: str, fields: dict) -> bytes:
    body = pb(fields)
    inner = _varint(NUM[kind] << 3 | 2) + _varint(len(body)) + body
    return len(inner).to_bytes(4, "big") + inner


class Gsb:
    """handler(caller, address, payload) -> object | async generator.

    A plain result is sent as one FULL reply; an async generator is sent as a
    series of PARTIAL replies followed by an empty FULL one.
    """

    def __init__(self, url, name="testnet-exeunit"):
        self.url, self.name = url, name
        self.handlers = {}
        self.calls = {}
        self.reg = []

    async def connect(self):
        host, port = self.url.split("//")[1].split(":")
        self.r, self.w = await asyncio.open_connection(host, int(port), limit=1 << 22)
        self.task = asyncio.create_task(self._loop())
        self.send("hello", {1: self.name, 2: "0.0.1", 3: uuid.uuid4().bytes})
        return self

    def send(self, kind, fields):
        self.w.write(packet(kind, fields))

    async def close(self):
        self.task.cancel()
        self.w.close()

    async def _loop(self):
        try:
            while True:
                n = int.from_bytes(await self.r.readexactly(4), "big")
                for num, body in unpb(await self.r.readexactly(n)).items():
                    self._on(PACKETS.get(num), unpb(body))
        except (asyncio.IncompleteReadError, ConnectionError, OSError):
            pass
        finally:
            for q in self.calls.values():
                q.put_nowait((500, 0, b"bus connection closed"))

    def _on(self, kind, f):
        if kind in ("register_reply", "unregister_reply"):
            fut = self.reg.pop(0)
            if not fut.done():
                fut.set_result((f.get(1, 0), f.get(2, b"").decode()))
        elif kind == "call_reply":
            q = self.calls.get(f[1].decode())
            if q:
                q.put_nowait((f.get(2, 0), f.get(3, 0), f.get(4, b"")))
        elif kind == "call_request":
            asyncio.create_task(self._serve(f))
        elif kind == "ping":
            self.send("pong", {})

    async def _serve(self, f):
        caller, addr, rid = f.get(1, b"").decode(), f.get(2, b"").decode(), f[3].decode()
        prefix, _, method = addr.rpartition("/")
        try:
            h = self.handlers.get(prefix)
            if h is None:
                raise GsbError(f"no handler for {addr}")
            res = h(caller, method, loads(f[4]) if f.get(4) else None)
            if hasattr(res, "__aiter__"):
                async for item in res:
                    self.send("call_reply", {1: rid, 2: 0, 3: 1, 4: dumps(item)})
                    await self.w.drain()
                self.send("call_reply", {1: rid, 2: 0, 3: 0})
            else:
                self.send("call_reply", {1: rid, 2: 0, 3: 0, 4: dumps(await res)})
        except Exception as e:
            self.send("call_reply", {1: rid, 2: 500, 3: 0, 4: repr(e)})

    async def _register(self, kind, service):
        fut = asyncio.get_running_loop().create_future()
        self.reg.append(fut)
        self.send(kind, {1: service})
        code, msg = await fut
        if code:
            raise GsbError(f"{kind} {service}: {code} {msg}")

    async def bind(self, service, handler):
        self.handlers[service] = handler
        await self._register("register_request", service)

    async def unbind(self, service):
        self.handlers.pop(service, None)
        await self._register("unregister_request", service)

    async def call_raw(self, addr, data: bytes, caller="local", timeout=60):
        rid = str(int.from_bytes(os.urandom(6), "big"))
        q = self.calls[rid] = asyncio.Queue()
        try:
            self.send("call_request", {1: caller, 2: addr, 3: rid, 4: data})
            code, kind, body = await asyncio.wait_for(q.get(), timeout)
            if code:
                raise GsbError(f"{addr}: {code} {body.decode(errors='replace')}")
            return body
        finally:
            self.calls.pop(rid, None)

    async def call(self, addr, payload, **kw):
        body = await self.call_raw(addr, dumps(payload), **kw)
        if not body:      # how a daemon reports an address it cannot reach
            raise GsbError(f"{addr}: no such service")
        res = loads(body)
        if isinstance(res, dict) and "Err" in res:
            raise GsbError(f"{addr}: {res['Err']}")
        return res.get("Ok") if isinstance(res, dict) else res
