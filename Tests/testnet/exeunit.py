"""Exe-unit emulator: runs exe-script batches for one activity, in the root of the image that the agreement names.

Programs run for real, each in namespaces of its own (see guest.c): no network, no environment, nothing on stdin, the
image's volumes bound at their paths. Transfers reach volumes and nothing else.
"""
import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import unquote, urlparse

import tamper
import transfer
from image import ImageError, volumes_of
from output import Captured, Ring

SETUP_FAILED = 250          # guest.c


def now():
    return datetime.now(timezone.utc)


def iso(t=None):
    return (t or now()).isoformat().replace("+00:00", "Z")


class CommandError(Exception):
    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Batch:
    def __init__(self, bid, script):
        self.id, self.script = bid, script
        self.results, self.events = [], []
        self.listeners = set()
        self.changed = asyncio.Condition()
        self.done = False
        self.running = None

    async def emit(self, index, kind):
        event = {"batch_id": self.id, "index": index, "timestamp": now().replace(tzinfo=None).isoformat(), "kind": kind}
        self.events.append(event)
        for queue in self.listeners:
            queue.put_nowait(event)


class ExeUnit:
    def __init__(self, gsb, activity_id, agreement, folder, cache, faults, guest, log=print):
        self.gsb, self.id, self.agreement, self.cache = gsb, activity_id, agreement, cache
        self.faults, self.guest, self.log = faults, guest, log
        self.folder = Path(folder) / activity_id
        self.root = self.folder / "root"
        self.volumes, self.working_dir, self.mounted = {}, "/", []
        self.state = "New"
        self.batches, self.tasks, self.processes = {}, set(), set()
        self.started, self.ended_at, self.cpu = time.time(), None, 0.0
        self.dead = asyncio.Event()
        self.reporter = None
        self.on_crash = None
        self.current = None     # the batch whose command is running: one at a time
        self.moved = {"in": 0, "in_s": 0.0, "out": 0, "out_s": 0.0}

    # ------------------------------------------------------------ lifetime
    async def open(self):
        self.folder.mkdir(parents=True)
        await self.gsb.bind(f"/public/exeunit/{self.id}", self.handle)
        await asyncio.sleep(self.faults.start_delay)
        if self.state == "Terminated":      # its agreement ended meanwhile
            return
        await self.set_state("Initialized")
        self.reporter = asyncio.create_task(self.report())

    async def close(self, reason="terminated"):
        if self.state == "Terminated":
            return
        self.ended_at = time.time()
        if self.reporter:
            self.reporter.cancel()
        self.kill()
        for task in list(self.tasks):
            if task is not asyncio.current_task():
                task.cancel()
        try:
            await self.report_usage()
            await self.set_state("Terminated", reason)
            await self.gsb.unbind(f"/public/exeunit/{self.id}")
        except Exception as e:
            self.log("close:", e)
        self.state = "Terminated"
        self.dead.set()
        self.remove()

    async def vanish(self):
        """Dies without a word: stops reporting and drops off the bus."""
        self.ended_at = time.time()
        self.reporter.cancel()
        self.kill()
        self.state = "Terminated"
        self.dead.set()
        await self.gsb.close()
        self.remove()

    def remove(self):
        for folder in self.mounted:
            subprocess.run(["umount", "-l", str(folder)])
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self):
        for process in list(self.processes):
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def usage(self):
        return [(self.ended_at or time.time()) - self.started, self.cpu]

    async def set_state(self, state, reason=None):
        self.state = state
        value = {"state": [state, None]}
        if reason:
            value["reason"] = reason
        await self.gsb.call("/local/activity/SetActivityState",
                            {"activityId": self.id, "state": value, "timeout": None, "credentials": None})

    async def report_usage(self):
        await self.gsb.call("/local/activity/SetActivityUsage", {
            "activityId": self.id, "timeout": None,
            "usage": {"currentUsage": [float(x) for x in self.usage()], "timestamp": int(time.time())}})

    async def report(self):
        while True:      # silence for 5 s makes the daemon call the activity unresponsive
            try:
                await self.report_usage()
            except Exception as e:
                self.log("usage report:", e)
            await asyncio.sleep(1)

    # ------------------------------------------------------------ requests
    def handle(self, caller, method, p):
        if method == "StreamExecBatchResults":
            return self.stream(p)
        return self.answer(method, p)

    async def answer(self, method, p):
        if method == "Exec":
            bid = p["batchId"]
            if bid in self.batches:
                return {"Err": {"badRequest": f"Batch {bid} already exists"}}
            batch = self.batches[bid] = Batch(bid, p["exeScript"])
            task = asyncio.create_task(self.run_batch(batch))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            return {"Ok": bid}
        if method == "GetExecBatchResults":
            return await self.results(p)
        if method == "GetRunningCommand":
            running = [b.running for b in self.batches.values() if b.running]
            return {"Ok": running} if running else {"Err": {"notFound": f"No running command within activity: {self.id}"}}
        if method == "GetActivityState":
            return {"Ok": {"state": [self.state, None]}}
        if method == "GetActivityUsage":
            return {"Ok": {"currentUsage": self.usage(), "timestamp": int(time.time())}}
        return {"Err": {"badRequest": f"unsupported message {method}"}}

    async def results(self, p):
        batch = self.batches.get(p["batchId"])
        if batch is None:
            return {"Err": {"notFound": "batch_id = " + p["batchId"]}}
        index = p.get("commandIndex")
        wanted = index if index is not None else len(batch.script) - 1
        end = time.time() + (p.get("timeout") or 0)
        async with batch.changed:
            while len(batch.results) <= wanted and not batch.done:
                left = end - time.time()
                if left <= 0:
                    break
                try:
                    await asyncio.wait_for(batch.changed.wait(), left)
                except asyncio.TimeoutError:
                    break
        if index is not None and len(batch.results) <= wanted and not batch.done:
            return {"Err": "timeout"}
        told = batch.results[:wanted + 1]
        return {"Ok": [r for r in told for _ in (0, 1)] if self.faults.tell_twice else told}

    async def stream(self, p):
        batch = self.batches.get(p["batch_id"])
        if batch is None:
            yield {"Err": {"notFound": "batch " + p["batch_id"]}}
            return
        queue = asyncio.Queue()
        # A real exe-unit does not replay what happened before the subscription; this one does, so that a fast command
        # cannot be missed.
        for event in batch.events:
            queue.put_nowait(event)
        batch.listeners.add(queue)
        last = len(batch.script) - 1
        try:
            while True:
                event = await queue.get()
                yield {"Ok": event}
                finished = event["kind"].get("finished")
                if finished and (event["index"] == last or finished["return_code"] != 0):
                    return
        finally:
            batch.listeners.discard(queue)

    # ------------------------------------------------------------- batches
    async def run_batch(self, batch):
        for i, command in enumerate(batch.script):
            (name, args), = command.items()
            args = args or {}
            capture = (args.get("capture") or {}) if name == "run" else None
            out = Captured(capture.get("stdout") if capture is not None else None, capture is None)
            err = Captured(capture.get("stderr") if capture is not None else None, capture is None)
            batch.running = {"command": name.capitalize()}
            await batch.emit(i, {"started": {"command": command}})
            code, message = 0, None
            exclusive = name not in ("terminate", "sign")
            try:
                if exclusive and self.current is not None:
                    raise CommandError(-1, f"Busy: StatePair({self.state}, Some({self.state}))")
                if exclusive:
                    self.current = batch
                await getattr(self, "do_" + name)(args, batch, i, out, err)
            except CommandError as e:
                code, message = e.code, str(e)
            except asyncio.CancelledError:
                code, message = -1, "interrupted"
            except Exception as e:
                code, message = -1, f"{type(e).__name__}: {e}"
            if self.current is batch:
                self.current = None
            batch.running = None
            over = i == len(batch.script) - 1 or code != 0
            printed = self.faults.printed(out.value()) if name == "run" else out.value()
            batch.results.append({
                "index": i, "result": "Ok" if code == 0 else "Error", "stdout": printed, "stderr": err.value(),
                "message": message, "isBatchFinished": over, "eventDate": iso()})
            self.log(f"[{self.id[:6]}] {name} -> {code} {message or ''}")
            async with batch.changed:
                batch.done = over
                batch.changed.notify_all()
            await batch.emit(i, {"finished": {"return_code": code, "message": message}})
            if code:
                return

    def need(self, state):
        if self.state != state:
            hint = {"Initialized": "deploy is expected first", "Deployed": "start is expected now"}.get(self.state, "")
            raise CommandError(-1, f"command not allowed in state {self.state} {hint}".strip())

    async def do_deploy(self, args, batch, i, out, err):
        self.need("Initialized")
        package = self.agreement.demand.get("golem.srv.comp.task_package")
        if not package:
            raise CommandError(-1, "the agreement names no task package")
        before = time.time()
        try:
            source, config = await self.cache.get(package, lambda url, path: transfer.download(self.gsb, url, path))
            paths = volumes_of(config)
        except ImageError as e:
            raise CommandError(-1, f"deploy failed: {e}")
        extra = args.get("volumes") or []
        paths = sorted({*paths, *extra}, key=len, reverse=True)
        await asyncio.to_thread(shutil.copytree, source, self.root, symlinks=True)
        for path in paths:
            folder = self.folder / f"vol-{uuid.uuid4()}"
            folder.mkdir()
            self.volumes[path] = folder
            if self.faults.output_size and path.endswith("output"):
                subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.faults.output_size}", "tmpfs", str(folder)],
                               check=True)
                self.mounted.append(folder)
        self.working_dir = config.get("WorkingDir") or "/"
        await self.set_state("Deployed")
        self.log(f"[{self.id[:6]}] deployed {package[:30]}… in {time.time() - before:.3f} s")
        out.write(json.dumps({"valid": {"Ok": ""}, "start_mode": "blocking", "vols": [
            {"name": v.name, "path": p} for p, v in self.volumes.items()]}).encode())

    async def do_start(self, args, batch, i, out, err):
        self.need("Deployed")
        await self.set_state("Ready")

    async def do_terminate(self, args, batch, i, out, err):
        """Stops every other batch and goes back to Initialized (deploy is possible again)."""
        self.kill()
        for task in list(self.tasks):
            if task is not asyncio.current_task():
                task.cancel()
        await asyncio.sleep(0)
        shutil.rmtree(self.root, ignore_errors=True)
        self.volumes = {}
        await self.set_state("Initialized")

    async def do_sign(self, args, batch, i, out, err):
        raise CommandError(-1, "signing not supported")

    async def do_run(self, args, batch, i, out, err):
        self.need("Ready")
        nth = self.faults.next_run()
        if self.faults.hang_run and nth >= self.faults.hang_run:
            self.log(f"fault: run {nth} hangs")
            await asyncio.sleep(1e6)
        if self.faults.refuse:
            tamper.refuse(self, args, self.faults.refuse)
            raise CommandError(65, "ExeScript command exited with code 65")
        cheat = None
        if self.faults.tamper and nth >= self.faults.tamper_from:
            cheat = tamper.Cheat(self, args, self.faults.tamper)
            args = cheat.args
        options = ["-C", self.working_dir]
        for path, folder in sorted(self.volumes.items()):      # an outer volume before the ones inside it
            options += ["-v", f"{folder}:{path}"]
        argv = [self.guest, *options, str(self.root), args["entry_point"], *(args.get("args") or [])]
        before, spent_before = time.time(), os.times()
        rings, ended = (Ring(), Ring()), asyncio.Event()
        process = await asyncio.create_subprocess_exec(
            *argv, env={}, stdin=subprocess.DEVNULL, stdout=rings[0].writer, stderr=rings[1].writer,
            start_new_session=True)
        self.processes.add(process)
        if self.on_crash and self.faults.crash_after and nth >= self.faults.crash_after:
            crash = asyncio.create_task(self.crash_soon())
            self.tasks.add(crash)

        def sink(captured, kind):
            async def keep(data):
                first = not captured.buffer
                told = captured.write(data)
                if told is not None and kind == "stdout" and first:
                    told = self.faults.printed(told)
                if told is not None:
                    await batch.emit(i, {kind: told})
            return keep

        async def wait():
            await process.wait()
            ended.set()

        try:
            for ring in rings:
                ring.started()
            await asyncio.gather(wait(), rings[0].pump(ended, sink(out, "stdout")),
                                 rings[1].pump(ended, sink(err, "stderr")))
        finally:
            self.processes.discard(process)
            for ring in rings:
                ring.close()
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
        seconds, spent = time.time() - before, os.times()
        self.cpu += max(0.0, spent.children_user + spent.children_system
                        - spent_before.children_user - spent_before.children_system)
        wanted = max(seconds * self.faults.slow, self.faults.at_least)
        if wanted > seconds:
            await asyncio.sleep(wanted - seconds)
        self.log(f"[{self.id[:6]}] ran for {time.time() - before:.3f} s")
        code = process.returncode
        if code == SETUP_FAILED:
            raise CommandError(-1, f"the guest does not start: {bytes(err.buffer).decode(errors='replace')}")
        if code:
            raise CommandError(code if code > 0 else -code, f"ExeScript command exited with code {abs(code)}")
        tamper.publish(self, args)
        if cheat:
            cheat.finish()
            self.log(f"fault: run {nth} is tampered with: {self.faults.tamper}")

    async def crash_soon(self):
        await asyncio.sleep(self.faults.crash_delay)
        await self.on_crash(self)

    # ----------------------------------------------------------- transfers
    def in_volume(self, url):
        """The host path behind container:/…, or None for another scheme."""
        u = urlparse(url)
        if u.scheme not in ("container", ""):
            return None
        path = unquote(u.path)
        if ".." in path.split("/"):
            raise CommandError(-1, f"invalid path {path}")
        for volume, folder in self.volumes.items():            # longest first
            if path == volume or path.startswith(volume + "/"):
                return folder / path[len(volume):].lstrip("/")
        raise CommandError(-1, f"path not found in container: {path}")

    async def do_transfer(self, args, batch, i, out, err):
        self.need("Ready")
        source, target = args["from"], args["to"]
        here, there = self.in_volume(source), self.in_volume(target)
        before = time.time()
        if here is not None and not here.is_file():
            raise CommandError(-1, f"IO error: No such file or directory (os error 2): {here.name}")
        if here is None and there is not None:
            there.parent.mkdir(parents=True, exist_ok=True)
            n, way = await transfer.download(self.gsb, source, there), "in"
        elif here is not None and there is None:
            n, way = await transfer.upload(self.gsb, self.faults.corrupted(here.read_bytes()), target), "out"
        elif here is not None:
            await asyncio.to_thread(shutil.copyfile, here, there)
            n, way = there.stat().st_size, "in"
        else:
            raise CommandError(-1, "one side of a transfer must be in the container")
        self.moved[way] += n
        self.moved[way + "_s"] += time.time() - before
        self.log(f"[{self.id[:6]}] transfer {way} {n} B in {time.time() - before:.3f} s")
