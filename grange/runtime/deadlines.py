"""Many deadlines, few timers: calls that must end by a time, swept in steps; a call costs no timer of its own."""

from __future__ import annotations

import asyncio
import math
from typing import Protocol

from grange.aio.awake import GRACE, STOP_THRESHOLD, AwakeTimeout

STEP = 0.02
"""Seconds between two sweeps; unless this process stood still, a call times out at most so much late; never early."""


def until(deadline: float) -> AwakeTimeout:
    """`async with until(deadline)`: times out then (loop time, or infinite), later if this process stands still."""
    return AwakeTimeout(max(0.0, deadline - asyncio.get_running_loop().time()))


def milliseconds_until(deadline: float) -> int:
    """What a request says of its remaining time: at least 1, and 0 for no limit or one that no number there holds."""
    left = (deadline - asyncio.get_running_loop().time()) * 1000
    return 0 if left > LONGEST else max(1, int(left))


LONGEST = 2**32 - 1
"""Milliseconds, some seven weeks: the largest time-out that a request can name."""


class Expires(Protocol):
    """Something with a deadline."""

    def expire(self) -> None:
        """The time is over. Called once, in the loop."""
        ...


class Deadlines:
    """The deadlines of one silo or client. Entries are removed by `discard` or by expiring."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._steps: dict[int, dict[Expires, None]] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}

    def add(self, entry: Expires, when: float) -> int:
        """Have `entry` expire soon after `when` (loop time; infinite: never). Returns the step to name in `discard`."""
        if when == math.inf:
            return 0
        step = math.ceil(when / STEP)
        entries = self._steps.get(step)
        if entries is None:
            entries = self._steps[step] = {}
            self._timers[step] = self._loop.call_at(step * STEP, self._due, step)
        entries[entry] = None
        return step

    def discard(self, entry: Expires, step: int) -> None:
        """This entry ended in time."""
        entries = self._steps.get(step)
        if entries is not None:
            entries.pop(entry, None)
            if not entries:
                del self._steps[step]
                self._timers.pop(step).cancel()

    def close(self) -> None:
        """No sweep comes any more: whoever still waits is told now, or would wait for ever."""
        for step, timer in list(self._timers.items()):
            timer.cancel()
            self._sweep(step)

    def _due(self, step: int) -> None:
        now = self._loop.time()
        if now - step * STEP > STOP_THRESHOLD:
            # This process stood still, and the answers may lie in its sockets. Once: it may be late again.
            self._timers[step] = self._loop.call_at(now + GRACE, self._sweep, step)
        else:
            self._sweep(step)

    def _sweep(self, step: int) -> None:
        self._timers.pop(step, None)
        for entry in self._steps.pop(step, {}):
            entry.expire()
