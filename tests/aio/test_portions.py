"""Much small work leaves room for other callbacks of the loop."""

from __future__ import annotations

import asyncio

import pytest

from grange.aio.portions import PORTION, Pace, in_portions
from grange.testing.loop import VirtualTime


async def test_work_is_done_in_order_and_in_portions() -> None:
    done: list[int] = []
    in_portions(range(10 * PORTION + 5), done.append)
    rounds = []
    while len(done) < 10 * PORTION + 5:
        rounds.append(len(done))
        await asyncio.sleep(0)
    assert rounds == [PORTION * number for number in range(1, 11)]
    assert done == list(range(10 * PORTION + 5))


async def test_little_work_is_done_at_once() -> None:
    done: list[int] = []
    in_portions(range(PORTION), done.append)
    assert len(done) == PORTION


async def test_an_error_in_a_portion_does_not_lose_the_others() -> None:
    reports: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reports.append(context["exception"]))
    done: list[int] = []

    def act(number: int) -> None:
        if number in (0, PORTION):
            raise ValueError(number)
        done.append(number)

    with pytest.raises(ValueError, match="0"):
        in_portions(range(3 * PORTION), act)
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(reports) == 1
    assert done[-1] == 3 * PORTION - 1


async def test_tasks_that_begin_in_one_moment_take_turns() -> None:
    with VirtualTime(asyncio.get_running_loop()).installed():
        pace, begun = Pace(), []

        async def work(number: int) -> None:
            if pace.spent():
                await pace.turn()
            begun.append(number)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work(number)) for number in range(20 * PORTION)]
            tasks[3 * PORTION].cancel()
            rounds = [0]
            while len(begun) < 20 * PORTION - 1:
                await asyncio.sleep(0)
                rounds.append(len(begun))
                assert rounds[-1] - rounds[-2] <= PORTION
        assert begun == [number for number in range(20 * PORTION) if number != 3 * PORTION]
        await asyncio.sleep(1)
        assert not pace.spent()
