"""Publishes the snapshots of one silo for readers in other threads, so that they never read what the loop changes.

`/metrics` and the dashboard read in a thread of their own. A frozen snapshot that is a second old costs them nothing,
and they have it also while a turn blocks the event loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager

from grange.observability.snapshot import Snapshot

WATCHED_PERIOD = 1.0
"""Seconds between two snapshots while a reader watches; also the least age at which `ask` makes a new one."""

IDLE_PERIOD = 10.0
"""Seconds between two snapshots while no reader watches."""


class Publisher:
    """The newest snapshot of one silo. Make it in the silo's event loop; `run` is its task there.

    `latest`, `ask` and `watch` may be called from any thread.
    """

    def __init__(self, make: Callable[[], Snapshot]) -> None:
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._latest = make()
        self._made_at = self._loop.time()
        self._lock = threading.Lock()
        self._watchers = 0
        self._changed = asyncio.Event()

    def latest(self) -> Snapshot:
        """The newest published snapshot. `Snapshot.time` tells its age."""
        return self._latest

    def ask(self) -> Future[Snapshot]:
        """A snapshot that is at most `WATCHED_PERIOD` old, as soon as the event loop runs.

        Wait for it with a time-out, and use `latest` after that: the loop may be blocked. Raises RuntimeError once the
        loop is closed.
        """
        answer: Future[Snapshot] = Future()
        self._loop.call_soon_threadsafe(self._answer, answer)
        return answer

    @contextmanager
    def watch(self) -> Generator[None]:
        """Publish each `WATCHED_PERIOD` inside this block."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    async def run(self) -> None:
        """Publish for the life of the silo."""
        while True:
            self._changed.clear()
            period = WATCHED_PERIOD if self._watchers else IDLE_PERIOD
            due = self._made_at + period - self._loop.time()
            if due <= 0:
                self._publish()
                continue
            try:
                async with asyncio.timeout(due):
                    await self._changed.wait()
            except TimeoutError:
                self._publish()

    def _publish(self) -> None:
        self._latest = self._make()
        self._made_at = self._loop.time()

    def _answer(self, answer: Future[Snapshot]) -> None:
        if not answer.set_running_or_notify_cancel():
            return
        try:
            if self._loop.time() - self._made_at >= WATCHED_PERIOD:
                self._publish()
            answer.set_result(self._latest)
        except Exception as error:  # of a part that cannot tell its figures: the reader must not wait for ever
            answer.set_exception(error)

    def _count(self, change: int) -> None:
        with self._lock:
            self._watchers += change
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._changed.set)
