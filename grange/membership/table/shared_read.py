"""Many ask for the newest view at once, and one read of the table answers them all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from grange.aio.tasks import Tasks
from grange.errors import MembershipUnavailable


class SharedRead:
    """Reads of the table that callers share. `agent.py` makes one; `tasks` own the reads.

    A caller that is cancelled takes nothing from the others. What a read raises reaches everybody who shares it.
    """

    def __init__(self, read: Callable[[], Awaitable[object]], tasks: Tasks) -> None:
        self._read = read
        self._tasks = tasks
        self._running: asyncio.Task[Exception | None] | None = None

    async def fresh(self, enough: Callable[[], bool] = lambda: False) -> None:
        """A read that begins after this call, shared with all who called while another one was under way.

        Not if that other one was `enough`.
        """
        if self._running is not None:
            await asyncio.wait([self._running])  # it may have begun too early; its outcome is for its own callers
            if enough():
                return
        await self.joined()

    async def joined(self) -> None:
        """The read that is under way, or a new one. Raises MembershipUnavailable also when this silo stops."""
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
