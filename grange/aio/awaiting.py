"""The futures that a suspended task waits for. It costs the task nothing: the links of asyncio are read when asked.

Only what the task needs in any case counts: what it awaits itself, tasks that it awaits, all members of a `gather` and
of a `TaskGroup` that it leaves. A task that waits for the first of several (`asyncio.wait`), or that was started and is
not awaited, gives nothing. Where the interpreter keeps its links elsewhere, nothing is found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

from grange.aio.stacks import awaited_frames

MOST = 1000
"""Most tasks and futures that are looked at for one task."""


def awaited_futures(task: asyncio.Task[Any]) -> list[asyncio.Future[Any]]:
    """The futures, other than tasks, without which this task does not go on."""
    found: list[asyncio.Future[Any]] = []
    seen: set[asyncio.Future[Any]] = {task}
    left: list[asyncio.Future[Any]] = [task]
    while left and len(seen) < MOST:
        each = left.pop()
        if each.done():
            continue
        if isinstance(each, asyncio.Task):
            inner = _awaited_by(each)
        elif (children := getattr(each, "_children", None)) is not None:  # of `gather`
            inner = children
        else:
            found.append(each)
            continue
        for future in inner:
            if future not in seen:
                seen.add(future)
                left.append(future)
    return found


def _awaited_by(task: asyncio.Task[Any]) -> Iterable[asyncio.Future[Any]]:
    waiter: asyncio.Future[Any] | None = getattr(task, "_fut_waiter", None)
    if waiter is None:
        return ()
    members = list(_members(task, waiter))
    return members or (waiter,)


def _members(task: asyncio.Task[Any], waiter: asyncio.Future[Any]) -> Iterator[asyncio.Task[Any]]:
    """The tasks of the group that the task leaves, if it waits for one."""
    for frame in awaited_frames(task.get_coro()):
        group = frame.f_locals.get("self") if frame.f_globals.get("__name__") == "asyncio.taskgroups" else None
        if isinstance(group, asyncio.TaskGroup) and getattr(group, "_on_completed_fut", None) is waiter:
            yield from sorted(getattr(group, "_tasks", ()), key=_by_name)  # a set, whose order differs between runs


def _by_name(task: asyncio.Task[Any]) -> tuple[int, str]:
    name = task.get_name()
    return len(name), name
