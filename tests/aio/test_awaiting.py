"""The futures without which a task does not go on, and none besides."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from grange.aio.awaiting import awaited_futures

Waits = Callable[[asyncio.Future[Any], asyncio.Future[Any]], Awaitable[object]]


async def itself(one: asyncio.Future[Any], other: asyncio.Future[Any]) -> object:
    return await one


async def by_a_task(one: asyncio.Future[Any], other: asyncio.Future[Any]) -> object:
    return await asyncio.create_task(itself(one, other))


async def in_time(one: asyncio.Future[Any], other: asyncio.Future[Any]) -> object:
    async with asyncio.timeout(60):
        return await one


async def gathered(one: asyncio.Future[Any], other: asyncio.Future[Any]) -> object:
    return await asyncio.gather(itself(one, other), itself(other, one))


async def grouped(one: asyncio.Future[Any], other: asyncio.Future[Any]) -> object:
    async with asyncio.TaskGroup() as group:
        group.create_task(by_a_task(one, other))
        group.create_task(itself(other, one))
    return None


async def within_a_group(one: asyncio.Future[Any], other: asyncio.Future[Any]) -> object:
    """The group's task waits for `other`, but this task only for `one`."""
    async with asyncio.TaskGroup() as group:
        group.create_task(itself(other, one))
        return await one


async def in_the_background(one: asyncio.Future[Any], other: asyncio.Future[Any]) -> object:
    background = asyncio.create_task(itself(other, one))
    await one
    return await background


async def first_of(one: asyncio.Future[Any], other: asyncio.Future[Any]) -> object:
    return await asyncio.wait([one, other], return_when=asyncio.FIRST_COMPLETED)


async def asleep(one: asyncio.Future[Any], other: asyncio.Future[Any]) -> object:
    await asyncio.sleep(0.01)
    return None


@pytest.mark.parametrize(
    ("waits", "expected"),
    [
        (itself, 1),
        (by_a_task, 1),
        (in_time, 1),
        (gathered, 3),
        (grouped, 3),
        (within_a_group, 1),
        (in_the_background, 1),
    ],
)
async def test_what_a_task_waits_for_in_any_case(waits: Waits, expected: int) -> None:
    """`expected`: 1 for the first future, 2 for the second, 3 for both."""
    loop = asyncio.get_running_loop()
    futures = [loop.create_future(), loop.create_future()]
    task = asyncio.ensure_future(waits(*futures))
    for _ in range(5):
        await asyncio.sleep(0)
    found = awaited_futures(task)  # type: ignore[arg-type]
    assert [future in found for future in futures] == [bool(expected & 1), bool(expected & 2)]
    assert len(found) == expected.bit_count()
    for future in futures:
        future.set_result(None)
    await task
    assert awaited_futures(task) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("waits", [first_of, asleep])
async def test_what_a_task_may_do_without_is_not_among_them(waits: Waits) -> None:
    loop = asyncio.get_running_loop()
    futures = [loop.create_future(), loop.create_future()]
    task = asyncio.ensure_future(waits(*futures))
    await asyncio.sleep(0)
    assert not set(futures) & set(awaited_futures(task))  # type: ignore[arg-type]
    for future in futures:
        future.set_result(None)
    await task
