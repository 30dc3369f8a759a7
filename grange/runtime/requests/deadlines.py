"""Deadlines of many calls with few timers: entries expire in sweeps, so a call needs no timer of its own."""

from __future__ import annotations

import asyncio
import math
from typing import Protocol

from grange.aio.awake import GRACE, STOP_THRESHOLD, AwakeTimeout
from grange.aio.portions import in_portions

SWEEP_INTERVAL = 0.02
"""Seconds between two sweeps; upper bound of how late a call times out, unless this process was suspended. A call never
times out early."""

MAX_TIMEOUT_MS = 2**32 - 1
"""Milliseconds, about seven weeks: the largest time-out that a request can carry (32 bits)."""


def until(deadline: float) -> AwakeTimeout:
    """Time out at `deadline` (loop time or infinite), later if this process is suspended. Use with `async with`."""
    return AwakeTimeout(max(0.0, deadline - asyncio.get_running_loop().time()))


def milliseconds_until(deadline: float) -> int:
    """The time left in milliseconds, as a request carries it: at least 1; 0 (no limit) if above `MAX_TIMEOUT_MS`."""
    left = (deadline - asyncio.get_running_loop().time()) * 1000
    return 0 if left > MAX_TIMEOUT_MS else max(1, int(left))


class Expires(Protocol):
    """An entry of `Deadlines`."""

    def expire(self) -> None:
        """The deadline has passed. Called once, in the event loop."""
        ...


class Deadlines:
    """The deadlines of one silo or client. An entry is removed by `discard`, or when it expires."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._steps: dict[int, dict[Expires, None]] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._expiring: dict[Expires, None] = {}

    def add(self, entry: Expires, when: float) -> int:
        """Expire `entry` soon after `when` (loop time; infinite: never). Returns the step, for `discard`."""
        if when == math.inf:
            return 0
        step = math.ceil(when / SWEEP_INTERVAL)
        entries = self._steps.get(step)
        if entries is None:
            entries = self._steps[step] = {}
            self._timers[step] = self._loop.call_at(step * SWEEP_INTERVAL, self._due, step)
        entries[entry] = None
        return step

    def discard(self, entry: Expires, step: int) -> None:
        """Remove an entry that ended in time."""
        if self._expiring:
            self._expiring.pop(entry, None)
        entries = self._steps.get(step)
        if entries is not None:
            entries.pop(entry, None)
            if not entries:
                del self._steps[step]
                self._timers.pop(step).cancel()

    def close(self) -> None:
        """Expire all entries, in portions, because no sweep follows and they would wait for ever."""
        for timer in self._timers.values():
            timer.cancel()
        left = [*self._expiring, *(entry for entries in self._steps.values() for entry in entries)]
        for each in (self._timers, self._steps, self._expiring):
            each.clear()
        in_portions(left, _expire_now)

    def _due(self, step: int) -> None:
        now = self._loop.time()
        if now - step * SWEEP_INTERVAL > STOP_THRESHOLD:
            # This process was suspended, and the answers may wait in its sockets. Postpone once only: the next sweep
            # may be late again.
            self._timers[step] = self._loop.call_at(now + GRACE, self._sweep, step)
        else:
            self._sweep(step)

    def _sweep(self, step: int) -> None:
        """Expire the entries of this step in portions. Those that end before their turn comes do not expire."""
        self._timers.pop(step, None)
        entries = self._steps.pop(step, {})
        self._expiring.update(entries)
        in_portions(entries, self._expire)

    def _expire(self, entry: Expires) -> None:
        if entry in self._expiring:
            del self._expiring[entry]
            entry.expire()


def _expire_now(entry: Expires) -> None:
    entry.expire()
