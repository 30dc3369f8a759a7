"""What the guard of a store believes of it: away, or there."""

from __future__ import annotations

import asyncio
import random

import pytest

from grange.aio.tasks import Tasks
from grange.errors import StorageUnavailable
from grange.storage.guards.breaker import Breaker
from grange.testing.loop import VirtualTime


async def test_a_look_that_raises_what_no_store_should_raise_does_not_leave_it_open_for_ever() -> None:
    """Drivers and providers of others have bugs, in failovers above all; operations are refused only until the store
    answers."""
    answers: list[Exception | None] = [StorageUnavailable("away"), RuntimeError("a bug"), KeyError("another"), None]

    async def look() -> None:
        answer = answers.pop(0) if answers else None
        if answer is not None:
            raise answer

    tasks, told = Tasks(), list[str]()
    with VirtualTime(asyncio.get_running_loop()).installed():
        breaker = Breaker("default", look, lambda: told.append("back"), random.Random(1), tasks)
        breaker.failed(StorageUnavailable("away"))
        await asyncio.sleep(0.1)
        with pytest.raises(StorageUnavailable, match="not tried"):
            await breaker.check("a write")
        await asyncio.sleep(10)
        await breaker.check("a write")
        assert told == ["back"]
        await tasks.close()


async def test_however_many_operations_fail_one_look_is_under_way() -> None:
    """A store that comes back must not be met by a look for each failure."""
    looks = 0

    async def look() -> None:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0.5)
        raise StorageUnavailable("away")

    tasks = Tasks()
    with VirtualTime(asyncio.get_running_loop()).installed():
        breaker = Breaker("default", look, lambda: None, random.Random(1), tasks)
        for _ in range(100):
            breaker.failed(StorageUnavailable("away"))
        await asyncio.sleep(0.1)
        assert looks == 1
        await asyncio.sleep(10)
        breaker.failed(StorageUnavailable("away"))
        assert looks < 20
        await tasks.close()


async def test_who_tries_again_at_once_does_not_keep_the_loop_from_the_look() -> None:
    """Otherwise a grain that repeats a refused write without a pause stops its silo's loop, and no look ends it."""

    async def look() -> None:
        raise StorageUnavailable("away")

    tasks, others = Tasks(), list[str]()
    with VirtualTime(asyncio.get_running_loop()).installed():
        breaker = Breaker("default", look, lambda: None, random.Random(1), tasks)
        breaker.failed(StorageUnavailable("away"))
        await asyncio.sleep(0.1)
        asyncio.get_running_loop().call_soon(others.append, "had a turn")
        with pytest.raises(StorageUnavailable, match="not tried"):
            await breaker.check("a write")
        assert others == ["had a turn"]
        await tasks.close()
