"""Reminders that cannot be delivered, or whose errors cannot be stored, delay no other reminder (F40)."""

from __future__ import annotations

import pytest

from grange import Grain, GrainId
from grange.grains.tick import Tick
from grange.reminders.entry import Entry, encode_entry
from grange.reminders.schedule import SECOND, Schedule
from grange.storage.memory import MemoryStorage
from grange.storage.sets import ChangeSet, ReminderChange, ReminderRow, slot_of
from grange.testing import TestCluster

TEXTS = ["a\0b", "a\udcffb", "\1" * 500]
"""No database holds the first two; the third has six times its length as JSON."""


class Bell(Grain):
    """Counts its ticks, and fails with the text that the reminder names."""

    def __init__(self) -> None:
        self.attempts: list[int] = []

    async def start(self, due: float, text: int | None = None) -> None:
        """Set the reminder."""
        await self.reminders.set("r", due, payload=text)

    async def rung(self) -> list[int]:
        """The number of the attempt of each tick."""
        return self.attempts

    async def errors(self) -> list[str]:
        """The errors of its reminders."""
        return [each.error for each in await self.reminders.list()]

    async def on_reminder(self, tick: Tick) -> None:
        """Count it."""
        self.attempts.append(tick.attempt)
        if tick.payload is not None:
            raise ValueError(TEXTS[tick.payload])


@pytest.mark.parametrize("text", range(len(TEXTS)))
async def test_an_error_whose_text_no_database_holds_is_tried_again_like_any_other(text: int) -> None:
    async with TestCluster([Bell]) as cluster:
        bell = cluster.get_grain(Bell, "a")
        await bell.start(1, text)
        await cluster.advance(60)
        assert await bell.rung() == [1, 2, 3, 4, 5]
        [error] = await bell.errors()
        assert error.startswith("ValueError: ")


async def test_many_reminders_of_a_class_that_no_silo_has_do_not_hide_the_others() -> None:
    """They are more than one read finds, and due before the others."""
    options = {"reminders": {"read_limit": 10, "most_under_way": 10}}
    async with TestCluster([Bell], **options) as cluster:  # type: ignore[arg-type]
        storage = cluster.storage
        assert isinstance(storage, MemoryStorage)
        for number in range(50):
            grain_id, due = GrainId("gone", str(number)), await storage.now() + number
            entry = encode_entry(Entry(str(number), Schedule(due), due))
            row = ReminderRow(grain_id, "r", slot_of(grain_id), due, entry, "1")
            await storage.commit(ChangeSet(None, reminders=(ReminderChange(grain_id, "r", None, row),)))
        bell = cluster.get_grain(Bell, "a")
        await cluster.advance(60)
        await bell.start(20)
        await cluster.advance(40)
        assert await bell.rung() == [1]
        assert await storage.now() > SECOND
