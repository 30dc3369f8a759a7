"""The silo that the process tests run: `grange run tests.processes.counters:silo`."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from dataclasses import dataclass

from grange import Grain, PersistentState, read_only
from grange.silo import Silo


@dataclass
class Total:
    total: int = 0


class Counter(Grain[str], name="counter"):
    """Counts, and answers only when the count is stored."""

    def __init__(self, state: PersistentState[Total]) -> None:
        self.state = state

    async def add(self, amount: int = 1) -> int:
        self.state.value.total += amount
        await self.state.write()
        return self.state.value.total

    @read_only
    async def total(self) -> int:
        return self.state.value.total


class Probe(Grain[str], name="probe"):
    """Keeps nothing; says where it runs, and does what a test needs to see from outside."""

    async def pid(self) -> int:
        return os.getpid()

    async def hold(self) -> None:
        """Never ends; says on standard output that it has begun."""
        print(f"holding {self.key}", flush=True)
        await asyncio.Event().wait()

    async def resist(self) -> None:
        """Never ends, not even when it is cancelled."""
        print(f"resisting {self.key}", flush=True)
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    async def block(self) -> None:
        """Leaves a thread behind that never ends."""
        print(f"blocking {self.key}", flush=True)
        await asyncio.to_thread(threading.Event().wait)

    async def say(self, word: str) -> None:
        """Say on standard output that a turn ran."""
        print(f"turn {word}", flush=True)

    async def hold_up(self, seconds: float) -> None:
        """Keep the whole event loop from going on."""
        print(f"holding up {self.key}", flush=True)
        time.sleep(seconds)

    async def take(self, data: bytes) -> int:
        return len(data)

    async def make(self, size: int) -> bytes:
        return bytes(size)

    async def fail(self) -> None:
        raise LookupError("there is no such apple")


silo = Silo(grains=[Counter, Probe])
