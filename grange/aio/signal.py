"""A signal for an event that recurs: each waiter waits for the next occurrence."""

from __future__ import annotations

import asyncio


class Signal:
    """Wakes all waiters each time it fires. A waiter must check its condition again after waking."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def fire(self) -> None:
        """Wake all current waiters."""
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def wait(self, seconds: float) -> None:
        """Wait for the next `fire`, at most this long; returns at once when `seconds` is not above 0."""
        if seconds <= 0:
            return
        event = self._event
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return
