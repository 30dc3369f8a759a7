"""The silo of the process tests: `grange run tests.processes.counters:silo`."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from grange import Grain, PersistentState, always_interleave, cancellable, read_only
from grange.silo import Silo


@dataclass
class Total:
    total: int = 0


class Counter(Grain[str], name="counter"):
    """Counts, and answers when the count is stored."""

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
    """A grain without state: names its process, and shows behaviour that a test observes from outside."""

    async def pid(self) -> int:
        return os.getpid()

    async def pid_of(self, key: str) -> int:
        """Ask another probe for its process."""
        return await self.get_grain(Probe, key).pid()

    async def hold(self) -> None:
        """Never end; print a line at the start."""
        print(f"holding {self.key}", flush=True)
        await asyncio.Event().wait()

    async def resist(self) -> None:
        """Never end, not even after a cancellation."""
        print(f"resisting {self.key}", flush=True)
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    async def spin(self) -> None:
        """Never yield to the event loop; print a line at the start."""
        print(f"spinning {self.key}", flush=True)
        self._compute()

    def _compute(self) -> None:
        while True:
            pass

    async def block(self) -> None:
        """Start a thread that never ends."""
        print(f"blocking {self.key}", flush=True)
        await asyncio.to_thread(threading.Event().wait)

    async def print_turn(self, word: str) -> None:
        """Print a line, as evidence that a turn ran."""
        print(f"turn {word}", flush=True)

    async def block_loop(self, seconds: float) -> None:
        """Block the event loop."""
        print(f"blocking the loop: {self.key}", flush=True)
        time.sleep(seconds)

    async def take(self, data: bytes) -> int:
        return len(data)

    async def make(self, size: int) -> bytes:
        return bytes(size)

    async def fail(self) -> None:
        raise LookupError("there is no such apple")


class Stream(Grain[str], name="stream"):
    """Is cancelled, streams, and records both."""

    def __init__(self) -> None:
        self.events: list[str] = []

    @always_interleave
    async def seen(self) -> list[str]:
        return self.events

    @cancellable
    async def work(self) -> None:
        self.events.append("began")
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            self.events.append("cancelled")
            raise

    @cancellable(wait=True)
    async def insist(self) -> str:
        self.events.append("insists")
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
        return "all the same"

    async def numbers(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    async def failing(self) -> AsyncIterator[int]:
        yield 1
        raise ZeroDivisionError("at the end")

    async def endless(self) -> AsyncIterator[int]:
        try:
            for number in itertools.count():
                yield number
                await asyncio.sleep(0.001)
        finally:
            self.events.append("closed")


silo = Silo(grains=[Counter, Probe, Stream])
