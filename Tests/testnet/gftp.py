"""Serving and receiving files over gftp from the requestor's side, for tests of the network without DeML.

Everything goes through the daemon's REST API: POST /gsb-api/v1/services binds
an address on the bus, a WebSocket then carries the requests as FlexBuffers.
"""
import asyncio
import hashlib
import os
import uuid
from urllib.parse import quote

import aiohttp
from flatbuffers import flexbuffers


class Gftp:
    def __init__(self, api_url, appkey):
        self.api, self.key = api_url.rstrip("/"), appkey
        self.open = {}          # url -> (services id, ws, task)

    async def __aenter__(self):
        self.s = aiohttp.ClientSession(headers={"Authorization": "Bearer " + self.key})
        async with self.s.get(self.api + "/me") as r:
            r.raise_for_status()
            self.me = (await r.json())["identity"]
        return self

    async def __aexit__(self, *a):
        for url in list(self.open):
            await self.close(url)
        await self.s.close()

    async def bind(self, name, components, handler):
        body = {"listen": {"on": f"/public/gftp/{name}", "components": components}}
        async with self.s.post(self.api + "/gsb-api/v1/services", json=body) as r:
            if r.status != 201:
                raise RuntimeError(f"bind: {r.status} {await r.text()}")
            sid = (await r.json())["servicesId"]
        ws = await self.s.ws_connect(f"{self.api}/gsb-api/v1/services/{quote(sid)}",
                                     protocols=["gsb+flexbuffers"], max_msg_size=0, compress=0)
        url = f"gftp://{self.me}/{name}"
        self.open[url] = (sid, ws, asyncio.create_task(self.pump(ws, handler)))
        return url

    async def pump(self, ws, handler):
        async for m in ws:
            if m.type != aiohttp.WSMsgType.BINARY:
                continue
            q = flexbuffers.Loads(m.data)
            try:
                out = {"id": q["id"], "payload": handler(q["component"], q.get("payload") or {})}
            except Exception as e:
                out = {"id": q["id"], "error": {"ReadError": str(e)}}
            await ws.send_bytes(bytes(flexbuffers.Dumps(out)))

    async def close(self, url):
        sid, ws, task = self.open.pop(url)
        try:
            async with self.s.delete(f"{self.api}/gsb-api/v1/services/{quote(sid)}") as r:
                await r.read()
        finally:
            task.cancel()
            await ws.close()

    # ------------------------------------------------------------- sending
    async def publish_bytes(self, data: bytes, name=None):
        def handle(component, p):
            if component == "GetMetadata":
                return {"fileSize": len(data)}
            if component == "GetChunk":
                return {"offset": p["offset"], "content": data[p["offset"]:p["offset"] + p["size"]]}
            raise ValueError(component)
        return await self.bind(name or uuid.uuid4().hex, ["GetMetadata", "GetChunk"], handle)

    async def publish_file(self, path):
        f = open(path, "rb")
        size = os.fstat(f.fileno()).st_size

        def handle(component, p):
            if component == "GetMetadata":
                return {"fileSize": size}
            if component == "GetChunk":
                return {"offset": p["offset"], "content": os.pread(f.fileno(), p["size"], p["offset"])}
            raise ValueError(component)
        return await self.bind(uuid.uuid4().hex, ["GetMetadata", "GetChunk"], handle)

    # ----------------------------------------------------------- receiving
    async def receive_file(self, path):
        """Returns (url, future); the future gives the SHA3-256 the sender announced."""
        f = open(path, "wb+")
        done = asyncio.get_running_loop().create_future()

        def handle(component, p):
            if component == "UploadChunk":
                c = p["chunk"]
                os.pwrite(f.fileno(), bytes(c["content"]), c["offset"])   # chunks may come out of order
                return None
            if component == "UploadFinished":
                f.flush()
                h = hashlib.sha3_256()
                f.seek(0)
                while b := f.read(1 << 20):
                    h.update(b)
                f.close()
                if not done.done():
                    done.set_result((p.get("hash"), h.hexdigest()))
                return None
            raise ValueError(component)
        return await self.bind(uuid.uuid4().hex, ["UploadChunk", "UploadFinished"], handle), done
