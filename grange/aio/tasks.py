"""Owns background tasks: keeps a reference to each, logs their exceptions, and cancels them when the owner closes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

from grange.aio.stacks import waiting_stack

log = logging.getLogger("grange.runtime")


class Tasks:
    """The background tasks of one component. `close` cancels those that have not ended."""

    def __init__(self) -> None:
        self._running: dict[asyncio.Task[Any], None] = {}  # an ordered set, because `close` cancels in order

    def start(self, coroutine: Coroutine[Any, Any, Any], context: Context | None = None) -> asyncio.Task[Any]:
        """Run a coroutine in the background, in a fresh context unless one is given."""
        task = asyncio.get_running_loop().create_task(coroutine, context=context or Context())
        self.adopt(task)
        return task

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Take over a task that other code started."""
        if not task.done():
            self._running[task] = None
            task.add_done_callback(self._ended)

    def __len__(self) -> int:
        return len(self._running)

    async def wait(self) -> None:
        """Wait until all tasks have ended, including those that are started meanwhile."""
        while self._running:
            await asyncio.wait(list(self._running))

    async def close(self, seconds: float | None = None) -> None:
        """Cancel all tasks and wait until they have ended, including those that they start while they end.

        With `seconds`, tasks that have not ended by then are logged as errors and left running. User code may swallow
        its cancellation, and asyncio has no other way to stop it.
        """
        loop = asyncio.get_running_loop()
        until = None if seconds is None else loop.time() + seconds
        while self._running:
            left = None if until is None else until - loop.time()
            if left is not None and left <= 0:
                self._log_left_running()
                return
            for task in list(self._running):
                task.cancel()
            await asyncio.wait(list(self._running), timeout=left)

    def _log_left_running(self) -> None:
        for task in self._running:
            log.error(
                "%s does not end although it was cancelled; it is left running, and waits here:\n%s",
                getattr(task.get_coro(), "__qualname__", task.get_name()), waiting_stack(task),
                extra={"event": "turn_would_not_end"},
            )  # fmt: skip

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a background task failed", exc_info=error, extra={"event": "task_failed"})
