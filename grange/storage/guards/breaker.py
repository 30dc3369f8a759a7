"""Refuses operations at once while a store cannot be reached, instead of letting each one time out.

One silo has one breaker for each store. A failure to reach the store starts a probe; one probe runs at a time. If the
store answers the probe, the failure was that of one connection or one record, and nothing happens. If not, operations
are refused before anything is sent, until a probe succeeds. (The circuit breaker of Nygard's "Release It!".)
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from grange.aio.awake import AwakeTimeout
from grange.aio.tasks import Tasks
from grange.aio.throttled_log import ThrottledLog
from grange.errors import StorageError, StorageUnavailable

log = logging.getLogger("grange.storage")

PROBE_TIMEOUT = 1.0
"""Seconds that one probe may take."""

PROBE_INTERVAL = 1.0
"""Most seconds between two probes; the least is a quarter of it, so that silos do not probe at the same time."""


class Breaker:
    """Opens when a probe fails, closes when one succeeds. `probe` reads something; `on_recovery` runs at the close."""

    def __init__(
        self,
        name: str,
        probe: Callable[[], Awaitable[object]],
        on_recovery: Callable[[], None],
        rng: random.Random,
        tasks: Tasks,
    ) -> None:
        self.name = name
        self._probe = probe
        self._on_recovery = on_recovery
        self._rng = rng
        self._tasks = tasks
        self._closed = asyncio.Event()
        self._closed.set()
        self._is_probing = False
        self._opened_at = 0.0
        self._reason = ""
        self._outages = ThrottledLog(log)
        self._defects = ThrottledLog(log)

    @property
    def is_open(self) -> bool:
        """Whether operations are refused."""
        return not self._closed.is_set()

    async def check(self, operation: object) -> None:
        """Raise StorageUnavailable, with the text of the operation, while open: nothing was sent.

        Before it raises, it lets other tasks run. Otherwise a grain that repeats a refused operation without a pause
        would keep the event loop from the probe that closes the breaker.
        """
        if not self.is_open:
            return
        await asyncio.sleep(0)
        if self.is_open:
            seconds = asyncio.get_running_loop().time() - self._opened_at
            raise StorageUnavailable(
                f"{operation}: not tried, the storage {self.name!r} has not been reached for {seconds:.1f} s "
                f"({self._reason})"
            )

    def on_failure(self, error: StorageError) -> None:
        """Start to probe the store, unless a probe runs. Called for an operation that could not reach the store."""
        if not self._is_probing:
            self._is_probing = True
            self._tasks.start(self._watch(error))

    async def wait_closed(self) -> None:
        """Wait until the breaker is closed."""
        await self._closed.wait()

    async def _watch(self, error: StorageError) -> None:
        try:
            if await self._answers():
                return
            self._open(error)
            await self._wait_for_answer()
            self._close()
        finally:
            self._is_probing = False

    async def _wait_for_answer(self) -> None:
        while True:
            await asyncio.sleep(PROBE_INTERVAL * self._rng.uniform(0.25, 1.0))
            if await self._answers():
                return

    async def _answers(self) -> bool:
        try:
            async with AwakeTimeout(PROBE_TIMEOUT):
                await self._probe()
        except (StorageUnavailable, TimeoutError):
            return False
        except StorageError:
            return True  # a store that refuses can be reached
        except Exception as error:  # a defect of the provider must not end the probes: operations would stay refused
            self._defects.warning(f"the probe of storage {self.name!r} failed", error, "storage_unavailable")
            return False
        return True

    def _open(self, error: StorageError) -> None:
        self._opened_at, self._reason = asyncio.get_running_loop().time(), str(error)
        self._closed.clear()
        text = f"storage {self.name!r} cannot be reached: operations on its state fail at once, other calls continue"
        self._outages.warning(text, error, "storage_unavailable")

    def _close(self) -> None:
        seconds = asyncio.get_running_loop().time() - self._opened_at
        self._on_recovery()
        self._closed.set()
        log.info("storage %r is back after %.1f s", self.name, seconds, extra={"event": "storage_back"})
