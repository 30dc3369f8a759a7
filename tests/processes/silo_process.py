"""A silo in a process of its own, started by `grange run`, observed through its output."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from grange import SiloAddress

ROOT = Path(__file__).parents[2]
APP = "tests.processes.counters:silo"
PATIENCE = 45.0
"""Time limit in seconds of every wait; only a defect takes so long."""


class Process:
    """A running `grange`. A test waits for its output lines, or for its end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.printed: list[str] = []
        self.logged: list[str] = []
        self._changed = asyncio.Condition()
        streams = ((process.stdout, self.printed), (process.stderr, self.logged))
        self._readers = [asyncio.create_task(self._read(stream, lines)) for stream, lines in streams]

    @classmethod
    async def start(cls, *arguments: str, folder: Path, **environment: str) -> Self:
        """Start `grange` in this folder; its standard input is a pipe that ends with the test run."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GRANGE_")}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "grange", *arguments),
            cwd=folder,
            env={**inherited, "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1", "TMPDIR": str(folder), **environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether its end has not been observed yet."""
        return self._process.returncode is None

    @property
    def errors(self) -> str:
        """All of standard error."""
        return "\n".join(self.logged)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def output_line(self, *words: str) -> str:
        """Wait for a line on standard output with all these words; returns it."""
        return await self._wait_for(self.printed, lambda line: all(word in line for word in words), words)

    async def log_line(self, *words: str) -> str:
        """Wait for a line on standard error with all these words; returns it."""
        return await self._wait_for(self.logged, lambda line: all(word in line for word in words), words)

    def close_input(self) -> None:
        """End its standard input, as the end of its parent process would."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def ended(self) -> int:
        """Wait for its end; returns the exit code."""
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*self._readers)
            return await self._process.wait()

    async def close(self) -> None:
        """Kill it if it still runs, and wait until it is gone."""
        if self._process.returncode is None:
            self._process.kill()
        await asyncio.gather(*self._readers)
        await self._process.wait()
        self.close_input()

    async def _wait_for(self, lines: list[str], fits: Callable[[str], bool], words: Sequence[str]) -> str:
        def found() -> str | None:
            return next((line for line in lines if fits(line)), None)

        def is_decided() -> bool:
            return found() is not None or all(reader.done() for reader in self._readers)

        try:
            async with asyncio.timeout(PATIENCE), self._changed:
                await self._changed.wait_for(is_decided)
        except TimeoutError:
            raise AssertionError(f"no line with {words}:\n{self.errors}") from None
        line = found()
        assert line is not None, f"it ended without a line with {words}:\n{self.errors}\n{self.printed[-30:]}"
        return line

    async def _read(self, stream: asyncio.StreamReader | None, lines: list[str]) -> None:
        assert stream is not None
        try:
            async for line in stream:
                async with self._changed:
                    lines.append(line.decode(errors="replace").rstrip("\n"))
                    self._changed.notify_all()
        finally:
            async with self._changed:
                self._changed.notify_all()


class SiloProcess(Process):
    """A `grange run`; it has an address and a gateway after `active`."""

    address: SiloAddress
    gateway: str

    async def active(self) -> dict[str, Any]:
        """Wait until it is active; returns the facts that it prints."""
        facts = json.loads(await self.output_line('"event":"active"'))
        self.address, self.gateway = SiloAddress.parse(facts["address"]), facts["gateway"]
        return facts

    async def stop(self) -> int:
        """SIGTERM, and wait for the end; returns the exit code."""
        self.signal(signal.SIGTERM)
        return await self.ended()


class Silos:
    """Starts silos for one test, and ends all of them with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: list[Process] = []

    async def command(self, *arguments: str, **environment: str) -> Process:
        """Start any command of `grange`."""
        process = await Process.start(*arguments, folder=self.folder, **environment)
        self._processes.append(process)
        return process

    async def start(self, *options: str, app: str = APP, **environment: str) -> SiloProcess:
        """Start a silo on free ports; do not wait until it is active."""
        free = ("--port", "0", "--gateway-port", "0", "--http", "off", "--json", "--log-json", "--stop-with-stdin")
        silo = await SiloProcess.start("run", app, *free, *options, folder=self.folder, **environment)
        self._processes.append(silo)
        return silo

    async def run(self, *options: str, **environment: str) -> SiloProcess:
        """Start a silo and wait until it is active."""
        silo = await self.start(*options, **environment)
        await silo.active()
        return silo

    async def run_two(self, *options: str, **environment: str) -> tuple[SiloProcess, SiloProcess]:
        """Start two silos of one cluster and wait until both are active."""
        return await asyncio.gather(self.run(*options, **environment), self.run(*options, **environment))

    async def close(self) -> None:
        await asyncio.gather(*(process.close() for process in self._processes))
