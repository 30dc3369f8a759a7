"""Time-outs that count only the time in which this process was awake, not the time in which it was stopped.

When a stopped process continues, its timers are due, and the answers that arrived meanwhile are unread in its sockets.
With ordinary time-outs the timers run first: a store or silo that answered in a millisecond counts as unreachable, and
the outcome of a write as unknown. These time-outs detect a stop by a timer that fires late, and do not count it.

Used wherever a missing answer from outside is an error: stores, the membership table, calls.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextvars import Context
from itertools import takewhile
from types import TracebackType
from typing import Generic, Self, TypeVar

from grange.aio.portions import in_portions

E = TypeVar("E")

SLICE = 0.25
"""Seconds; a longer wait is divided into slices of this length. At most one slice of a stop counts as time awake."""

STOP_THRESHOLD = 0.05
"""Seconds; a timer that is later than this indicates a stop. A busy event loop is rarely that late."""

GRACE = 0.5
"""Seconds; least time left after the first stop, to read the answers that wait in the sockets."""


class AwakeTimer:
    """Calls `on_expired` after `seconds` of time awake (infinite: never), unless `stop` is called before.

    It also expires on a loop that is always late: every slice counts, and the grace is added only once.
    """

    __slots__ = ("_due", "_end", "_grace_added", "_handle", "_loop", "_on_expired")

    def __init__(self, seconds: float, on_expired: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_expired = on_expired
        self._grace_added = False
        self._due = self._loop.time()
        self._end = self._due + seconds
        self._handle: asyncio.TimerHandle | None = None
        if seconds < math.inf:
            self._next()

    def stop(self) -> None:
        """Cancel the timer."""
        if self._handle is not None:
            self._handle.cancel()

    def _next(self) -> None:
        self._due = min(self._end, self._due + SLICE)
        self._handle = self._loop.call_at(self._due, self._end_slice)

    def _end_slice(self) -> None:
        now = self._loop.time()
        late = now - self._due
        if late > STOP_THRESHOLD:
            self._end += late
            if not self._grace_added:
                self._grace_added = True
                self._end = max(self._end, now + GRACE)
            self._due = now
        if self._due < self._end:
            self._next()
        else:
            self._on_expired()


class AwakeTimeout:
    """`async with AwakeTimeout(seconds)`: raises TimeoutError as `asyncio.timeout` does, but counts only time awake."""

    __slots__ = ("_seconds", "_timeout", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._timer = AwakeTimer(self._seconds, self.expire)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.stop()
        await self._timeout.__aexit__(kind, error, trace)

    def expired(self) -> bool:
        """Whether the time ran out."""
        return self._timeout.expired()

    def expire(self) -> None:
        """Expire now. Call it only inside the `async with`."""
        if not self._timeout.expired():
            self._timeout.reschedule(asyncio.get_running_loop().time())


class AwakeOrder(Generic[E]):
    """Time-outs of one length for many entries, with one timer: each is due `seconds` of time awake after its `add`.

    It has the semantics of `AwakeTimer`, but a stop adds the grace at most once in `seconds`. `expire` is called once
    for an entry that was not discarded in time, in the order of the additions.
    """

    def __init__(self, seconds: float, expire: Callable[[E], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._expire = expire
        self._due_of: dict[E, float] = {}  # in time awake
        self._stopped = 0.0  # loop time minus time awake
        self._grace_until = -math.inf
        self._tick_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, entry: E) -> None:
        """Expire the entry after the time-out, unless it is discarded."""
        now = self._loop.time()
        if self._timer is not None and now - self._tick_at > STOP_THRESHOLD:
            # After a stop, what has come runs before the timer. The stop is not part of the time of this entry.
            self._count_stop(now)
            self._tick_at = now
        self._due_of[entry] = now - self._stopped + self._seconds
        if self._timer is None:
            self._start()

    def discard(self, entry: E) -> None:
        """The entry ended. The timer stays, because a next entry is likely; without entries it stops by itself."""
        self._due_of.pop(entry, None)

    def _start(self) -> None:
        now = self._loop.time()
        first = max(next(iter(self._due_of.values())), self._grace_until)
        self._tick_at = max(now, min(first + self._stopped, now + SLICE))
        self._timer = self._loop.call_at(self._tick_at, self._tick, context=Context())

    def _tick(self) -> None:
        self._timer = None
        now = max(self._tick_at, self._loop.time())  # a loop may run a timer a little early
        if now - self._tick_at > STOP_THRESHOLD:
            self._count_stop(now)
        stopped, due = self._stopped, list[E]()
        # Compared as `_start` computes it: rounded in another way, an entry could be due for `_start` only, for ever.
        if self._grace_until + stopped <= now:
            due += (entry for entry, _ in takewhile(lambda each: each[1] + stopped <= now, self._due_of.items()))
        for entry in due:
            del self._due_of[entry]
        if self._due_of:
            self._start()
        in_portions(due, self._expire)

    def _count_stop(self, now: float) -> None:
        """The timer is late: the process was stopped since its time."""
        self._stopped += now - self._tick_at
        if now - self._stopped >= self._grace_until + self._seconds:
            self._grace_until = now - self._stopped + GRACE
