"""One silo of `grange dev`: a process on this machine, and after each reload its successor on the same ports.

A successor imports the application first and then waits. Only when its import has succeeded, the running process
drains, and the successor begins. So an error in the code leaves the old process running.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import msgspec

from grange.cli.changed_files import Files, version_of
from grange.cli.exit_codes import ExitCode

Write = Callable[[str, str], None]
"""Shows a line: the silo's name (empty: this process) and the text."""

STOP_SIGNAL = signal.SIGINT if os.name == "posix" else signal.SIGTERM
"""As Ctrl-C would: a silo whose event loop does not react ends within `REACTION_TIMEOUT`."""

KILL_SIGNAL = signal.SIGKILL if os.name == "posix" else signal.SIGTERM

LAST_LINES = 20
"""Lines that are shown again when a silo fails."""

_HOST = "127.0.0.1"
_LONGEST = 64 * 1024
"""Bytes of a line: output without an end of line must be shown, and not kept."""

PIPES_GRACE = 0.5
"""Seconds from the end of a process to the end of its output. A process that it started may hold that open for ever."""

_DEFAULTS: Mapping[str, str] = MappingProxyType({
    "GRANGE_DRAIN_TIMEOUT": "5", "GRANGE_ACTIONS": '["*"]', "OTEL_TRACES_SAMPLER_ARG": "1",
})  # fmt: skip
"""Options of the silos, unless the environment sets them. Ctrl-C in development must not wait a minute for a call that
hangs, a developer may try every act, and the dashboard shows the traces of all calls.
"""


class _Imported(msgspec.Struct, tag_field="event", tag="imported", forbid_unknown_fields=True):
    """The line of `grange run` that tells that the application is imported, from which files."""

    files: list[str]


class _Active(msgspec.Struct, tag_field="event", tag="active", forbid_unknown_fields=True):
    """The line of `grange run --json` that tells that the silo has joined."""

    address: str
    gateway: str
    road: str
    http: str
    cluster: str
    name: str
    pid: int


