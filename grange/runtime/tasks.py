"""An owner for background tasks: keeps them alive, logs what they raise, and ends them all when its part stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

log = logging.getLogger("grange.runtime")


class Tasks:
    """Tasks that belong to one part of the runtime. Each ends by itself or in `close`."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, coroutine: Coroutine[Any, Any, Any], context: Context | None = None) -> asyncio.Task[Any]:
        """Run a coroutine in the background, in a fresh context unless one is given."""
        task = asyncio.get_running_loop().create_task(coroutine, context=context or Context())
        self.adopt(task)
        return task

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Take over a task that somebody else started."""
        if not task.done():
            self._running.add(task)
            task.add_done_callback(self._ended)

    def __len__(self) -> int:
        return len(self._running)

    async def wait(self) -> None:
        """Wait until all that run now and all that they start have ended."""
        while self._running:
            await asyncio.wait(set(self._running))

    async def close(self) -> None:
        """Cancel all and wait for their end, also for those that start others while they end."""
        while self._running:
            for task in set(self._running):
                task.cancel()
            await asyncio.wait(set(self._running))

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a background task failed", exc_info=error, extra={"event": "task_failed"})
