"""An outbox by hand: a change and the event that tells it are stored in one step, and consumers poll the events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from grange import Grain, PersistentState, transactional

PATIENCE = 30.0
"""Seconds for a consumer to finish an event. After that another consumer gets it."""


@dataclass(frozen=True)
class Event:
    """One event. All events below `oldest` are finished (see `inbox.py`)."""

    number: int
    oldest: int
    text: str


@dataclass
class ShopState:
    """The stock of a shop, and the table of its events that are not finished, by number."""

    stock: dict[str, int] = field(default_factory=dict)
    last: int = 0
    events: dict[int, str] = field(default_factory=dict)


class Shop(Grain, name="shop"):
    """A shop with an outbox. The hand-outs are in memory: after a crash, all events are handed out again."""

    def __init__(self, state: PersistentState[ShopState]) -> None:
        self._state = state
        self._handed_out: dict[int, float] = {}

    @transactional
    async def sell(self, item: str) -> None:
        """Change the stock and tell it: both, or neither."""
        shop = self._state.value
        shop.stock[item] = shop.stock.get(item, 0) - 1
        shop.last += 1
        shop.events[shop.last] = f"sold {item}"

    async def take(self) -> Event | None:
        """An event that no consumer has, for `PATIENCE` seconds; None if there is none."""
        events, now = self._state.value.events, asyncio.get_running_loop().time()
        for number, text in events.items():
            if now >= self._handed_out.get(number, 0.0):
                self._handed_out[number] = now + PATIENCE
                return Event(number, min(events), text)
        return None

    @transactional
    async def finish(self, number: int) -> None:
        """Remove an event that was handled. To finish it twice changes nothing."""
        self._state.value.events.pop(number, None)
        self._handed_out.pop(number, None)


async def consume(shop: Shop, handle: Callable[[Event], Awaitable[object]], pause: float = 1.0) -> None:
    """Poll until cancelled; raises what `handle` and the calls raise. Run as many as there is work for."""
    while True:
        if (event := await shop.take()) is None:
            await asyncio.sleep(pause)
        else:
            await handle(event)
            await shop.finish(event.number)
