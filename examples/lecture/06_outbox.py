"""Exercise 6, an outbox: events that were stored are handled once each, by as many consumers as there are.

In a database, two consumers that poll one table need a lock on the row. Here the outbox is a grain: it does one thing
at a time, so no two consumers get one event. An event that its consumer does not finish in time is handed out again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from grange import Grain, PersistentState
from grange.testing import TestCluster

PATIENCE = 30.0
"""Seconds for a consumer to finish an event."""


@dataclass
class Events:
    """The events that are not finished, by number."""

    last: int = 0
    waiting: dict[int, str] = field(default_factory=dict)


class Outbox(Grain):
    """Stores events, and hands each to one consumer. Who has which is in memory: after a crash all are handed out."""

    def __init__(self, events: PersistentState[Events]) -> None:
        self.events = events
        self.handed: dict[int, float] = {}

    async def publish(self, event: str) -> None:
        """Store an event, in the same write as what caused it."""
        state = self.events.value
        state.last += 1
        state.waiting[state.last] = event
        await self.events.write()

    async def take(self) -> tuple[int, str] | None:
        """An event that no consumer has; None if there is none."""
        now = asyncio.get_running_loop().time()
        for number, event in self.events.value.waiting.items():
            if now >= self.handed.get(number, 0.0):
                self.handed[number] = now + PATIENCE
                return number, event
        return None

    async def finish(self, number: int) -> None:
        """The event was handled: forget it. To finish it twice changes nothing."""
        if self.events.value.waiting.pop(number, None) is not None:
            self.handed.pop(number, None)
            await self.events.write()


async def consume(name: str, outbox: Outbox, seconds: float, crashes_at: str = "") -> None:
    """Poll until nothing is left. An event takes so many seconds."""
    while (taken := await outbox.take()) is not None:
        number, event = taken
        await asyncio.sleep(seconds)
        print(f"{name} {'crashes with' if event == crashes_at else 'handles'} {event}")
        if event == crashes_at:
            return
        await outbox.finish(number)


async def main() -> None:
    """Two consumers, one of which crashes."""
    async with TestCluster(grains=[Outbox], silos=2) as cluster:
        outbox = cluster.get_grain(Outbox, "orders")
        for number in range(1, 5):
            await outbox.publish(f"order {number}")
        await asyncio.gather(consume("one", outbox, 1), consume("two", outbox, 1.5, crashes_at="order 2"))
        await cluster.advance(PATIENCE)
        await consume("three", outbox, 1)


if __name__ == "__main__":
    asyncio.run(main())
