"""Waiting for the next time that something happens."""

from __future__ import annotations

import asyncio


class Signal:
    """Wakes everybody who waits, each time it is fired. Look at the facts again after each waking."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def fire(self) -> None:
        """Wake all who wait now."""
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def wait(self, seconds: float) -> None:
        """Until the next `fire`, at most so long; returns at once when there is no time left."""
        if seconds <= 0:
            return
        event = self._event
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return
