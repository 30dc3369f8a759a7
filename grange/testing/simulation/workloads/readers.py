"""Streamed results, read whole, left early, or cancelled: no item is missing, repeated or out of order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from typing import Any

from grange.errors import CallError, EnumerationAborted
from grange.grains.enumeration import with_batch_size
from grange.grains.grain import Grain
from grange.testing.checks.history import Violation
from grange.testing.simulation.workloads.contract import Actor, Ended, Scene

WHOLE, LEFT, CANCELLED, ABORTED, FAILED = "whole", "left", "cancelled", "aborted", "failed"
"""How a read ended."""

MOST_PAGES = 250
"""Most items of one stream: more than two batches."""

PATIENCE = 3.0
"""Seconds after which a reader that is not patient is cancelled."""


class SimulatedBook(Grain, name="simulated_book", idle_timeout=10):
    """Streams the numbers of its pages, some at once and some after a while."""

    async def pages(self, count: int) -> AsyncIterator[int]:
        """Yield the numbers from 0 to below `count`."""
        for page in range(count):
            if page % 40 == 39:
                await asyncio.sleep(0.5)
            yield page


class Readers:
    """Clients that read streams in batches of several sizes."""

    name = "readers"

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._wrong: list[Violation] = []
        self._ends: Counter[str] = Counter()

    def grains(self, machine: int) -> Sequence[type[Grain[Any]]]:
        """See `Workload`."""
        return (SimulatedBook,)

    async def act(self, actor: Actor) -> None:
        """See `Workload`."""
        while actor.is_running():
            await actor.pause(self._scene.pace * 10)  # a read is many requests
            key = f"b-k{actor.rng.randrange(self._scene.keys)}"
            end = await self._read(actor, key)
            self._scene.event_log.record(f"read_{end}", f"{actor.name} {key}")
            self._ends[end] += 1

    async def _read(self, actor: Actor, key: str) -> str:
        """Read one stream; returns how it ended."""
        rng = actor.rng
        count, most = rng.randrange(MOST_PAGES), rng.choice((1, 7, 100))
        leaves_at = rng.randrange(count + 1) if rng.random() < 0.2 else count + 1
        patience = PATIENCE * rng.random() if rng.random() < 0.2 else None
        pages = with_batch_size(actor.client.get_grain(SimulatedBook, key).pages(count), most)
        try:
            async with asyncio.timeout(patience), aclosing(pages):  # type: ignore[type-var]
                taken = await self._take(actor, key, pages, leaves_at)
        except EnumerationAborted:
            return ABORTED
        except CallError:
            return FAILED
        except TimeoutError:
            return CANCELLED
        if taken not in (count, leaves_at):
            self._note(actor, key, f"it ended after {taken} of {count} pages")
        return LEFT if taken == leaves_at else WHOLE

    async def _take(self, actor: Actor, key: str, pages: AsyncIterator[int], leaves_at: int) -> int:
        """Read up to this page, or to the end. Returns the number of pages."""
        taken = 0
        async for page in pages:
            if page != taken:
                self._note(actor, key, f"page {page} came after {taken} pages")
            taken += 1
            if taken == leaves_at:
                break
        return taken

    def _note(self, actor: Actor, key: str, text: str) -> None:
        self._wrong.append(Violation("I8", key, f"{actor.name} read a stream: {text}"))

    def check(self, ended: Ended) -> Iterable[Violation]:
        """See `Workload`."""
        yield from self._wrong
        for end in (ABORTED, FAILED) if ended.stable else ():
            if self._ends[end]:
                yield Violation("I8", self.name, f"{self._ends[end]} reads were {end} without any fault")
