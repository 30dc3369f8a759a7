"""Virtual time: a running event loop whose clock jumps to the next timer when nothing else is left to do.

Works on asyncio's own loops, in place, so that any test runner's loop can be used; not on uvloop. While work in
threads is in progress (`run_in_executor`), time stands still.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from grange.errors import ConfigurationError

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""Where the wall clock of virtual time starts, so that runs repeat exactly."""


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
        self._real_time: Callable[[], float] = loop.time
        self._real_select: Callable[[float | None], list[Any]] = selector.select
        self._real_executor = self._loop.run_in_executor
        self._in_threads = 0
        self._start = self._now = loop.time()

    def time(self) -> float:
        """Seconds, as `loop.time()`."""
        return self._now

    def utc_now(self) -> datetime:
        """The wall clock that belongs to this time."""
        return EPOCH + timedelta(seconds=self._now - self._start)

    @contextmanager
    def installed(self) -> Generator[VirtualTime]:
        """Replace the loop's clock. Afterwards it runs on in real time from where it stands, never backwards."""
        self._loop.time = self.time
        self._selector.select = self._select
        self._loop.run_in_executor = self._run_in_executor
        try:
            yield self
        finally:
            ahead = self._now - self._real_time()
            self._loop.time = lambda: self._real_time() + ahead
            self._selector.select = self._real_select
            self._loop.run_in_executor = self._real_executor

    def _select(self, timeout: float | None) -> list[Any]:
        """What the loop calls when it has nothing ready: take what happened, else jump instead of sleeping."""
        if self._in_threads or timeout is None:
            return self._real_select(timeout)
        events = self._real_select(0)
        if not events:
            self._now += max(timeout, 0)
        return events

    def _run_in_executor(self, *args: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._real_executor(*args)
        self._in_threads += 1
        future.add_done_callback(self._thread_ended)
        return future

    def _thread_ended(self, _: asyncio.Future[Any]) -> None:
        self._in_threads -= 1
