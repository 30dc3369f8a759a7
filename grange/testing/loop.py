"""Virtual time: a running event loop whose clock jumps to the next timer when nothing else is left to do.

Works on asyncio's own loops, in place, so that any test runner's loop can be used; not on uvloop. While work in
threads is in progress (`run_in_executor`), time stands still.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from grange.errors import ConfigurationError

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""Where the wall clock of virtual time starts, in every run."""

START = 1000.0
"""Where `loop.time()` starts in virtual time, in seconds. Always the same: the real clock counts from when the machine
was started, and the larger it is, the coarser its last digit: half a second would be a bit less on some days."""


class VirtualTime:
    """The clock of one event loop. `time` is what `loop.time()` answers; `utc_now` moves with it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        selector = getattr(loop, "_selector", None)
        if selector is None:
            raise ConfigurationError(
                f"virtual time needs asyncio's own event loop, not {type(loop).__name__}; "
                "use virtual_time=False, or run the test on asyncio"
            )
        self._loop = cast("Any", loop)
        self._selector = selector
        self._outer_time: Callable[[], float] = loop.time
        self._real_select: Callable[[float | None], list[Any]] = selector.select
        self._real_executor = self._loop.run_in_executor
        self._in_threads = 0
        self._real_resolution: float = self._loop._clock_resolution
        self._now = START

    def time(self) -> float:
        """Seconds, as `loop.time()`."""
        return self._now

    def utc_now(self) -> datetime:
        """The wall clock that belongs to this time."""
        return EPOCH + timedelta(seconds=self._now - START)

    @contextmanager
    def installed(self) -> Generator[VirtualTime]:
        """Replace the loop's clock by one that starts at `START`. Timers that wait go on waiting as long as before.

        Afterwards the old clock runs on, ahead by the time that passed meanwhile: seen from outside never backwards.
        """
        before = self._outer_time()
        self._move_timers(START - before)
        self._loop.time = self.time
        self._set_resolution()
        self._selector.select = self._select
        self._loop.run_in_executor = self._run_in_executor
        try:
            yield self
        finally:
            ahead = before + (self._now - START) - self._outer_time()
            self._loop.time = lambda: self._outer_time() + ahead
            self._move_timers(before - START)
            self._loop._clock_resolution = self._real_resolution
            self._selector.select = self._real_select
            self._loop.run_in_executor = self._real_executor

    def _move_timers(self, seconds: float) -> None:
        """Their order stays, so the loop's heap stays a heap."""
        for timer in self._loop._scheduled:
            timer._when += seconds

    def _select(self, timeout: float | None) -> list[Any]:
        """What the loop calls when it has nothing ready: take what happened, else jump instead of sleeping."""
        if self._in_threads or timeout is None:
            return self._real_select(timeout)
        events = self._real_select(0)
        if not events:
            self._jump(timeout)
        return events

    def _jump(self, timeout: float) -> None:
        """To the exact time of the next timer: `now + (its time - now)` is not that, and the errors would add up."""
        if timeout > 0 and self._loop._scheduled:
            self._now = self._loop._scheduled[0].when()
        self._set_resolution()

    def _set_resolution(self) -> None:
        """A loop calls timers early by its clock's resolution. Here only those that are due: of two tasks that wait for
        one deadline, each called before it, one would always be at work, and the time would never come.
        """
        self._loop._clock_resolution = math.ulp(self._now)

    def _run_in_executor(self, *args: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._real_executor(*args)
        self._in_threads += 1
        future.add_done_callback(self._thread_ended)
        return future

    def _thread_ended(self, _: asyncio.Future[Any]) -> None:
        self._in_threads -= 1
