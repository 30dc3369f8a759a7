"""Time-outs that count time awake: on time while the process runs, later after a stop, and never endless."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.aio.awake import GRACE, SLICE, STOP_THRESHOLD, AwakeOrder, AwakeTimeout
from grange.runtime.requests.deadlines import SWEEP_INTERVAL, Deadlines
from grange.testing.loop import VirtualTime
from tests.runtime.test_deadlines import Entry


def stand_still(time: VirtualTime, seconds: float) -> None:
    """Stop the process for so long: no task runs, and all timers are late afterwards."""
    time._now += seconds


Answer = asyncio.Future[None]
Limit = Callable[[float, Answer], Awaitable[None]]


async def by_itself(seconds: float, answer: Answer) -> None:
    """Wait for an answer with a time-out of its own."""
    async with AwakeTimeout(seconds):
        await answer


async def in_order(seconds: float, answer: Answer) -> None:
    """Wait for an answer as one of many entries of an order; the others come before and after it."""

    def expire(entry: Answer) -> None:
        if not entry.done():
            entry.set_exception(TimeoutError())

    order = AwakeOrder(seconds, expire)
    loop = asyncio.get_running_loop()
    before, after = loop.create_future(), loop.create_future()
    for entry in before, answer, after:
        order.add(entry)
    order.discard(before)
    try:
        await answer
    finally:
        order.discard(answer)
        order.discard(after)
        before.cancel()
        after.cancel()
        assert after.cancelled() or answer.exception() is not None


@pytest.fixture(params=[by_itself, in_order])
def limit(request: pytest.FixtureRequest) -> Limit:
    """Both kinds of time-outs."""
    kind: Limit = request.param
    return kind


async def over(limit: Limit, seconds: float) -> float:
    """The duration of a time-out."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(TimeoutError):
        await limit(seconds, loop.create_future())
    return loop.time() - began


@pytest.mark.parametrize("limit", [by_itself, in_order])
@given(seconds=st.floats(0, 100), start=st.floats(0, 1e6))
def test_it_is_on_time_while_the_process_runs(limit: Limit, seconds: float, start: float) -> None:
    async def check() -> None:
        with VirtualTime(asyncio.get_running_loop()).installed():
            await asyncio.sleep(start)
            assert await over(limit, seconds) == pytest.approx(seconds, abs=1e-6)

    asyncio.run(check())


@pytest.mark.parametrize("begins", [0.0, 0.001, 1.0, 1.79])
@pytest.mark.parametrize("stop", [STOP_THRESHOLD + SLICE + 0.001, 2.0, 60.0])
async def test_an_answer_that_came_while_the_process_was_stopped_is_read(
    time: VirtualTime, limit: Limit, begins: float, stop: float
) -> None:
    """F4: for any start of the stop, an answer within the grace after it is in time."""

    async def answered() -> str:
        await limit(1.8, answer)
        return "answered"

    answer = asyncio.get_running_loop().create_future()
    waits = asyncio.ensure_future(answered())
    await asyncio.sleep(begins)
    stand_still(time, stop)
    asyncio.get_running_loop().call_later(GRACE - 0.01, answer.set_result, None)
    assert await waits == "answered"


async def test_after_a_stop_a_missing_answer_still_times_out(time: VirtualTime, limit: Limit) -> None:
    began = time.time()
    waits = asyncio.ensure_future(over(limit, 1.8))
    await asyncio.sleep(1.7)
    stand_still(time, 10)
    assert GRACE <= await waits - 11.7 <= GRACE + SLICE
    assert time.time() - began < 13


async def test_a_loop_that_is_always_late_does_not_keep_it_from_ending(time: VirtualTime, limit: Limit) -> None:
    waits = asyncio.ensure_future(over(limit, 1.8))
    for _ in range(1000):
        await asyncio.sleep(SLICE / 2)
        stand_still(time, 1)
        if waits.done():
            break
    assert await waits < 60


