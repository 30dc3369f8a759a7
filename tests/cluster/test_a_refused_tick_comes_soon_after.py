"""A tick that was refused in a trouble comes soon after it, and none is left out without a word (I5)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from grange import Grain, GrainId
from grange.grains.tick import MissedTicks, Tick
from grange.reminders.entry import Entry, encode_entry
from grange.reminders.schedule import SECOND, Schedule
from grange.storage.memory import MemoryStorage
from grange.storage.sets import ChangeSet, ReminderChange, ReminderRow, slot_of
from grange.testing import TestCluster

SOON = 11.0
"""Seconds after a trouble of the cluster within which a tick comes."""

PERIOD = 3


class Notes:
    """What happened in one test. `refuses`: the grains whose keys begin so do not let themselves be activated."""

    def __init__(self) -> None:
        self.ticks: list[tuple[float, Tick]] = []
        self.refuses = "-"


NOTES = Notes()


@pytest.fixture(autouse=True)
def no_notes() -> None:
    """Each test begins without notes."""
    NOTES.__init__()  # type: ignore[misc]


class Bell(Grain, name="bell"):
    """Notes its ticks."""

    async def on_activate(self) -> None:
        """End at once if the test says so: the call is refused."""
        if str(self.key).startswith(NOTES.refuses):
            self.deactivate_when_idle()

    async def start(self, due: float, every: float | None = None, missed: MissedTicks | None = None) -> None:
        """Set the reminder."""
        await self.reminders.set("r", due, every=every, missed=missed)

    async def end(self) -> None:
        """End this activation."""
        self.deactivate_when_idle()

    async def be_busy(self, seconds: float) -> None:
        """Let no other turn run."""
        await asyncio.sleep(seconds)

    async def on_reminder(self, tick: Tick) -> None:
        """Note it."""
        NOTES.ticks.append((asyncio.get_running_loop().time(), tick))


class Other(Bell, name="other"):
    """A class of its own, so that a silo delivers reminders without having the first."""


def now() -> float:
    """The time of the loop."""
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("seconds", [8, 30, 100])
async def test_a_tick_that_was_refused_for_long_comes_soon_after_the_trouble(seconds: float) -> None:
    """However long it lasted: it is not put off as one is whose class no silo has."""
    async with TestCluster([Bell], silos=2) as cluster:
        bell = cluster.get_grain(Bell, "a")
        await bell.start(5)
        await bell.end()
        NOTES.refuses = "a"
        await cluster.advance(5 + seconds)
        assert NOTES.ticks == []
        NOTES.refuses, over = "-", now()
        await cluster.advance(60)
        [(came, _)] = NOTES.ticks
        assert came - over <= SOON


async def test_many_ticks_that_are_refused_do_not_hide_the_others() -> None:
    """They are more than one read finds, and due before the others."""
    options: dict[str, Any] = {"reminders": {"read_limit": 10, "most_under_way": 10}}
    async with TestCluster([Bell], **options) as cluster:
        for number in range(50):
            refusing = cluster.get_grain(Bell, f"a{number}")
            await refusing.start(5 + number / 10)
            await refusing.end()
        NOTES.refuses = "a"
        await cluster.advance(60)
        assert NOTES.ticks == []
        await cluster.get_grain(Bell, "b").start(20)
        await cluster.advance(25)
        assert len(NOTES.ticks) == 1


@pytest.mark.parametrize("seconds", [25, 40])
async def test_a_tick_whose_class_comes_back_is_late_by_no_more_than_twice_its_absence(seconds: float) -> None:
    """It is put off for as long as it is late."""
    async with TestCluster([Other], silos=1) as cluster:
        storage = cluster.storage
        assert isinstance(storage, MemoryStorage)
        grain_id, due = GrainId("bell", "a"), await storage.now()
        entry = encode_entry(Entry("1", Schedule(due), due))
        row = ReminderRow(grain_id, "r", slot_of(grain_id), due, entry, "1")
        await storage.commit(ChangeSet(None, reminders=(ReminderChange(grain_id, "r", None, row),)))
        await cluster.advance(seconds)
        await cluster.add_silo(grains=[Bell, Other])
        await cluster.advance(seconds + 2)
        assert [tick.id for _, tick in NOTES.ticks] == [f"1-{due}"]


@pytest.mark.parametrize("missed", ["once", "skip"])
async def test_a_tick_that_got_no_answer_counts_as_missed_when_the_next_one_is_due(missed: MissedTicks) -> None:
    """The grain is busy for longer than a call waits, so some tick never comes; the next one tells of it."""
    limits: dict[str, Any] = {"response_timeout": 4.0}
    async with TestCluster([Bell], silos=2, runtime=limits) as cluster:
        bell = cluster.get_grain(Bell, "a")
        await bell.start(PERIOD, PERIOD, missed)
        await cluster.advance(PERIOD + 1)
        busy = asyncio.create_task(bell.be_busy(20))
        await cluster.advance(60)
        await busy
    ticks = {tick.id: tick for _, tick in NOTES.ticks}.values()
    first, last = (round(tick.scheduled.timestamp() * SECOND) for tick in (min(ticks, key=at), max(ticks, key=at)))
    told = sum(1 + tick.missed for tick in ticks)
    assert max(tick.missed for tick in ticks) >= 5
    assert told == (last - first) // (PERIOD * SECOND) + 1


def at(tick: Tick) -> float:
    """The time that the schedule names."""
    return tick.scheduled.timestamp()
