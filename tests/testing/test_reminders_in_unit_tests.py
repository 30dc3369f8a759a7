"""A unit test sees the reminders and jobs of a grain, and delivers ticks by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest

from grange import Grain, Tick
from grange.testing.unit import TestContext


class Alarm(Grain, name="alarm"):
    def __init__(self) -> None:
        self.ticks: list[Tick] = []

    async def start(self) -> None:
        await self.reminders.set("once", 60, payload={"a": 1})
        await self.reminders.set("often", every=60)
        await self.jobs.schedule(self.reference, 5, name="mail")

    async def stop(self) -> bool:
        return await self.reminders.cancel("often")

    async def on_reminder(self, tick: Tick) -> None:
        self.ticks.append(tick)


async def test_a_tick_is_delivered_by_hand() -> None:
    """One that comes once is gone afterwards; a periodic one is due a period later."""
    context = TestContext(Alarm, "a")
    alarm = context.build()
    await alarm.start()
    assert sorted(context.reminders.kept) == ["often", "once"]
    assert [job.name for job in context.jobs.kept] == ["mail"]
    first = context.reminders.kept["often"].due
    await context.reminders.fire("once")
    await context.reminders.fire("often")
    assert [tick.name for tick in alarm.ticks] == ["once", "often"]
    assert alarm.ticks[0].payload == {"a": 1}
    second = context.reminders.kept["often"].due
    assert first is not None
    assert second is not None
    assert second - first == timedelta(seconds=60)
    assert await alarm.stop()
    assert not await alarm.stop()
    with pytest.raises(LookupError, match="has set no reminder 'once'"):
        await context.reminders.fire("once")
