"""Reminders and jobs of one grain in a unit test: what it sets is kept here, and the test delivers it by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import msgspec

from grange import clock
from grange.grains.definition import Addressable
from grange.grains.ref import grain_id_of
from grange.grains.tick import Cron, Jobs, MissedTicks, Reminder, Reminders, Retry, ScheduledJob, Tick
from grange.reminders.schedule import SECOND, Schedule
from grange.reminders.times import When, moment, schedule_of, when

SHORTEST = 1.0
"""Seconds of the shortest period, as by default."""


class TestReminders(Reminders):
    """The reminders that a grain has set, by name in `kept`. `await reminders.fire("r")` delivers the next tick."""

    __test__ = False

    def __init__(self, grain: Callable[[], Any]) -> None:
        self.kept: dict[str, Reminder] = {}
        self._grain = grain
        self._schedules: dict[str, Schedule] = {}
        self._set = 0

    async def set(
        self,
        name: str,
        due: When | None = None,
        *,
        every: float | timedelta | None = None,
        cron: str | Cron | None = None,
        payload: Any = None,
        missed: MissedTicks | None = None,
    ) -> Reminder:
        """Keep a reminder. Raises as `Reminders.set` for values that make no sense."""
        schedule = schedule_of(_now(), SHORTEST, due, every, cron, missed)
        self._set += 1
        self._schedules[name] = schedule
        self.kept[name] = Reminder(
            name=name,
            id=f"test-{self._set}",
            due=moment(schedule.first),
            every=timedelta(microseconds=schedule.every) if schedule.every else None,
            cron=Cron(schedule.cron, schedule.zone) if schedule.cron else None,
            missed=schedule.missed.value,
            payload=payload,
        )
        return self.kept[name]

    async def cancel(self, reminder: str | Reminder) -> bool:
        """Remove one."""
        name = reminder if isinstance(reminder, str) else reminder.name
        if name not in self.kept or (not isinstance(reminder, str) and self.kept[name].id != reminder.id):
            return False
        del self.kept[name], self._schedules[name]
        return True

    async def get(self, name: str) -> Reminder | None:
        """The reminder of this name."""
        return self.kept.get(name)

    async def list(self) -> list[Reminder]:
        """All, by name."""
        return [self.kept[name] for name in sorted(self.kept)]

    async def fire(self, name: str) -> None:
        """Call `on_reminder` with the next tick. Raises its error, and LookupError if no such reminder is kept.

        One that comes once is then gone, unless the grain has set it again.
        """
        if name not in self.kept:
            raise LookupError(f"the grain has set no reminder {name!r}; it has set: {', '.join(sorted(self.kept))}")
        reminder, schedule = self.kept[name], self._schedules[name]
        assert reminder.due is not None, "reminders in unit tests are never parked"
        occurrence = round(reminder.due.timestamp() * SECOND)
        tick = Tick(name=name, id=f"{reminder.id}-{occurrence}", scheduled=reminder.due, payload=reminder.payload)
        await self._grain().on_reminder(tick)
        if self.kept.get(name) is not reminder:
            return
        following = schedule.following(occurrence)
        if following is None:
            await self.cancel(name)
        else:
            self.kept[name] = msgspec.structs.replace(reminder, due=moment(following))


class TestJobs(Jobs):
    """The jobs that a grain has scheduled, in `kept`."""

    __test__ = False

    def __init__(self) -> None:
        self.kept: list[ScheduledJob] = []

    async def schedule(
        self,
        grain: Addressable,
        due: When = 0.0,
        *,
        name: str = "",
        payload: Any = None,
        metadata: Mapping[str, str] | None = None,
        retry: Retry | None = None,
    ) -> ScheduledJob:
        """Keep a job. Raises as `Jobs.schedule` for a time that makes no sense."""
        at = moment(when(due, _now()))
        job = ScheduledJob(
            grain_id=grain_id_of(grain), id=f"test-{len(self.kept) + 1}", name=name, due=at, payload=payload,
            metadata=dict(metadata or {}),
        )  # fmt: skip
        self.kept.append(job)
        return job

    async def cancel(self, job: ScheduledJob) -> bool:
        """Remove one."""
        known = job in self.kept
        self.kept = [each for each in self.kept if each != job]
        return known

    async def list(self, grain: Addressable) -> list[ScheduledJob]:
        """Those of one grain."""
        return [each for each in self.kept if each.grain_id == grain_id_of(grain)]


def _now() -> int:
    return round(clock.utc_now().timestamp() * SECOND)
