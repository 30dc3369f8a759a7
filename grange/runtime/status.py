"""Callers of requests that take long hear once how far those are, for the message of their time-out.

A look each second at what came by the connections of a silo: no request has a timer for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

STATUS_PERIOD = 1.0
"""Seconds between two looks."""

STATUS_AT_ONCE = 50
"""Requests told of in one look: finding a place in a long queue takes 0.2 ms, and others wait meanwhile."""

SHARE_LEFT = 0.75
"""Of its time, a request that takes long has so much left when its caller hears of it."""


class Tells(Protocol):
    """One connection with the requests that came by it: `inbound.Incoming`."""

    def tell_status(self, now: float, most: int) -> int:
        """Tell the caller of at most so many requests that take long; returns of how many."""
        ...


async def tell_callers(connections: Callable[[], Iterable[Tells]]) -> None:
    """For the life of the silo: look at all connections, again and again."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(STATUS_PERIOD)
        left = STATUS_AT_ONCE
        for connection in connections():
            left -= connection.tell_status(loop.time(), left)
