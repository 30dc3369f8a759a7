"""Whether one store can be reached: while it cannot, operations fail at once instead of each by its own time-out.

One silo, one store, one breaker. Every failure to reach the store has it looked at: one look at a time. If the look
succeeds the failure was that of one connection or one record, and nothing happens. If not, operations are refused
before anything is sent, until a look succeeds.
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

LOOK_TIMEOUT = 1.0
"""Seconds that one look may take."""

LONGEST_PAUSE = 1.0
"""Most seconds between two looks; the least is a quarter, so that the silos do not look in step."""


class Breaker:
    """Opened by a look that failed, closed by one that did not. `look` reads something; `back` is told of the end."""

    def __init__(
        self,
        name: str,
        look: Callable[[], Awaitable[object]],
        back: Callable[[], None],
        rng: random.Random,
        tasks: Tasks,
    ) -> None:
        self._name = name
        self._look = look
        self._back = back
        self._rng = rng
        self._tasks = tasks
        self._closed = asyncio.Event()
        self._closed.set()
        self._looking = False
        self._opened = 0.0
        self._why = ""
        self._warnings = ThrottledLog(log)
        self._surprises = ThrottledLog(log)

    @property
    def is_open(self) -> bool:
        """Whether operations are refused."""
        return not self._closed.is_set()

    async def check(self, what: str) -> None:
        """Raise StorageUnavailable while open: nothing was sent.

        It gives way first: a grain that tries again at once would else keep the loop from the look that ends this.
        """
        if not self.is_open:
            return
        await asyncio.sleep(0)
        if self.is_open:
            seconds = asyncio.get_running_loop().time() - self._opened
            raise StorageUnavailable(
                f"{what}: not tried, the storage {self._name!r} has not been reached for {seconds:.1f} s ({self._why})"
            )

    def failed(self, error: StorageError) -> None:
        """An operation could not reach the store: look at it, unless somebody does."""
        if not self._looking:
            self._looking = True
            self._tasks.start(self._watch(error))

    async def closed(self) -> None:
        """Wait until operations pass."""
        await self._closed.wait()

    async def _watch(self, error: StorageError) -> None:
        try:
            if await self._answers():
                return
            self._open(error)
            await self._wait_for_an_answer()
            self._close()
        finally:
            self._looking = False

    async def _wait_for_an_answer(self) -> None:
        while True:
            await asyncio.sleep(LONGEST_PAUSE * self._rng.uniform(0.25, 1.0))
            if await self._answers():
                return

    async def _answers(self) -> bool:
        try:
            async with AwakeTimeout(LOOK_TIMEOUT):
                await self._look()
        except (StorageUnavailable, TimeoutError):
            return False
        except StorageError:
            return True  # it refused, so it is there
        except Exception as error:  # whatever it is: the next look must come, or operations were refused for ever
            self._surprises.warning(f"storage {self._name!r} could not be looked at", error, "storage_unavailable")
            return False
        return True

    def _open(self, error: StorageError) -> None:
        self._opened, self._why = asyncio.get_running_loop().time(), str(error)
        self._closed.clear()
        text = f"storage {self._name!r} cannot be reached: what needs state fails at once, the rest goes on"
        self._warnings.warning(text, error, "storage_unavailable")

    def _close(self) -> None:
        seconds = asyncio.get_running_loop().time() - self._opened
        self._back()
        self._closed.set()
        log.info("storage %r is back after %.1f s", self._name, seconds, extra={"event": "storage_back"})
