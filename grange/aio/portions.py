"""Does much small work in portions, so that the event loop runs other callbacks in between."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context
from typing import TypeVar

T = TypeVar("T")

PORTION = 100
"""Items in one portion. Ending a call wakes its caller, which takes up to 0.1 ms: one portion takes about 10 ms."""

MOMENT = 0.002
"""Seconds in which work counts as begun at once; longer than an iteration of the loop that is not busy."""


def in_portions(items: Iterable[T], act: Callable[[T], None]) -> None:
    """Call `act` for each item, in order: for the first `PORTION` now, for the others in later iterations of the loop.

    `act` must not raise, and must bear that the world has changed since this call.
    """
    _next_portion(deque(items), act)


def _next_portion(left: deque[T], act: Callable[[T], None]) -> None:
    if len(left) > PORTION:
        # Before the work, so that an error in it does not lose the rest.
        asyncio.get_running_loop().call_soon(_next_portion, left, act, context=Context())
    for _ in range(min(PORTION, len(left))):
        act(left.popleft())


class Pace:
    """Spreads work that begins in one moment over iterations of the loop: `PORTION` pieces in each.

    Before a piece of work: `if pace.spent(): await pace.turn()`. The order is kept.
    """

    __slots__ = ("_begun", "_loop", "_since", "_waiting")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._since = 0.0
        self._begun = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def spent(self) -> bool:
        """Count a piece of work. True: so much has begun in the last milliseconds that it must wait for its turn."""
        now = self._loop.time()
        if now - self._since > MOMENT and not self._waiting:
            self._since = now
            self._begun = 0
        self._begun += 1
        return self._begun > PORTION

    async def turn(self) -> None:
        """Wait for a later iteration of the loop."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        if not self._waiting:
            self._loop.call_soon(self._release, context=Context())
        self._waiting.append(waiter)
        await waiter

    def _release(self) -> None:
        for _ in range(min(PORTION, len(self._waiting))):
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
        if self._waiting:
            self._loop.call_soon(self._release, context=Context())