class SiloProcess(asyncio.SubprocessProtocol):
    """One process of `grange run`. It imports the application at once, and serves when `begin` is called.

    `imported` is set once the import has succeeded, `active` once the silo has joined; both also when it has ended.
    `files` are those of the application, `last` its last lines. `ended` has the exit code.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._transport: asyncio.SubprocessTransport | None = None
        self._asked_to_stop = False
        self._show = show
        self._rest: dict[int, bytes] = {}  # by file descriptor: a line that has not ended yet
        self._exited = asyncio.Event()
        self._silent = asyncio.Event()
        self.imported = asyncio.Event()
        self.active = asyncio.Event()
        self.files: Files = {}
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        self.ended = asyncio.create_task(self._run(), name="grange-dev-silo")

    @staticmethod
    async def start(arguments: Sequence[str], show: Callable[[str], None]) -> SiloProcess:
        """Start the process. Its owner must await `ended`."""
        _, process = await asyncio.get_running_loop().subprocess_exec(
            lambda: SiloProcess(show),
            *(sys.executable, "-m", "grange", "run", *arguments),
            *("--json", "--stop-with-stdin", "--start-with-stdin"),
            start_new_session=True,
            env=_environment(),
        )
        return process

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._made.get_returncode() is not None

    @property
    def _made(self) -> asyncio.SubprocessTransport:
        assert self._transport is not None, "asyncio made the connection before it returned this object"
        return self._transport

    def begin(self) -> None:
        """Let it open its ports and join."""
        stdin = self._made.get_pipe_transport(0)
        if isinstance(stdin, asyncio.WriteTransport) and not self.is_over:
            stdin.write(b"\n")

    def stop(self) -> None:
        """Let it drain and end, if it runs. Only once: another signal would end it without its drain."""
        if not (self.is_over or self._asked_to_stop):
            self._asked_to_stop = True
            self._made.send_signal(STOP_SIGNAL)

    def kill(self) -> None:
        """Kill it, if it runs."""
        if not self.is_over:
            self._made.kill()

    async def _run(self) -> int:
        try:
            await self._exited.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(PIPES_GRACE):
                    await self._silent.wait()
            for rest in self._rest.values():
                if rest:
                    self._take(rest)
            code = self._made.get_returncode()
            assert code is not None, "it has exited"
            return code
        finally:
            if self._transport is not None:
                self._transport.close()
            self.imported.set()
            self.active.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the process runs."""
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """asyncio: the process wrote something."""
        *lines, rest = (self._rest.get(fd, b"") + data).split(b"\n")
        if len(rest) >= _LONGEST:
            lines, rest = [*lines, rest], b""
        self._rest[fd] = rest
        for line in lines:
            self._take(line)

    def process_exited(self) -> None:
        """asyncio: the process has ended. Its output may still come."""
        self._exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the process has ended, and its output too."""
        self._silent.set()

    def _take(self, line: bytes) -> None:
        """Show a line, or note the event that it tells."""
        text = line.decode(errors="replace").rstrip()
        event = _event(text)
        if isinstance(event, _Imported):
            self.files = {path: version_of(path) for path in map(Path, event.files)}
            self.imported.set()
        elif isinstance(event, _Active):
            self.active.set()
        else:
            self.last.append(text)
            self._show(text)


class LocalSilo:
    """One silo on fixed ports: its process, and the successor that a reload starts.

    `active` is set once its first process is. If a successor cannot join, the silo is down until the next reload.
    """

    def __init__(self, name: str, port: int, gateway: int, http: int, write: Write) -> None:
        self.name = name
        self.gateway = f"{_HOST}:{gateway}"
        self.http = f"{_HOST}:{http}"
        self._options = (
            *("--name", name, "--host", _HOST),
            *("--port", str(port), "--gateway-port", str(gateway), "--probe-port", "0"),
            *("--http", str(http), "--http-host", _HOST),
        )
        self._write = write
        self.process: SiloProcess | None = None
        self._successor: SiloProcess | None = None
        self._hands_over = False
        self._stops = False
        self._woken = asyncio.Event()
        self.active = asyncio.Event()

    async def run(self, arguments: Sequence[str]) -> int:
        """Run the process, and after each reload its successor; returns the exit code of the last one."""
        process = self.process = await self._start(arguments)
        while True:
            process.begin()
            await process.active.wait()
            has_joined = not process.is_over
            if has_joined:
                self._write(self.name, f"active; clients reach it at {self.gateway}")
                self.active.set()
            code = await process.ended
            while self.active.is_set() and not (has_joined or self._hands_over or self._stops):
                self._woken.clear()
                await self._woken.wait()
            if not self._hands_over or self._successor is None:
                return code
            self._hands_over = False
            process = self.process = self._successor

    async def reload(self, arguments: Sequence[str]) -> bool:
        """Replace the process by one with the code of now. False: that code fails, or this silo has failed meanwhile.

        If the code cannot be imported, the old process serves on. The successor of a cancelled reload ends, unless it
        has begun.
        """
        was_down = self._is_down
        successor = self._successor = await self._start(arguments)
        try:
            await successor.imported.wait()
            if successor.is_over or self.process is None or self._is_down != was_down:
                return False
            self._hands_over = True
            self._woken.set()
            self.process.stop()
            await successor.active.wait()
            return not successor.is_over
        finally:
            self._hands_over, self._successor = False, None
            if self.process is not successor:
                successor.kill()
                await successor.ended

    @property
    def _is_down(self) -> bool:
        return self.process is None or self.process.is_over

    def stop(self) -> None:
        """Let the process drain and end, if it runs. No successor follows."""
        self._stops = True
        self._woken.set()
        if self.process is not None:
            self.process.stop()

    def kill(self) -> None:
        """Kill the processes of this silo."""
        self._stops = True
        self._woken.set()
        for process in (self.process, self._successor):
            if process is not None:
                process.kill()

    async def _start(self, arguments: Sequence[str]) -> SiloProcess:
        return await SiloProcess.start((*arguments, *self._options), lambda text: self._write(self.name, text))


def meaning_of(code: int) -> str:
    """An exit code in words."""
    if code < 0:
        return f"ended by signal {-code}"
    known = code in set(ExitCode)
    return f"exit code {code}" + (f", {ExitCode(code).name.lower().replace('_', ' ')}" if known else "")


def _environment() -> dict[str, str]:
    """The environment of the silos: this one, with a short drain time-out and all acts unless it sets them."""
    names = {each.upper().removesuffix("_FILE") for each in os.environ}
    return {**{name: value for name, value in _DEFAULTS.items() if name not in names}, **os.environ}


def _event(line: str) -> _Imported | _Active | None:
    """The event of a line that `grange run` prints for programs. A line of the application may be JSON, too."""
    if not line.startswith("{"):
        return None
    try:
        return msgspec.json.decode(line, type=_Imported | _Active)
    except msgspec.DecodeError:
        return None
