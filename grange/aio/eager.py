"""Starts tasks eagerly: the first step of the coroutine runs inside `start`, as the new task and in its own context.

A coroutine that never suspends so ends without a trip through the event loop. While the first step runs,
`asyncio.current_task()` is the new task, as in every later step: `asyncio.timeout`, `TaskGroup` and cancellation work,
and none of them can reach the task that called `start`.

From Python 3.12 on, asyncio can do this itself (`eager_start=True`). On 3.11 a task hands its first step to the
`call_soon` of its loop as soon as it is made. There `start` takes that step and runs it, in place of the loop. So the
task is an ordinary `asyncio.Task` in every respect, and all its later steps run as usual. The same way serves a loop
with a task factory, on every Python, unless the factory itself starts tasks eagerly (`asyncio.eager_task_factory`).
ADR 0067 gives the reasons.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from typing import Any

if sys.version_info >= (3, 12):
    from asyncio import current_task
else:
    # `asyncio.current_task` of 3.11 is a Python function.
    from asyncio.tasks import _current_tasks  # type: ignore[attr-defined]

    current_task: Callable[[asyncio.AbstractEventLoop], asyncio.Task[Any] | None] = _current_tasks.get  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]

MAX_DEPTH = 24
"""Most eager starts nested in one call stack. A deeper task starts in the next iteration of the event loop instead."""

MAX_IN_A_ROW = 200
"""Every so many starts, one is left to the event loop. So the loop runs also beside code that starts tasks without end
and never suspends, such as a grain that calls another one again and again."""

NAME = "turn"
"""The name of the tasks."""


class EagerStart:
    """Starts tasks in the running loop. One per silo, because it bounds the depth of nested eager starts.

    `start(coroutine)` runs a coroutine in a task and context of its own, and returns the task. The first step has ended
    then, but for `MAX_DEPTH` and `MAX_IN_A_ROW`. A KeyboardInterrupt or SystemExit that leaves the first step ends the
    task and is raised by `start`. Other errors stay in the task.

    A task factory of the loop is used if it is set before this object is made.
    """

    __slots__ = (
        "_attributes",
        "_call_soon",
        "_coroutine",
        "_depth",
        "_is_factory_eager",
        "_left",
        "_loop",
        "_make",
        "_stand_in",
        "_step",
        "start",
    )

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._depth = 0
        self._left = MAX_IN_A_ROW
        self._is_factory_eager = False
        self._make: Callable[..., asyncio.Task[Any]] = partial(asyncio.Task, loop=self._loop, name=NAME)
        self._call_soon = self._loop.call_soon
        self._stand_in = self._take
        self._coroutine: Coroutine[Any, Any, Any] | None = None
        self._step: Callable[[], object] | None = None
        self._attributes: dict[str, Any] | None = getattr(self._loop, "__dict__", None)
        self.start: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]] = self._start_by_hand
        if self._loop.get_task_factory() is not None:
            self._make = partial(self._loop.create_task, name=NAME)
            self._is_factory_eager = self._look_at_factory()
            if self._is_factory_eager:
                self.start = self._start_built_in
        elif sys.version_info >= (3, 12):
            self._make = partial(asyncio.Task, loop=self._loop, name=NAME, eager_start=True)
            self.start = self._start_built_in

    def _look_at_factory(self) -> bool:
        """Whether the task factory runs first steps itself: then one runs while the stand-in is still in place."""
        seen: list[bool] = []

        async def look() -> None:
            seen.append("call_soon" in (self._attributes or ()))

        self._start_by_hand(look())
        return any(seen)

    def _start_built_in(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have asyncio, or the task factory, run the first step."""
        if self._depth >= MAX_DEPTH or self._left <= 0:
            return self._start_later(coroutine)
        self._left -= 1
        self._depth += 1
        try:
            return self._make(coroutine, context=Context())
        finally:
            self._depth -= 1

    def _start_by_hand(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Make a task, take its first step from it, and run that as the loop would, inside the step of another task."""
        loop, attributes = self._loop, self._attributes
        if self._depth >= MAX_DEPTH or self._left <= 0 or attributes is None or "call_soon" in attributes:
            return self._start_later(coroutine)
        self._left -= 1
        context = Context()
        self._coroutine = coroutine
        attributes["call_soon"] = self._stand_in
        try:
            task = self._make(coroutine, context=context)
        finally:
            del attributes["call_soon"]
            self._coroutine, step, self._step = None, self._step, None
        if step is None:
            return task
        outer = current_task(loop)
        if outer is not None:
            _leave_task(loop, outer)
        self._depth += 1
        try:
            context.run(step)
        finally:
            self._depth -= 1
            if outer is not None:
                _enter_task(loop, outer)
        return task

    def _start_later(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Leave the start to the loop; also if other code has replaced its `call_soon` and must see the task."""
        self._left = MAX_IN_A_ROW
        if self._is_factory_eager:
            coroutine = _after_one_iteration(coroutine)
        return self._loop.create_task(coroutine, name=NAME, context=Context())

    def _take(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Any:
        """Stand in for the loop's `call_soon` while a task is made: keep its first step, and pass all else on.

        A finalizer that the garbage collector runs meanwhile may call this too.
        """
        task: object = getattr(callback, "__self__", None)
        if isinstance(task, asyncio.Task) and task.get_coro() is self._coroutine:
            self._step = callback
            return None
        return self._call_soon(callback, *args, context=context)


async def _after_one_iteration(coroutine: Coroutine[Any, Any, None]) -> None:
    try:
        await asyncio.sleep(0)
        await coroutine
    finally:
        coroutine.close()  # if this was cancelled before it started
