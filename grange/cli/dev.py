"""A cluster of several silo processes on this machine, for development: `grange dev`.

Each silo is a process of its own, `grange run`, in a session of its own. So Ctrl-C reaches only this process, which
stops the silos one after another. Each silo also stops when this process ends, in any way: its standard input closes.
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

from grange.cli.exit_codes import ExitCode
from grange.cli.process import StopSignals
from grange.databases.urls import sqlite_url
from grange.errors import ConfigurationError

Write = Callable[[str, str], None]
"""Shows a line: the silo's name (empty: this process) and the text."""

FIRST_PORT = 11111
FIRST_GATEWAY = 30000
FIRST_HTTP = 8080

STOP_SPREAD = 1.5
"""Seconds within which all silos are asked to stop; with `REACTION_TIMEOUT` below the 5 s that Ctrl-C may take."""

STOP_SIGNAL = signal.SIGINT if os.name == "posix" else signal.SIGTERM
"""As Ctrl-C would: a silo whose event loop does not react ends within `REACTION_TIMEOUT`."""

_HOST = "127.0.0.1"
_CHUNK = 64 * 1024

_DRAIN_TIMEOUT = "5"
"""Seconds of the silos' drain time-out, unless the environment sets it: Ctrl-C in development must not wait a minute
for a call that hangs.
"""


class DevOptions(msgspec.Struct, frozen=True):
    """`app` as module:silo, the names of the silos, the folder for their state, and their log level."""

    app: str
    names: list[str]
    data: Path
    log_level: str


class LocalSilo:
    """One silo process: its name, its ports and its output. `active` is set once the silo has joined."""

    def __init__(self, name: str, port: int, gateway: int, http: int, write: Write) -> None:
        self.name = name
        self.gateway = f"{_HOST}:{gateway}"
        self.http = f"{_HOST}:{http}"
        self._ports = (
            *("--port", str(port), "--gateway-port", str(gateway), "--probe-port", "0"),
            *("--http", str(http), "--http-host", _HOST),
        )
        self._write = write
        self._process: asyncio.subprocess.Process | None = None
        self.active = asyncio.Event()

    async def run(self, arguments: Sequence[str]) -> int:
        """Start the process and show its output until it exits; returns its exit code."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "grange", "run", *arguments, "--name", self.name, *self._ports),
            *("--json", "--stop-with-stdin"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            env=_environment(),
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(self._show(self._process.stdout))
            group.create_task(self._show(self._process.stderr))
        return await self._process.wait()

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, if it runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Kill the process, if it runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

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
        if _is_active_line(text):
            self.active.set()
            text = f"active; clients reach it at {self.gateway}"
        self._write(self.name, text)


class LocalCluster:
    """The silos of one `grange dev`, on free ports of this machine."""

    def __init__(self, options: DevOptions, write: Write) -> None:
        self._options = options
        self._write = write
        ports = free_ports(len(options.names))
        self._silos = [LocalSilo(name, *own, write) for name, own in zip(options.names, ports, strict=True)]
        self._running: dict[asyncio.Task[int], LocalSilo] = {}

    async def run(self, signals: StopSignals) -> int:
        """Run all silos until a signal asks for a stop; returns the exit code of the first silo that failed."""
        stop = asyncio.create_task(signals.attach().wait())
        with tempfile.TemporaryDirectory(prefix="grange-dev-") as folder:
            table = sqlite_url(Path(folder) / "cluster.db")
            for silo in self._silos:
                task = asyncio.create_task(silo.run(self._arguments(table)))
                self._running[task] = silo
            instructions = asyncio.create_task(self._show_instructions())
            try:
                return await self._watch(stop)
            finally:
                stop.cancel()
                instructions.cancel()
                await self._stop()

    async def _watch(self, stop: asyncio.Task[Any]) -> int:
        """Wait for the stop, or until no silo is left; returns 0 or the first exit code."""
        failed = 0
        while self._running and not stop.done():
            await asyncio.wait((stop, *self._running), return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in self._running if task.done()]:
                silo = self._running.pop(task)
                self._write(silo.name, f"ended with code {task.result()}")
                failed = failed or task.result() or ExitCode.FAILED
        return 0 if stop.done() else failed

    async def _stop(self) -> None:
        """Stop the silos one after another, so that each hands its grains over to the rest.

        The next one is asked to stop after `STOP_SPREAD` in all at the latest: one whose event loop is dead must not
        hold up the others. When such a silo was ended by force, there is no cluster to hand over to: kill the rest.
        """
        for task, silo in reversed(self._running.items()):
            silo.send_signal(STOP_SIGNAL)
            await asyncio.wait((task,), timeout=STOP_SPREAD / len(self._running))
        while left := [task for task in self._running if not task.done()]:
            await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            if any(task.done() and task.result() == ExitCode.LOOP_DEAD for task in self._running):
                self.kill()
        for task, silo in reversed(self._running.items()):
            self._write(silo.name, "stopped" if task.result() == 0 else f"ended with code {task.result()}")

    def kill(self) -> None:
        """End all silos at once."""
        for silo in self._silos:
            silo.kill()

    async def _show_instructions(self) -> None:
        for silo in self._silos:
            await silo.active.wait()
        names = ", ".join(silo.name for silo in self._silos)
        self._write("", f"{names}: one cluster. State is kept in {self._options.data}. Try, from another shell:")
        # Also for the usual port: without the option, a command asks the cluster that is configured in that shell.
        for command in ("status", "grains", "call TYPE/KEY METHOD '[ARGUMENTS]'"):
            self._write("", f"  grange {command} --gateway {self._silos[0].gateway}")
        self._write("", "Ctrl-C stops all.")

    def _arguments(self, table: str) -> list[str]:
        options = self._options
        return [
            options.app,
            *("--membership", table, "--data", str(options.data), "--host", _HOST),
            *("--log-level", options.log_level),
        ]


def free_ports(silos: int) -> list[tuple[int, int, int]]:
    """A silo, a gateway and an admin port for each silo: the default ports and those above, without ports in use."""
    ports, gateways, https = map(_free_from, (FIRST_PORT, FIRST_GATEWAY, FIRST_HTTP))
    return [(next(ports), next(gateways), next(https)) for _ in range(silos)]


def _free_from(first: int) -> Iterator[int]:
    for port in count(first):
        if port > 65535:
            raise ConfigurationError(f"no free port from {first} upwards")
        with socket.socket() as probe:
            # On POSIX, a port whose connections were just closed counts as free. On Windows the option would take the
            # port from its owner.
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_HOST, port))
            except OSError:
                continue
        yield port


def _environment() -> dict[str, str]:
    """The environment of the silos: this one, with a short drain time-out unless it sets one, by any variable."""
    name = "GRANGE_DRAIN_TIMEOUT"
    is_set = any(each.upper() in (name, f"{name}_FILE") for each in os.environ)
    return dict(os.environ) if is_set else {**os.environ, name: _DRAIN_TIMEOUT}


def _is_active_line(line: str) -> bool:
    """Whether this is the line that `grange run --json` prints once the silo is active."""
    if not line.startswith("{"):
        return False
    try:
        return bool(json.loads(line).get("event") == "active")
    except ValueError:
        return False
