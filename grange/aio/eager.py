"""Starts tasks eagerly: the first step of the coroutine runs inside `start`, as the new task and in its own context.

A coroutine that never suspends so ends without a trip through the event loop. While the first step runs,
`asyncio.current_task()` is the new task, as in every later step: `asyncio.timeout`, `TaskGroup` and cancellation work,
and none of them can reach the task that called `start`.

From Python 3.12 on, asyncio can do this itself (`eager_start=True`). On 3.11 a task hands its first step to the
`call_soon` of its loop as soon as it is made. There `start` takes that step and runs it, in place of the loop. So the
task is an ordinary `asyncio.Task` in every respect, and all its later steps run as usual. The same way serves a loop
with a task factory, on every Python. ADR 0067 gives the reasons.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

MAX_DEPTH = 24
"""Most eager starts nested in one call stack. A deeper task starts in the next iteration of the event loop instead."""


class EagerStart:
    """Starts tasks in the running loop. One per silo, because it bounds the depth of nested eager starts.

    A task factory of the loop is used if it is set before this object is made.
    """

    __slots__ = ("_attributes", "_call_soon", "_coroutine", "_depth", "_loop", "_make", "_may_be_built_in", "_step")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._attributes: dict[str, Any] | None = getattr(self._loop, "__dict__", None)
        has_factory = self._loop.get_task_factory() is not None
        self._make: Callable[..., asyncio.Task[Any]] = self._loop.create_task if has_factory else self._make_task
        self._may_be_built_in = not has_factory
        self._call_soon = self._loop.call_soon
        self._depth = 0
        self._coroutine: Coroutine[Any, Any, Any] | None = None
        self._step: Callable[[], object] | None = None

    def start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine in a task and context of its own. Its first step has ended when this returns.

        A KeyboardInterrupt or SystemExit that leaves the first step ends the task and is raised here. Other errors stay
        in the task.
        """
        context = Context()
        if self._depth >= MAX_DEPTH:
            return self._loop.create_task(coroutine, name="turn", context=context)
        self._depth += 1
        try:
            if sys.version_info >= (3, 12) and self._may_be_built_in:
                return asyncio.Task(coroutine, loop=self._loop, name="turn", context=context, eager_start=True)
            return self._start_by_hand(coroutine, context)
        finally:
            self._depth -= 1

    def _start_by_hand(self, coroutine: Coroutine[Any, Any, None], context: Context) -> asyncio.Task[None]:
        attributes = self._attributes
        if attributes is None or "call_soon" in attributes:
            # `call_soon` cannot be replaced, or other code has replaced it and must see the task.
            return self._make(coroutine, name="turn", context=context)
        self._coroutine = coroutine
        attributes["call_soon"] = self._take
        try:
            task = self._make(coroutine, name="turn", context=context)
        finally:
            del attributes["call_soon"]
            self._coroutine = None
        step, self._step = self._step, None
        if step is not None:
            self._run(step, context)
        return task

    def _make_task(self, coroutine: Coroutine[Any, Any, None], name: str, context: Context) -> asyncio.Task[None]:
        return asyncio.Task(coroutine, loop=self._loop, name=name, context=context)

    def _take(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Any:
        """Stand in for the loop's `call_soon` while a task is made: keep its first step, and pass all else on.

        A finalizer that the garbage collector runs meanwhile may call this too.
        """
        task: object = getattr(callback, "__self__", None)
        if isinstance(task, asyncio.Task) and task.get_coro() is self._coroutine:
            self._step = callback
            return None
        return self._call_soon(callback, *args, context=context)

    def _run(self, step: Callable[[], object], context: Context) -> None:
        """Run the first step of a task, as the loop would, but inside the step of another task."""
        loop = self._loop
        outer = asyncio.current_task(loop)
        if outer is not None:
            _leave_task(loop, outer)
        try:
            context.run(step)
        finally:
            if outer is not None:
                _enter_task(loop, outer)
