"""Deadlines of many calls with few timers: entries expire in sweeps, so a call needs no timer of its own.

`DeadlineOrder` is for calls with one time-out, which are due in the order in which they were made: a call that ends in
time costs nothing but its removal from a dict. `Deadlines` is for any deadline.
"""

from __future__ import annotations

import asyncio
import math
from contextvars import Context
from itertools import islice
from typing import Generic, Protocol, TypeVar

from grange.aio.awake import GRACE, STOP_THRESHOLD, AwakeTimeout
from grange.aio.portions import PORTION, in_portions

SWEEP_INTERVAL = 0.02
"""Seconds between two sweeps; upper bound of how late a call times out, unless this process was suspended. A call never
times out early."""

MAX_TIMEOUT_MS = 2**32 - 1
"""Milliseconds, about seven weeks: the largest time-out that a request can carry (32 bits)."""


def until(deadline: float) -> AwakeTimeout:
    """Time out at `deadline` (loop time or infinite), later if this process is suspended. Use with `async with`."""
    return AwakeTimeout(max(0.0, deadline - asyncio.get_running_loop().time()))


def milliseconds(seconds: float) -> int:
    """A time-out as a request carries it: at least 1 ms; 0 (no limit) if above `MAX_TIMEOUT_MS`."""
    return 0 if seconds * 1000 > MAX_TIMEOUT_MS else max(1, int(seconds * 1000))


def milliseconds_until(deadline: float) -> int:
    """The time left in milliseconds, as a request carries it."""
    return milliseconds(deadline - asyncio.get_running_loop().time())


class Expires(Protocol):
    """An entry of `Deadlines`."""

    def expire(self) -> None:
        """The deadline has passed. Called once, in the event loop."""
        ...


class InOrder(Protocol):
    """An entry of `DeadlineOrder`. `deadline` is in loop time."""

    deadline: float

    def expire(self) -> None:
        """The deadline has passed; the entry must leave `DeadlineOrder.entries`. Called once, in the event loop."""
        ...


E = TypeVar("E", bound=InOrder)


class DeadlineOrder(Generic[E]):
    """The deadlines of calls that are due in the order in which they were made, with one timer for all of them.

    The owner adds to `entries` and removes from it. After an addition it calls `start` if `idle`.
    """

    __slots__ = ("_due", "_loop", "_timer", "entries", "idle")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.entries: dict[int, E] = {}
        self.idle = True
        self._loop = loop
        self._due = 0.0
        self._timer: asyncio.Handle | None = None

    def start(self, deadline: float) -> None:
        """Start the timer: the first entry is due at `deadline`, which must not be infinite."""
        self.idle = False
        self._due = max(deadline, math.ceil(deadline / SWEEP_INTERVAL) * SWEEP_INTERVAL)
        self._timer = self._loop.call_at(self._due, self._on_due, context=Context())

    def take_all(self) -> list[E]:
        """Remove all entries and the timer."""
        taken = list(self.entries.values())
        self.entries.clear()
        self.idle = True
        if self._timer is not None:
            self._timer.cancel()
        return taken

    def _on_due(self) -> None:
        now = self._loop.time()
        if now - self._due > STOP_THRESHOLD:
            # This process was suspended, as in `Deadlines`. Postpone once only.
            self._timer = self._loop.call_at(now + GRACE, self._sweep)
        else:
            self._sweep()

    def _sweep(self) -> None:
        """Expire the first entries if their time is over, in portions. Those that end meanwhile do not expire."""
        now = max(self._due, self._loop.time())
        first = list(islice(self.entries.items(), PORTION + 1))
        due = [each for each in first[:PORTION] if each[1].deadline <= now]
        # The next timer comes before the work, so that an error in it does not lose the rest.
        if len(due) == len(first):
            self.idle = True
        elif len(due) == PORTION:
            self._timer = self._loop.call_soon(self._sweep, context=Context())
        else:
            self.start(first[len(due)][1].deadline)
        for number, entry in due:
            if number in self.entries:  # the end of another entry may have ended it
                entry.expire()


class Deadlines:
    """The deadlines of one silo or client. An entry is removed by `discard`, or when it expires."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
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
            self._timers[step] = self.loop.call_at(step * SWEEP_INTERVAL, self._due, step)
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
        """Expire all entries from now on, in portions, because no sweep follows and they would wait for ever."""
        for timer in self._timers.values():
            timer.cancel()
        left = {entry: None for step in sorted(self._steps) for entry in self._steps[step]}
        self._timers.clear()
        self._steps.clear()
        self._expire_all(left)

    def _due(self, step: int) -> None:
        now = self.loop.time()
        if now - step * SWEEP_INTERVAL > STOP_THRESHOLD:
            # This process was suspended, and the answers may wait in its sockets. Postpone once only: the next sweep
            # may be late again.
            self._timers[step] = self.loop.call_at(now + GRACE, self._sweep, step)
        else:
            self._sweep(step)

    def _sweep(self, step: int) -> None:
        self._timers.pop(step, None)
        self._expire_all(self._steps.pop(step, {}))

    def _expire_all(self, entries: dict[Expires, None]) -> None:
        """Expire these entries in portions. Those that end before their turn comes do not expire."""
        self._expiring.update(entries)
        in_portions(entries, self._expire)

    def _expire(self, entry: Expires) -> None:
        if entry in self._expiring:
            del self._expiring[entry]
            entry.expire()
