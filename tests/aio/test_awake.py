"""Time-outs that count time awake: on time while the process runs, patient when it was stopped, and never endless."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.aio.awake import GRACE, LATE, SLICE, AwakeTimeout
from grange.runtime.requests.deadlines import SWEEP_INTERVAL, Deadlines
from grange.testing.loop import VirtualTime
from tests.runtime.test_deadlines import Entry


def stand_still(time: VirtualTime, seconds: float) -> None:
    """The process is stopped: nothing runs, and then everything is late."""
    time._now += seconds


async def over(seconds: float) -> float:
    """How long a time-out took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(TimeoutError):
        async with AwakeTimeout(seconds):
            await asyncio.Event().wait()
    return loop.time() - began


@given(st.floats(0, 100), st.floats(0, 1e6))
def test_it_is_on_time_while_the_process_runs(seconds: float, start: float) -> None:
    async def check() -> None:
        with VirtualTime(asyncio.get_running_loop()).installed():
            await asyncio.sleep(start)
            assert await over(seconds) == pytest.approx(seconds, abs=1e-6)

    asyncio.run(check())


@pytest.mark.parametrize("begins", [0.0, 0.001, 1.0, 1.79])
@pytest.mark.parametrize("stop", [LATE + SLICE + 0.001, 2.0, 60.0])
async def test_an_answer_that_came_while_the_process_was_stopped_is_read(
    time: VirtualTime, begins: float, stop: float
) -> None:
    """F4: whenever the stop began, what comes within the grace after it is in time."""

    async def answered() -> str:
        async with AwakeTimeout(1.8):
            await answer
            return "answered"

    answer = asyncio.get_running_loop().create_future()
    waits = asyncio.ensure_future(answered())
    await asyncio.sleep(begins)
    stand_still(time, stop)
    asyncio.get_running_loop().call_later(GRACE - 0.01, answer.set_result, None)
    assert await waits == "answered"


async def test_after_a_stop_what_is_away_is_still_found_to_be_away(time: VirtualTime) -> None:
    began = time.time()
    waits = asyncio.ensure_future(over(1.8))
    await asyncio.sleep(1.7)
    stand_still(time, 10)
    assert GRACE <= await waits - 11.7 <= GRACE + SLICE
    assert time.time() - began < 13


async def test_a_loop_that_is_always_late_does_not_keep_it_from_ending(time: VirtualTime) -> None:
    waits = asyncio.ensure_future(over(1.8))
    for _ in range(1000):
        await asyncio.sleep(SLICE / 2)
        stand_still(time, 1)
        if waits.done():
            break
    assert await waits < 60


async def test_without_a_limit_it_never_ends_and_costs_no_timer(time: VirtualTime) -> None:
    async with AwakeTimeout(math.inf):
        assert asyncio.get_running_loop()._scheduled == []  # type: ignore[attr-defined]
        await asyncio.sleep(1e6)


async def test_a_call_is_answered_by_what_came_while_the_process_was_stopped(time: VirtualTime) -> None:
    """F4: the response time-out of calls gives one grace."""
    deadlines, answered, away = Deadlines(), Entry(), Entry()
    when = time.time() + 1
    step = deadlines.add(answered, when)
    deadlines.add(away, when)
    await asyncio.sleep(0.5)
    stand_still(time, 2.0)
    await asyncio.sleep(GRACE / 2)
    deadlines.discard(answered, step)
    await asyncio.sleep(GRACE)
    assert answered.expired == []
    assert away.expired == [pytest.approx(when + 1.5 + GRACE, abs=SWEEP_INTERVAL)]


async def test_a_call_that_a_stopped_process_ends_is_told_at_once(time: VirtualTime) -> None:
    deadlines, entry = Deadlines(), Entry()
    deadlines.add(entry, time.time() + 1)
    stand_still(time, 2.0)
    await asyncio.sleep(GRACE / 2)
    deadlines.close()
    assert len(entry.expired) == 1
    await asyncio.sleep(5)
    assert len(entry.expired) == 1
