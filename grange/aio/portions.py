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
    """Spreads work that begins in one iteration of the loop over later ones: at most `portion` pieces in each.

    Before a piece of work: `if pace.spent(): await pace.turn()`. The order is kept.
    """

    __slots__ = ("_begun", "_half", "_loop", "_marked", "_portion", "_waiting")

    def __init__(self, portion: int = PORTION) -> None:
        self._loop = asyncio.get_running_loop()
        self._portion = portion
        self._half = portion // 2
        self._begun = 0
        self._marked = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    def spent(self) -> bool:
        """Count a piece of work. True: so much has begun in this iteration that it must wait for its turn.

        asyncio does not tell one iteration from the next. So a callback is queued after each half portion: if another
        half begins before it runs, both begin in one iteration.
        """
        self._begun += 1
        if self._begun < self._half:
            return False
        if not self._marked:
            self._marked = True
            self._loop.call_soon(self._on_iteration, context=Context())
        return self._begun > self._portion

    async def turn(self) -> None:
        """Wait for a later iteration of the loop."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(waiter)
        await waiter

    def _on_iteration(self) -> None:
        """A later iteration has begun: release a portion of those that wait."""
        released = 0
        while self._waiting and released < self._portion:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                released += 1
        if self._waiting:
            self._loop.call_soon(self._on_iteration, context=Context())
        else:
            self._marked = False
            self._begun = 0
