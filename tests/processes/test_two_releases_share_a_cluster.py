"""The last release and this one in one cluster under load: a roll forward, and a roll back.

Clients of both releases call all the while, also grains that call others, so that each release answers the other.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from grange.servers.process import free_port
from tests.processes.last_release import last_release
from tests.processes.silo_process import ROOT, Process, SiloProcess, Silos

MEANWHILE = 500
"""Calls of each client between two restarts."""


class Caller(Process):
    """A client in a process of its own (`calling.py`)."""

    @classmethod
    async def of(cls, tree: Path, name: str, gateways: list[str], folder: Path) -> Caller:
        """Start one with the classes of this tree."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(ROOT / "tests/processes/calling.py"), name, *gateways,
            cwd=folder, env={"PYTHONPATH": str(tree), "PYTHONFAULTHANDLER": "1"},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        caller = cls(process)
        await caller.output_line("connected")
        return caller

    async def goes_on(self) -> None:
        """Wait until it has made further calls."""
        done = next((int(line.split()[1]) for line in reversed(self.printed) if line.startswith("called")), 0)
        await self.output_line(f"called {(done // MEANWHILE + 1) * MEANWHILE}")

    async def result(self) -> tuple[int, list[str]]:
        """End it; returns how many calls it made, and what failed."""
        self.close_input()
        await self.ended()
        assert self.printed[-1].startswith("{"), self.errors
        facts = json.loads(self.printed[-1])
        return facts["calls"], facts["failed"]


class Three:
    """Three silos on fixed ports, each of a release of its own.

    Their state is in Redis: a release refuses a SQLite file whose tables a later one has upgraded.
    """

    def __init__(self, silos: Silos, storage: str) -> None:
        self._silos = silos
        self._storage = ("--storage", storage)
        self._ports = [(str(free_port()), str(free_port())) for _ in range(3)]
        self.running: list[SiloProcess] = []

    @property
    def gateways(self) -> list[str]:
        return [f"127.0.0.1:{gateway}" for _, gateway in self._ports]

    async def start(self, number: int, tree: Path) -> SiloProcess:
        port, gateway = self._ports[number]
        ports = ("--port", port, "--gateway-port", gateway, "--name", f"silo-{number}")
        return await self._silos.run(*ports, *self._storage, PYTHONPATH=str(tree))

    async def start_all(self, tree: Path) -> None:
        self.running = list(await asyncio.gather(*(self.start(number, tree) for number in range(3))))

    async def roll(self, tree: Path, callers: list[Caller]) -> None:
        """Restart one silo after the other with this tree, while all callers go on."""
        for number in range(3):
            await asyncio.gather(*(caller.goes_on() for caller in callers))
            assert await self.running[number].stop() == 0, self.running[number].errors
            self.running[number] = await self.start(number, tree)
        await asyncio.gather(*(caller.goes_on() for caller in callers))


@asynccontextmanager
async def callers_of(trees: dict[str, Path], gateways: list[str], folder: Path) -> AsyncIterator[list[Caller]]:
    """A client of each tree; none of their calls may fail."""
    callers = [await Caller.of(tree, name, gateways, folder) for name, tree in trees.items()]
    try:
        yield callers
        for caller in callers:
            calls, failed = await caller.result()
            assert not failed, failed
            assert calls > 4 * MEANWHILE
            print(f"{calls} calls, 0 failed")
    finally:
        for caller in callers:
            await caller.close()


async def test_a_roll_forward_and_back_fails_no_call(silos: Silos, tmp_path: Path, redis_url: str) -> None:
    """VER-06: three silos of the last release are replaced by this one and back; no call of either client fails."""
    old = last_release(tmp_path / "last")
    three = Three(silos, redis_url)
    await three.start_all(old)
    async with callers_of({"old": old, "new": ROOT}, three.gateways, tmp_path) as callers:
        await three.roll(ROOT, callers)
        await three.roll(old, callers)
