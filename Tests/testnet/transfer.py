"""How an exe-unit moves files: gftp over the bus, HTTP(S), 40 KiB chunks, 8 of them at a time."""
import asyncio
import hashlib
import os
from urllib.parse import urlparse

import aiohttp

CHUNK = 40 * 1024
AT_ONCE = 8


class TransferError(Exception):
    pass


def service(url):
    """The bus address behind gftp://<node>/<name>."""
    u = urlparse(url)
    return f"/transfer/net/{u.netloc}/gftp/{u.path.lstrip('/')}"


async def download(gsb, url, path):
    """Fetches `url` into `path`; a `hash:sha3:<hex>:` before the URL is checked. Returns the number of bytes."""
    digest = None
    if url.startswith("hash:"):
        _, algorithm, digest, url = url.split(":", 3)
        if algorithm != "sha3":
            raise TransferError(f"Unsupported hash {algorithm}")
    scheme = urlparse(url).scheme
    if scheme in ("http", "https"):
        size = await download_http(url, path)
    elif scheme == "gftp":
        size = await download_gftp(gsb, url, path)
    else:
        raise TransferError(f"Unsupported url scheme {scheme!r}")
    os.chmod(path, 0o644)
    if digest:
        with open(path, "rb") as f:
            data = f.read()
        if digest.lower() not in (hashlib.sha3_224(data).hexdigest(), hashlib.sha3_256(data).hexdigest()):
            raise TransferError(f"Hash mismatch for {url}")
    return size


async def download_http(url, path):
    size = 0
    async with aiohttp.ClientSession() as session, session.get(url) as reply:
        reply.raise_for_status()
        with open(path, "wb") as f:
            async for block in reply.content.iter_chunked(1 << 16):
                f.write(block)
                size += len(block)
    return size


async def download_gftp(gsb, url, path):
    base = service(url)
    size = (await gsb.call(base + "/GetMetadata", None))["fileSize"]
    gate = asyncio.Semaphore(AT_ONCE)
    with open(path, "wb") as f:
        f.truncate(size)

        async def one(offset):
            async with gate:
                want = min(CHUNK, size - offset)
                chunk = await gsb.call(base + "/GetChunk", {"offset": offset, "size": want})
                content = bytes(chunk["content"])
                if chunk["offset"] != offset or len(content) != want:
                    raise TransferError(f"{url}: asked {want} bytes at {offset}, got {len(content)} at {chunk['offset']}")
                os.pwrite(f.fileno(), content, offset)

        await gather(one(offset) for offset in range(0, size, CHUNK))
    return size


async def upload(gsb, data, url):
    if urlparse(url).scheme in ("http", "https"):
        async with aiohttp.ClientSession() as session, session.put(url, data=data) as reply:
            reply.raise_for_status()
        return len(data)
    base = service(url)
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(offset):
        async with gate:
            await gsb.call(base + "/UploadChunk", {"chunk": {"offset": offset, "content": data[offset:offset + CHUNK]}})

    await gather(one(offset) for offset in range(0, len(data), CHUNK))
    await gsb.call(base + "/UploadFinished", {"hash": hashlib.sha3_256(data).hexdigest()})
    return len(data)


async def gather(jobs):
    """All of them; when one fails the others are stopped before the error goes on."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
