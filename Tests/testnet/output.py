"""What a program in the guest prints, on its way out: paced, one ring of 4096 bytes a stream, the rest lost at its end."""
import asyncio
import os

RING = 4096
FETCH_SECONDS = 0.05        # how often the runtime comes for the ring


class Captured:
    """One stream as `capture` asks: {"atEnd": {...}}, {"stream": {...}}, or None for thrown away."""

    def __init__(self, mode, everything=False):
        self.live = self.keep = everything
        self.format, self.limit, self.part = "str", None, None
        self.buffer = bytearray()
        if not mode:
            return
        self.keep = True
        if "stream" in mode:
            self.live = True
            options = mode["stream"] or {}
            self.limit = options.get("limit")
        else:
            options = mode.get("atEnd") or mode
            for part in ("head", "tail", "headTail"):
                if part in options:
                    self.part = (part, options[part])
        if options.get("format") in ("bin", "binary"):
            self.format = "bin"

    def convert(self, data):
        if not data:
            return None
        return list(data) if self.format == "bin" else bytes(data).decode("utf-8", "replace")

    def write(self, data):
        """Keeps what is to be kept; returns what is to be told at once, if anything."""
        if not self.keep:
            return None
        if self.limit is not None:
            data = data[:max(0, self.limit - len(self.buffer))]
        self.buffer += data
        return self.convert(data) if self.live else None

    def value(self):
        data = bytes(self.buffer)
        if self.part:
            part, n = self.part
            if part == "head":
                data = data[:n]
            elif part == "tail":
                data = data[-n:]
            elif len(data) > n:
                data = data[:(n + 1) // 2] + data[len(data) - n // 2:]
        return self.convert(data)


class Ring:
    """A pipe with one ring at its end, as the guest's agent holds it for each stream of a process."""

    def __init__(self):
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)

    def started(self):
        os.close(self.writer)
        self.writer = None

    async def pump(self, ended, sink):
        """Hands the ring's content to `sink` every FETCH_SECONDS, and once more after `ended`: what the process left
        in the pipe beyond that is lost."""
        over = False
        while not over:
            over = ended.is_set()
            if not over:
                try:
                    await asyncio.wait_for(ended.wait(), FETCH_SECONDS)
                except asyncio.TimeoutError:
                    pass
            try:
                data = os.read(self.reader, RING)
            except BlockingIOError:
                continue
            if data:
                await sink(data)
            if ended.is_set():
                return

    def close(self):
        for end in (self.reader, self.writer):
            if end is not None:
                os.close(end)
        self.reader = self.writer = None
