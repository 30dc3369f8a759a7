"""The owner of background tasks."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar, copy_context

import pytest

from grange.aio.tasks import Tasks
from tests.runtime.process import settle

WORD: ContextVar[str] = ContextVar("WORD", default="fresh")


async def test_a_task_does_not_inherit_the_context_of_its_starter() -> None:
    """The request context of the call that starts it belongs to that call."""
    tasks, seen = Tasks(), []

    async def look() -> None:
        seen.append(WORD.get())

    WORD.set("inherited")
    tasks.start(look())
    tasks.start(look(), copy_context())
    await tasks.wait()
    assert seen == ["fresh", "inherited"]
    assert len(tasks) == 0


async def test_errors_are_logged_and_end_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    tasks, done = Tasks(), []

    async def fail() -> None:
        raise LookupError("lost in the background")

    async def go_on() -> None:
        await settle()
        done.append(True)

    tasks.start(fail())
    tasks.start(go_on())
    await tasks.wait()
    assert done == [True]
    assert "lost in the background" in caplog.text


async def test_wait_includes_what_tasks_start() -> None:
    tasks, ended = Tasks(), []

    async def start_next(level: int) -> None:
        if level:
            tasks.start(start_next(level - 1))
        await settle()
        ended.append(level)

    tasks.start(start_next(5))
    await tasks.wait()
    assert sorted(ended) == [0, 1, 2, 3, 4, 5]


async def test_close_ends_all_also_those_that_start_others_while_they_end(caplog: pytest.LogCaptureFixture) -> None:
    tasks, ended = Tasks(), []

    async def stubborn(level: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            if level:
                tasks.start(stubborn(level - 1))
            await settle()
            ended.append(level)

    tasks.start(stubborn(3))
    await settle()
    await tasks.close()
    assert ended[:1] == [3]
    assert len(tasks) == 0
    assert "failed" not in caplog.text


async def test_an_adopted_task_is_owned_until_it_ends() -> None:
    tasks, gate = Tasks(), asyncio.Event()
    task = asyncio.create_task(gate.wait())
    tasks.adopt(task)
    assert len(tasks) == 1
    gate.set()
    await tasks.wait()
    tasks.adopt(task)
    assert len(tasks) == 0


async def test_tasks_are_cancelled_in_the_order_of_their_start() -> None:
    """In a simulation the order must not depend on where objects lie in memory."""
    tasks, ended, go_on = Tasks(), [], asyncio.Event()

    async def end(number: int) -> None:
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                ended.append(number)

    for number in range(50):
        tasks.start(end(number))
    await settle()
    await tasks.close(0.01)
    assert ended == list(range(50))
    go_on.set()
    await tasks.wait()
