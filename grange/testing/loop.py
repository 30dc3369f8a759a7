"""Virtual time: the clock of a running event loop jumps to the next timer when no work is left.

It changes an asyncio loop in place, so it works with the loop of any test runner, but not with uvloop. While threads
work (`run_in_executor`), time does not advance.
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
"""Start of the wall clock in virtual time, in every run."""

START = 1000.0
"""Start of `loop.time()` in virtual time, in seconds. It is constant so that runs are equal: the real clock counts from
the start of the machine, and a larger float has a coarser resolution."""


MAX_BUSY_STEPS = 10_000
"""Iterations of a busy loop at one virtual instant, after which the time passes that `advance` waits for."""


class VirtualTime:
    """The virtual clock of one event loop. `loop.time()` returns `time()`; `utc_now` advances with it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        selector = getattr(loop, "_selector", None)
        if selector is None:
            raise ConfigurationError(
                f"virtual time needs asyncio's own event loop, not {type(loop).__name__}; "
                "use virtual_time=False, or run the test on asyncio"
            )
        self._loop = cast("Any", loop)
        self._selector = selector
        self._real_time: Callable[[], float] = loop.time
        self._real_select: Callable[[float | None], list[Any]] = selector.select
        self._real_executor = self._loop.run_in_executor
        self._in_threads = 0
        self._real_resolution: float = self._loop._clock_resolution
        self._now = START
        self._advances = 0  # tasks that wait for time to pass
        self._busy_steps = 0  # iterations since the time passed last
        self._before = 0.0
        self._users = 0

    def time(self) -> float:
        """The virtual time in seconds, as `loop.time()` returns it."""
        return self._now

    def utc_now(self) -> datetime:
        """The wall-clock time at this virtual time."""
        return EPOCH + timedelta(seconds=self._now - START)

    async def advance(self, seconds: float) -> None:
        """Wait until this much time has passed, also beside a task that keeps the loop busy until then."""
        self._advances += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._advances -= 1

    @contextmanager
    def installed(self) -> Generator[VirtualTime]:
        """Replace the loop's clock by one that starts at `START`. Pending timers keep their remaining time.

        Afterwards the old clock continues, advanced by the virtual time that passed, so that it never goes backwards.
        Several users share it: the first installs it, the last removes it.
        """
        if not self._users:
            self._install()
        self._users += 1
        try:
            yield self
        finally:
            self._users -= 1
            if not self._users:
                self._remove()

    def _install(self) -> None:
        self._before = self._real_time()
        self._move_timers(START - self._before)
        self._loop.time = self.time
        self._set_resolution()
        self._selector.select = self._select
        self._loop.run_in_executor = self._run_in_executor

    def _remove(self) -> None:
        ahead = self._before + (self._now - START) - self._real_time()
        self._loop.time = _Ahead.of(self._real_time, ahead)
        self._move_timers(self._before - START)
        self._loop._clock_resolution = self._real_resolution
        self._selector.select = self._real_select
        self._loop.run_in_executor = self._real_executor

    def _move_timers(self, seconds: float) -> None:
        """Shift all timers. Their order stays the same, so the loop's heap stays valid."""
        for timer in self._loop._scheduled:
            timer._when += seconds

    def _select(self, timeout: float | None) -> list[Any]:
        """Replace the selector's select: return pending events, or advance the time instead of sleeping."""
        if self._in_threads or timeout is None:
            return self._real_select(timeout)
        events = self._real_select(0)
        if not events:
            self._jump(timeout)
        return events

    def _jump(self, timeout: float) -> None:
        """Advance to the exact time of the next timer: `now + timeout` would have rounding errors that add up."""
        self._busy_steps = 0 if timeout > 0 else self._busy_steps + 1
        passes = timeout > 0 or (self._advances > 0 and self._busy_steps > MAX_BUSY_STEPS)
        if passes and self._loop._scheduled:
            self._busy_steps = 0
            self._now = max(self._now, self._loop._scheduled[0].when())
        self._set_resolution()

    def _set_resolution(self) -> None:
        """Set the smallest resolution, so that the loop runs only timers that are due.

        asyncio runs timers early, by up to its clock's resolution. Two tasks that wait for one deadline would run just
        before it, again and again, and virtual time would never reach it.
        """
        self._loop._clock_resolution = math.ulp(self._now)

    def _run_in_executor(self, *args: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._real_executor(*args)
        self._in_threads += 1
        future.add_done_callback(self._thread_ended)
        return future

    def _thread_ended(self, _: asyncio.Future[Any]) -> None:
        self._in_threads -= 1


class _Ahead:
    """A clock that is ahead of another one. Of a clock that is ahead itself it takes the sum, not a chain of calls."""

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self.clock = clock
        self.seconds = seconds

    @classmethod
    def of(cls, clock: Callable[[], float], seconds: float) -> _Ahead:
        return cls(clock.clock, clock.seconds + seconds) if isinstance(clock, _Ahead) else cls(clock, seconds)

    def __call__(self) -> float:
        return self.clock() + self.seconds


@contextmanager
def clock_of_loop(virtual: bool) -> Generator[VirtualTime | None]:
    """The clock of the running loop for one cluster: None for real time. Clusters in one loop share a virtual clock.

    Raises ConfigurationError if the loop has a clock of the other kind, which cannot serve both: a jump of virtual time
    looks to a silo in real time like a pause of its process.
    """
    loop = asyncio.get_running_loop()
    current = getattr(loop.time, "__self__", None)
    if isinstance(current, VirtualTime):
        if not virtual:
            raise ConfigurationError(
                "virtual_time=False, but another test cluster has given this event loop a virtual clock; "
                "run both in virtual time, or each in a loop of its own"
            )
        with current.installed():
            yield current
    elif virtual:
        _check_nothing_in_real_time(loop)
        with VirtualTime(loop).installed() as time:
            yield time
    else:
        yield None


def _check_nothing_in_real_time(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        frame = getattr(task.get_coro(), "cr_frame", None)
        module = frame.f_globals.get("__name__", "") if frame is not None else ""
        if module.startswith(("grange.client.", "grange.membership.")):
            raise ConfigurationError(
                "a silo, client or cluster runs in this event loop in real time, and the virtual clock of a test "
                "cluster would disturb it; use TestCluster(virtual_time=False), or another loop"
            )
