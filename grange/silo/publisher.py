"""Publishes the figures of a silo for the admin thread: as a frozen value, from the silo's loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from grange.observability.snapshot import Snapshot

WATCHED = 1.0
"""Seconds between two publications while a page watches, and the age up to which a scrape takes the last one."""

UNWATCHED = 10.0
"""Seconds between two publications otherwise: a silo that is not looked at has other work."""


class Publisher:
    """The published figures of one silo. Made in its loop; `latest` and `watched` belong to the admin thread.

    `make` makes the figures; it must take no longer than a slice of the loop.
    """

    def __init__(self, make: Callable[[], Snapshot]) -> None:
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._made = self._loop.time()
        self.latest = make()
        self.watched = 0

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            await asyncio.sleep(WATCHED)
            if self._loop.time() - self._made >= (WATCHED if self.watched else UNWATCHED):
                self._publish()

    async def renew(self) -> Snapshot:
        """The figures, made now unless they are younger than `WATCHED`."""
        if self._loop.time() - self._made >= WATCHED:
            self._publish()
        return self.latest

    def _publish(self) -> None:
        self.latest = self._make()
        self._made = self._loop.time()
