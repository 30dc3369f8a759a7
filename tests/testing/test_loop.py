"""Virtual time: the clock jumps when nothing else is left to do, and only then."""

from __future__ import annotations

import asyncio
import threading
import time as real

import pytest

from grange import ConfigurationError
from grange.testing.loop import EPOCH, VirtualTime


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


async def test_time_stands_still_while_there_is_work() -> None:
    """A time-out must not come because a computation took long."""
    loop = asyncio.get_running_loop()
    with VirtualTime(loop).installed():
        before = loop.time()
        for _ in range(1000):
            await asyncio.sleep(0)
        assert loop.time() == before


async def test_time_stands_still_while_a_thread_works() -> None:
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


async def test_a_thread_that_calls_back_is_heard_before_time_moves() -> None:
    loop = asyncio.get_running_loop()
    with VirtualTime(loop).installed():
        before, done = loop.time(), asyncio.Event()
        await asyncio.to_thread(loop.call_soon_threadsafe, done.set)
        async with asyncio.timeout(1):
            await done.wait()
        assert loop.time() == before


async def test_the_real_clock_comes_back_and_never_goes_backwards() -> None:
    loop = asyncio.get_running_loop()
    for _ in range(3):
        with VirtualTime(loop).installed():
            await asyncio.sleep(1000)
            inside = loop.time()
        outside = loop.time()
        assert outside >= inside
        assert outside - inside < 60
        await asyncio.sleep(0.001)
        assert loop.time() > outside


def test_uvloop_is_refused_with_a_remedy() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def check() -> None:
        with pytest.raises(ConfigurationError, match="virtual_time=False"):
            VirtualTime(asyncio.get_running_loop())

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(check())
