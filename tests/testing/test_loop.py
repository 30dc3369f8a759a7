"""Virtual time: the clock jumps when no work is left, and only then."""

from __future__ import annotations

import asyncio
import threading
import time as real

import pytest

from grange import ConfigurationError
from grange.testing.loop import EPOCH, MAX_BUSY_STEPS, START, VirtualTime


async def test_a_day_passes_at_once() -> None:
    loop = asyncio.get_running_loop()
    began = real.monotonic()
    with VirtualTime(loop).installed() as time:
        before = loop.time()
        await asyncio.sleep(86_400)
        assert loop.time() - before == 86_400
        assert (time.utc_now() - EPOCH).total_seconds() == pytest.approx(86_400)
    assert real.monotonic() - began < 60


async def test_timers_fire_in_their_order_at_their_times() -> None:
    loop, seen = asyncio.get_running_loop(), []
    with VirtualTime(loop).installed():
        start = loop.time()

        async def note(seconds: float) -> None:
            await asyncio.sleep(seconds)
            seen.append((seconds, loop.time() - start))

        await asyncio.gather(*(note(seconds) for seconds in (30, 1, 20, 0, 3600)))
    assert seen == [(seconds, pytest.approx(seconds)) for seconds in (0, 1, 20, 30, 3600)]


async def test_the_time_passes_that_advance_waits_for_beside_a_busy_task() -> None:
    """A task that polls keeps the loop busy; only `advance` makes the time pass beside it."""
    loop = asyncio.get_running_loop()
    with VirtualTime(loop).installed() as time:
        start = loop.time()
        passes = asyncio.create_task(time.advance(2))
        steps = 0
        while not passes.done():
            await asyncio.sleep(0)
            steps += 1
            assert steps < 3 * MAX_BUSY_STEPS, "time does not advance"
        assert loop.time() - start == 2
        for _ in range(2 * MAX_BUSY_STEPS):
            await asyncio.sleep(0)
        assert loop.time() - start == 2


async def test_a_deadline_is_reached_while_other_tasks_always_have_work() -> None:
    """Each task wakes just before the deadline, within asyncio's clock resolution, and so always has work."""
    loop = asyncio.get_running_loop()

    async def look_until(end: float, phase: int) -> int:
        wakeups = 0
        await asyncio.sleep(end - 1e-10 - loop.time())
        for _ in range(phase):
            await asyncio.sleep(0)
        while (left := end - loop.time()) > 0:
            wakeups += 1
            assert wakeups < 1000, "time does not advance"
            await asyncio.sleep(left)
            for _ in range(5):
                await asyncio.sleep(0)
        return wakeups

    with VirtualTime(loop).installed():
        end = loop.time() + 5.1
        assert await asyncio.gather(*(look_until(end, phase) for phase in range(5))) == [1] * 5


async def test_timers_fire_after_years() -> None:
    """The float of a year of seconds is coarser than the resolution of asyncio's clock."""
    loop = asyncio.get_running_loop()
    with VirtualTime(loop).installed():
        await asyncio.sleep(10 * 365 * 86_400)
        before = loop.time()
        await asyncio.sleep(0.1)
        assert loop.time() - before == pytest.approx(0.1)


async def test_time_does_not_advance_while_there_is_work() -> None:
    """A time-out must not fire because a computation took long."""
    loop = asyncio.get_running_loop()
    with VirtualTime(loop).installed():
        before = loop.time()
        for _ in range(1000):
            await asyncio.sleep(0)
        assert loop.time() == before


async def test_time_does_not_advance_while_a_thread_works() -> None:
    loop = asyncio.get_running_loop()
    with VirtualTime(loop).installed():
        before, gate = loop.time(), threading.Event()
        timer = loop.call_later(3600, gate.set)
        waiting = asyncio.to_thread(gate.wait, 0.05)
        assert await asyncio.wait_for(waiting, 10) is False
        assert loop.time() == before
        timer.cancel()
        await asyncio.sleep(5)
        assert loop.time() == before + 5


async def test_a_callback_from_a_thread_runs_before_time_advances() -> None:
    loop = asyncio.get_running_loop()
    with VirtualTime(loop).installed():
        before, done = loop.time(), asyncio.Event()
        await asyncio.to_thread(loop.call_soon_threadsafe, done.set)
        async with asyncio.timeout(1):
            await done.wait()
        assert loop.time() == before


async def test_the_real_clock_is_restored_and_never_goes_backwards() -> None:
    loop = asyncio.get_running_loop()
    for _ in range(3):
        before = loop.time()
        with VirtualTime(loop).installed():
            await asyncio.sleep(1000)
        outside = loop.time()
        assert 1000 <= outside - before < 1060
        await asyncio.sleep(0.001)
        assert loop.time() > outside


@pytest.mark.parametrize("uptime", [0.1, 86_400.3, 2.0**31 + 0.7])
async def test_the_uptime_of_the_machine_changes_no_digit(uptime: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: the last digits of the real clock decided whether two timers fired together."""
    loop = asyncio.get_running_loop()
    clock, shift = loop.time, uptime - loop.time()
    with monkeypatch.context() as patched:
        patched.setattr(loop, "time", lambda: clock() + shift)
        with VirtualTime(loop).installed():
            seen = [loop.time()]
            for seconds in (0.1, 0.2, 0.7):
                await asyncio.sleep(seconds)
                seen.append(loop.time())
    assert seen == [START, START + 0.1, START + 0.1 + 0.2, START + 0.1 + 0.2 + 0.7]


async def test_timers_set_before_keep_their_remaining_time() -> None:
    loop, rang = asyncio.get_running_loop(), asyncio.Event()
    loop.call_later(30, rang.set)
    with VirtualTime(loop).installed():
        await asyncio.sleep(29)
        assert not rang.is_set()
        await asyncio.sleep(2)
        assert rang.is_set()
        left = loop.call_later(60, rang.set)
    assert left.when() - loop.time() == pytest.approx(60, abs=1)
    left.cancel()


def test_uvloop_is_refused_with_a_remedy() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def check() -> None:
        with pytest.raises(ConfigurationError, match="virtual_time=False"):
            VirtualTime(asyncio.get_running_loop())

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(check())
