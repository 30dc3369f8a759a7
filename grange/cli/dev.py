"""A cluster of several silo processes on this machine, for development: `grange dev`.

Each silo is a `grange run` of its own, in a session of its own, so that Ctrl-C reaches only this process, which then
stops the silos one after another. A silo ends by itself when this process is gone, however that ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from grange.cli.process import ExitCode, StopSignals
from grange.errors import ConfigurationError

Write = Callable[[str, str], None]
"""Show a line: the silo's name (empty: this process itself) and the text."""

FIRST_PORT = 11111
FIRST_GATEWAY = 30000

_HOST = "127.0.0.1"
_CHUNK = 64 * 1024

_DRAIN_TIMEOUT = "5"
"""Seconds, unless somebody says otherwise: nobody waits a minute after Ctrl-C for a call that hangs."""


class DevOptions(msgspec.Struct, frozen=True):
    """What to run: `app` as module:silo, the silos' names, the folder that keeps their state, and their log level."""

    app: str
    names: list[str]
    data: Path
    log_level: str


class LocalSilo:
    """One silo process: its name, its ports, and what it prints."""

    def __init__(self, name: str, port: int, gateway: int, write: Write) -> None:
        self.name = name
        self.gateway = f"{_HOST}:{gateway}"
        self._ports = ("--port", str(port), "--gateway-port", str(gateway))
        self._write = write
        self._process: asyncio.subprocess.Process | None = None
        self.active = asyncio.Event()

    async def run(self, arguments: Sequence[str]) -> int:
        """Start it and show what it prints until it ends; returns its exit code."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "grange", "run", *arguments, "--name", self.name, *self._ports),
            *("--json", "--stop-with-stdin"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            env={"GRANGE_DRAIN_TIMEOUT": _DRAIN_TIMEOUT, **os.environ},
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(self._show(self._process.stdout))
            group.create_task(self._show(self._process.stderr))
        return await self._process.wait()

    def end(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def _show(self, stream: asyncio.StreamReader | None) -> None:
        assert stream is not None, "both streams are pipes"
        rest = b""
        while chunk := await stream.read(_CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._show_line(line.decode(errors="replace").rstrip())
        if rest:
            self._show_line(rest.decode(errors="replace"))

    def _show_line(self, text: str) -> None:
        if _says_active(text):
            self.active.set()
            text = f"active; clients reach it at {self.gateway}"
        self._write(self.name, text)


class LocalCluster:
    """All silos of one `grange dev`."""

    def __init__(self, options: DevOptions, write: Write) -> None:
        self._options = options
        self._write = write
        ports = free_ports(len(options.names))
        self._silos = [LocalSilo(name, *pair, write) for name, pair in zip(options.names, ports, strict=True)]
        self._running: dict[asyncio.Task[int], LocalSilo] = {}

    async def run(self, signals: StopSignals) -> int:
        """Keep all silos running until a signal asks to stop; returns the exit code of the first that failed."""
        stop = asyncio.create_task(signals.attach().wait())
        with tempfile.TemporaryDirectory(prefix="grange-dev-") as folder:
            table = f"sqlite:///{Path(folder).as_posix()}/cluster.db"
            for silo in self._silos:
                task = asyncio.create_task(silo.run(self._arguments(table)))
                self._running[task] = silo
            greeting = asyncio.create_task(self._greet())
            try:
                return await self._watch(stop)
            finally:
                stop.cancel()
                greeting.cancel()
                await self._stop()

    async def _watch(self, stop: asyncio.Task[Any]) -> int:
        """Until the stop, or until no silo is left, which is a failure."""
        failed = 0
        while self._running and not stop.done():
            await asyncio.wait((stop, *self._running), return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in self._running if task.done()]:
                silo = self._running.pop(task)
                self._write(silo.name, f"ended with code {task.result()}")
                failed = failed or task.result() or ExitCode.FAILED
        return 0 if stop.done() else failed

    async def _stop(self) -> None:
        """In order, so that each can hand its work to those that are left."""
        for task, silo in reversed(self._running.items()):
            silo.end(signal.SIGTERM)
            await asyncio.wait((task,))
            self._write(silo.name, "stopped")

    async def _greet(self) -> None:
        for silo in self._silos:
            await silo.active.wait()
        names = ", ".join(silo.name for silo in self._silos)
        self._write("", f"{names}: one cluster. State is kept in {self._options.data}. Try, from another shell:")
        where = "" if self._silos[0].gateway == f"{_HOST}:{FIRST_GATEWAY}" else f" --gateway {self._silos[0].gateway}"
        for command in ("status", "grains", "call TYPE/KEY METHOD '[ARGUMENTS]'"):
            self._write("", f"  grange {command}{where}")
        self._write("", "Ctrl-C stops all.")

    def _arguments(self, table: str) -> list[str]:
        options = self._options
        return [
            options.app,
            *("--membership", table, "--data", str(options.data), "--host", _HOST),
            *("--log-level", options.log_level),
        ]


def free_ports(silos: int) -> list[tuple[int, int]]:
    """A silo port and a gateway port for each silo, from the usual ones upwards, without those in use."""
    ports, gateways = _free_from(FIRST_PORT), _free_from(FIRST_GATEWAY)
    return [(next(ports), next(gateways)) for _ in range(silos)]


def _free_from(first: int) -> Iterator[int]:
    for port in count(first):
        if port > 65535:
            raise ConfigurationError(f"no free port from {first} upwards")
        with socket.socket() as probe:
            if (
                os.name == "posix"
            ):  # a port that was just left is free again; elsewhere this would take it from its owner
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_HOST, port))
            except OSError:
                continue
        yield port


def _says_active(line: str) -> bool:
    """Whether this is what `grange run --json` prints once the silo is active."""
    if not line.startswith("{"):
        return False
    try:
        return bool(json.loads(line).get("event") == "active")
    except ValueError:
        return False