async def test_an_order_has_one_timer_and_expires_many_in_portions(time: VirtualTime) -> None:
    """Ten thousand changes that wait for a store that hangs cost one timer, and end without a stall of the loop."""
    expired: list[int] = []
    order = AwakeOrder(1.0, expired.append)
    for entry in range(10_000):
        order.add(entry)
    order.discard(7)
    assert len(asyncio.get_running_loop()._scheduled) == 1  # type: ignore[attr-defined]
    await asyncio.sleep(1.0)
    assert 0 < len(expired) < 9_999
    await asyncio.sleep(0.001)
    assert expired == [entry for entry in range(10_000) if entry != 7]
    await asyncio.sleep(SLICE)
    assert asyncio.get_running_loop()._scheduled == []  # type: ignore[attr-defined]


async def test_an_entry_that_is_added_right_after_a_stop_does_not_wait_as_long_as_the_stop_was(
    time: VirtualTime,
) -> None:
    """What waits in the sockets is read before the late timer runs."""
    loop = asyncio.get_running_loop()
    expired: dict[int, float] = {}
    order: AwakeOrder[int] = AwakeOrder(5.0, lambda entry: expired.update({entry: loop.time()}))
    order.add(1)
    await asyncio.sleep(0.1)
    stand_still(time, 600.0)
    order.add(2)
    began = loop.time()
    await asyncio.sleep(20.0)
    assert began + 4.0 < expired[1] <= began + 5.0
    assert began + 5.0 <= expired[2] < began + 6.0


@given(data=st.data(), seconds=st.sampled_from((0.1, 1.0, 5.0)))
def test_each_entry_expires_once_and_in_time(data: st.DataObject, seconds: float) -> None:
    """Entries come and go while the process is stopped again and again; only stops and grace make an entry late."""
    steps = data.draw(
        st.lists(st.sampled_from(("add", "discard", 0.0, 0.01, 0.1, 0.3, -0.04, -0.3, -10.0)), max_size=60)
    )
    expired: dict[int, float] = {}
    added: dict[int, float] = {}
    gone: set[int] = set()

    async def check() -> None:
        loop = asyncio.get_running_loop()

        def expire(entry: int) -> None:
            assert entry not in gone
            assert entry not in expired
            expired[entry] = loop.time()

        stops: list[tuple[float, float]] = []
        with VirtualTime(loop).installed() as time:
            order = AwakeOrder(seconds, expire)
            for number, step in enumerate(steps):
                if step == "add":
                    order.add(number)
                    added[number] = loop.time()
                elif step == "discard":
                    if left := [entry for entry in added if entry not in expired and entry not in gone]:
                        order.discard(left[-1])
                        gone.add(left[-1])
                elif isinstance(step, float) and step < 0:
                    stops.append((loop.time(), -step))
                    stand_still(time, -step)
                elif isinstance(step, float):
                    await asyncio.sleep(step)
            await asyncio.sleep(30)
        assert expired.keys() == added.keys() - gone
        for entry, at in expired.items():
            awake = at - added[entry] - sum(length for began, length in stops if added[entry] <= began < at)
            assert awake >= seconds - len(stops) * (SLICE + STOP_THRESHOLD) - 1e-6
            assert awake <= seconds + (len(stops) + 1) * (GRACE + STOP_THRESHOLD)
            assert at >= added[entry] + seconds - 1e-6

    asyncio.run(check())


async def test_an_order_with_rounded_times_comes_to_its_end(time: VirtualTime) -> None:
    """`now - stopped < due` and `due + stopped == now` can hold at once."""
    rng = random.Random(1)
    for _ in range(200):
        expired: list[int] = []
        order = AwakeOrder(0.1, expired.append)
        for number in range(20):
            order.add(number)
            await asyncio.sleep(rng.random())
            stand_still(time, rng.random() * 10)
        await asyncio.sleep(30)
        assert expired == list(range(20))


async def test_without_a_limit_it_never_ends_and_costs_no_timer(time: VirtualTime) -> None:
    async with AwakeTimeout(math.inf):
        assert asyncio.get_running_loop()._scheduled == []  # type: ignore[attr-defined]
        await asyncio.sleep(1e6)


async def test_a_call_takes_an_answer_that_came_while_the_process_was_stopped(time: VirtualTime) -> None:
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
