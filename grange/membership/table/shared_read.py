"""One read of the table answers all callers that ask for the newest view at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from grange.aio.tasks import Tasks
from grange.errors import MembershipUnavailable


class SharedRead:
    """Reads of the table that callers share. Made by `agent.py`; `tasks` own the reads.

    The cancellation of one caller leaves the others unaffected. The exception of a read reaches all callers that
    share it.
    """

    def __init__(self, read: Callable[[], Awaitable[object]], tasks: Tasks) -> None:
        self._read = read
        self._tasks = tasks
        self._running: asyncio.Task[Exception | None] | None = None

    async def fresh(self, enough: Callable[[], bool] = lambda: False) -> None:
        """Wait for a read that begins after this call. Callers that come during another read share the next one.

        No read is needed if that other one made `enough` true.
        """
        if self._running is not None:
            await asyncio.wait([self._running])  # it may have begun too early; its outcome is for its own callers
            if enough():
                return
        await self.joined()

    async def joined(self) -> None:
        """Wait for the read that is under way, or for a new one.

        Raises what the read raises, and MembershipUnavailable when this silo stops.
        """
        running = self._running
        if running is None:
            running = self._running = self._tasks.start(self._once())
            running.add_done_callback(self._ended)
        await asyncio.wait([running])
        if running.cancelled():
            raise MembershipUnavailable("the membership table was not read: this silo stops")
        if (error := running.result()) is not None:
            raise error

    async def _once(self) -> Exception | None:
        try:
            await self._read()
        except Exception as error:
            return error  # for the callers: the owner of the task would only log it
        return None

    def _ended(self, _: asyncio.Task[Exception | None]) -> None:
        self._running = None
