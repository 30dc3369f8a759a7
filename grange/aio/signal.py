"""A signal for an event that recurs: each waiter waits for the next occurrence."""

from __future__ import annotations

import asyncio


class Signal:
    """Wakes all waiters each time it fires. A waiter must check its condition again after waking.

    `times`: how often it has fired.
    """

    __slots__ = ("_event", "times")

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.times = 0

    def fire(self) -> None:
        """Wake all current waiters."""
        self.times += 1
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def wait(self, seconds: float, seen: int | None = None) -> bool:
        """Wait for the next `fire`, at most this long. Returns whether it fired.

        Returns at once when `seconds` is not above 0, and when it has fired more often than `seen`: what the caller did
        since then did not look at what has happened.
        """
        if seen is not None and self.times > seen:
            return True
        if seconds <= 0:
            return False
        event = self._event
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return False
        return True
