"""A reminder comes at its times, on whichever silo its grain is, until it is cancelled."""

from __future__ import annotations

from grange import Grain
from grange.grains.tick import Tick
from grange.testing import TestCluster

MINUTE = 60.0
MARGIN = 1.0
"""Seconds by which a tick may be late on a stable cluster."""


class Log:
    """The ticks of all grains in one test."""

    def __init__(self) -> None:
        self.ticks: list[tuple[str, Tick]] = []

    def count(self, key: str, name: str = "r") -> int:
        """How many ticks this reminder had."""
        return sum((grain, tick.name) == (key, name) for grain, tick in self.ticks)


LOG = Log()


class Alarm(Grain, name="alarm"):
    """Sets reminders and counts their ticks."""

    def __init__(self) -> None:
        self.ticks: list[str] = []

    async def start(self, name: str, due: float, every: float | None = None) -> str:
        """Set one; its id."""
        return (await self.reminders.set(name, due, every=every)).id

    async def stop(self, name: str) -> bool:
        """Cancel one."""
        return await self.reminders.cancel(name)

    async def count(self) -> int:
        """The ticks of this activation."""
        return len(self.ticks)

    async def on_reminder(self, tick: Tick) -> None:
        """Count."""
        self.ticks.append(tick.id)


async def test_a_reminder_comes_each_period_until_it_is_cancelled() -> None:
    """REM-01: two periods, two ticks; after the end none; started again, it counts anew."""
    async with TestCluster([Alarm], silos=2) as cluster:
        alarm = cluster.get_grain(Alarm, "a")
        await alarm.start("r", MINUTE, MINUTE)
        await cluster.advance(2 * MINUTE + MARGIN)
        assert await alarm.count() == 2
        assert await alarm.stop("r")
        await cluster.advance(MINUTE)
        assert await alarm.count() == 2
        await alarm.start("r", MINUTE, MINUTE)
        await cluster.advance(2 * MINUTE + MARGIN)
        assert await alarm.count() == 4
