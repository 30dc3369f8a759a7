"""Timers of grains, in virtual time (TMR)."""

from __future__ import annotations

import asyncio

import pytest

from grange import Grain, Timer
from grange.testing.cluster import TestCluster


class Clock(Grain):
    def __init__(self) -> None:
        self.ticks = 0
        self.inside = 0
        self.overlapped = False
        self.timer: Timer | None = None

    async def start(self, due: float, period: float | None = None) -> None:
        self.timer = self.start_timer(self._tick, due, period)

    async def start_slow(self) -> None:
        self.timer = self.start_timer(self._slow, 1, 1)

    async def start_calling(self) -> None:
        self.timer = self.start_timer(self._call, 1)

    async def start_failing(self) -> None:
        self.timer = self.start_timer(self._fail, 1, 1)

    async def start_interleaving(self) -> None:
        self.timer = self.start_timer(self._tick, 1, 1, interleave=True)

    async def stop(self) -> None:
        assert self.timer is not None
        self.timer.stop()

    async def change(self, due: float | None, period: float | None) -> None:
        assert self.timer is not None
        self.timer.change(due, period)

    async def count(self) -> int:
        return self.ticks

    async def busy(self, seconds: float) -> int:
        before = self.ticks
        await asyncio.sleep(seconds)
        return self.ticks - before

    async def finish(self) -> None:
        self.deactivate_when_idle()

    async def _tick(self) -> None:
        self.ticks += 1

    async def _slow(self) -> None:
        self.inside += 1
        self.overlapped |= self.inside > 1
        await asyncio.sleep(2)
        self.inside -= 1
        self.ticks += 1

    async def _call(self) -> None:
        await self.get_grain(Clock, "other").start(0)
        self.ticks += 1

    async def _fail(self) -> None:
        self.ticks += 1
        raise ValueError("one bad tick")

    async def has_overlapped(self) -> bool:
        return self.overlapped


async def test_ten_periods_are_ten_ticks() -> None:
    """TMR-01: ten timers in parallel tick exactly ten times each, and not at all after they are stopped."""
    async with TestCluster([Clock]) as cluster:
        clocks = [cluster.get_grain(Clock, str(number)) for number in range(10)]
        await asyncio.gather(*(clock.start(10, 10) for clock in clocks))
        await cluster.advance(105)
        assert await asyncio.gather(*(clock.count() for clock in clocks)) == [10] * 10
        await asyncio.gather(*(clock.stop() for clock in clocks))
        await cluster.advance(20)
        assert await asyncio.gather(*(clock.count() for clock in clocks)) == [10] * 10


async def test_timers_end_with_their_activation() -> None:
    """TMR-02: the next activation has no ticks, and its own timer counts from 0."""
    async with TestCluster([Clock]) as cluster:
        clock = cluster.get_grain(Clock, "a")
        await clock.start(1, 1)
        await cluster.advance(5.5)
        assert await clock.count() == 5
        await clock.finish()
        assert await clock.count() == 0
        await cluster.advance(5)
        assert await clock.count() == 0
        await clock.start(1, 1)
        await cluster.advance(3.5)
        assert await clock.count() == 3


async def test_a_tick_may_call_grains_and_a_single_shot_ticks_once() -> None:
    """TMR-03: exactly one tick, and no error."""
    async with TestCluster([Clock]) as cluster:
        await cluster.get_grain(Clock, "a").start_calling()
        await cluster.advance(20)
        assert await cluster.get_grain(Clock, "a").count() == 1
        assert await cluster.get_grain(Clock, "other").count() == 1


async def test_due_times_are_checked_and_changed() -> None:
    """TMR-06: a due time of zero, tiny or None is valid. Negative or absurd times raise, for due and for period."""
    async with TestCluster([Clock]) as cluster:
        clock = cluster.get_grain(Clock, "a")
        await clock.start(0)
        await cluster.advance(1)
        assert await clock.count() == 1
        await clock.change(1e-6, None)
        await cluster.advance(1)
        assert await clock.count() == 2
        await clock.change(None, None)
        await cluster.advance(100)
        assert await clock.count() == 2
        for due, period in ((-5, None), (1, -5), (1e12, None), (1, 1e12)):
            with pytest.raises(ValueError, match=r"must be between 0(.001)? and"):
                await clock.change(due, period)


async def test_a_timer_never_overlaps_itself() -> None:
    """The next tick is due one period after the last one ends: ticks of 2 s with a period of 1 s start every 3 s."""
    async with TestCluster([Clock]) as cluster:
        clock = cluster.get_grain(Clock, "a")
        await clock.start_slow()
        await cluster.advance(30.5)
        await clock.stop()
        assert await clock.count() == 10
        assert not await clock.has_overlapped()


async def test_a_tick_waits_its_turn_unless_it_interleaves() -> None:
    """Ticks are turns of the activation."""
    async with TestCluster([Clock]) as cluster:
        await cluster.get_grain(Clock, "waits").start(1, 1)
        assert await cluster.get_grain(Clock, "waits").busy(5) == 0
        await cluster.get_grain(Clock, "runs").start_interleaving()
        assert await cluster.get_grain(Clock, "runs").busy(5.5) == 5


async def test_a_failing_tick_is_logged_and_the_timer_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """An error of one tick ends neither the timer nor the activation."""
    async with TestCluster([Clock]) as cluster:
        await cluster.get_grain(Clock, "a").start_failing()
        await cluster.advance(3.5)
        assert await cluster.get_grain(Clock, "a").count() == 3
    assert "timer of clock/a failed" in caplog.text


async def test_a_waiting_tick_is_dropped_when_the_timer_is_changed() -> None:
    """A tick is due while its activation is busy, and then the timer is changed. Only the new due time ticks."""

    class Changing(Grain, name="changing"):
        def __init__(self) -> None:
            self.ticks = 0

        async def change_while_a_tick_waits(self) -> None:
            timer = self.start_timer(self._tick, 1)
            await asyncio.sleep(2)
            timer.change(10)

        async def count(self) -> int:
            return self.ticks

        async def _tick(self) -> None:
            self.ticks += 1

    async with TestCluster([Changing]) as cluster:
        grain = cluster.get_grain(Changing, "a")
        await grain.change_while_a_tick_waits()
        await cluster.advance(5)
        assert await grain.count() == 0
        await cluster.advance(10)
        assert await grain.count() == 1
