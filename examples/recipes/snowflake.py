"""Snowflake ids: unique in the cluster, ascending with time, and made in memory.

An id has 41 bits of milliseconds, 10 bits of the worker's number, and 12 bits of a sequence.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from examples.recipes.workers import Workers, check_clock

EPOCH = 1_735_689_600_000
"""2025-01-01 in milliseconds since 1970. It must not change once there are ids."""

SEQUENCE = 4096


def clock_of_machine() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Snowflake:
    """The ids of one process. `owner` names the process and its generation: `str(silo.address)` does."""

    def __init__(self, workers: Workers, owner: str, clock: Callable[[], int] = clock_of_machine) -> None:
        self._workers = workers
        self._owner = owner
        self._clock = clock
        self._number = self._mark = self._last = self._sequence = 0
        self._reserving = asyncio.Lock()

    async def next(self) -> int:
        """An id that is higher than all before it. Raises ClockBehind, and what a call raises; it may be repeated."""
        while True:
            now = self._clock()
            check_clock(now, self._mark)
            moment = max(now, self._last)
            sequence = self._sequence + 1 if moment == self._last else 0
            if sequence == SEQUENCE:
                moment, sequence = moment + 1, 0
            if moment <= self._mark:
                self._last, self._sequence = moment, sequence
                return (moment - EPOCH) << 22 | self._number << 12 | sequence
            await self._reserve(moment)

    async def _reserve(self, moment: int) -> None:
        async with self._reserving:  # one call for all that wait here
            if moment > self._mark:
                number, before, mark = await self._workers.reserve(self._owner, self._clock())
                self._number, self._mark = number, mark
                self._last, self._sequence = max(self._last, before), SEQUENCE - 1  # the next one is after these
