"""The verbs of `self.reminders`, and the end of a delivery at its grain: one object for each activation that needs it.

The activation knows what it has cancelled or set anew. So it turns away a tick of an earlier reminder that was already
on its way, and a tick that has run here before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec

from grange.errors import InconsistentStateError
from grange.grains.tick import Cron, Job, MissedTicks, Reminder, Reminders, Tick
from grange.grains.work import Settled
from grange.proto.ids import GrainId
from grange.reminders.entry import JOB, Entry, read_entry
from grange.reminders.news import News
from grange.reminders.options import ReminderOptions
from grange.reminders.payloads import Payloads
from grange.reminders.store import ReminderStore
from grange.reminders.times import When, moment, schedule_of
from grange.storage.sets import ReminderRow

MOST_RACES = 20
"""Times that a change is repeated because another silo has changed the row meanwhile, as each delivery does."""

NAME_LIMIT = 200
"""Characters of a name."""

CANCEL_PATIENCE = 1.0
"""Seconds that a cancellation waits until the silo that delivers the reminder has heard of it."""

MOST_JOBS = 100
"""Jobs that an activation remembers to have run, to run none twice."""


class RemindersDeps(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """The parts of a silo that the verbs need."""

    store: ReminderStore
    news: News
    payloads: Payloads
    options: ReminderOptions


class GrainReminders(Reminders):
    """The reminders of one activation of a grain (`grains.tick.Reminders`), and its deliveries (`TakesTicks`).

    `_current`: the id of each reminder that this activation has set last, empty for one that it has cancelled; `_held`:
    the etags of their rows. `_last`: the tick of each reminder that has run last.
    """

    def __init__(self, deps: RemindersDeps, grain_id: GrainId, cls: type) -> None:
        self._deps = deps
        self._grain_id = grain_id
        self._cls = cls
        self._current: dict[str, str] = {}
        self._held: dict[str, str] = {}
        self._last: dict[str, str] = {}
        self._jobs: dict[str, None] = {}
        self._running: dict[str, asyncio.Future[None]] = {}

    # --- the verbs ------------------------------------------------------------------------------------------------

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
        """See `Reminders.set`."""
        check_hook(self._cls, "on_reminder", "tick: Tick")
        _check_name(name)
        deps, encoded = self._deps, self._deps.payloads.encode(payload)
        await deps.store.know_clock()
        schedule = schedule_of(deps.store.latest(), deps.options.shortest_period, due, every, cron, missed)
        entry = Entry(deps.store.new_id(), schedule, schedule.first, encoded)
        row = deps.store.row(self._grain_id, name, schedule.first, entry)

        def settled(stored: bool) -> None:
            deps.news.tell(self._grain_id)
            if stored:
                self._current[name], self._held[name] = entry.id, row.etag

        await self._put(name, row, settled)
        return shown(row, entry)

    async def _put(self, name: str, row: ReminderRow, settled: Settled) -> None:
        """Store this row in place of any other. It may change at any time, because each delivery changes it."""
        held = self._held.pop(name, None)
        if self._deps.store.joins_turn:  # it must be right at once: what the turn has changed is stored once
            rows = await self._deps.store.of(self._grain_id)
            held = next((each.etag for each in rows if each.name == name), None)
        for race in range(MOST_RACES):
            try:
                await self._deps.store.change(self._grain_id, name, held, row, settled)
            except InconsistentStateError as error:
                if error.fenced or race == MOST_RACES - 1:
                    raise
                held = error.stored
            else:
                return

    async def cancel(self, reminder: str | Reminder) -> bool:
        """See `Reminders.cancel`."""
        name = reminder if isinstance(reminder, str) else reminder.name
        wanted = "" if isinstance(reminder, str) else reminder.id

        def settled(stored: bool) -> None:
            if stored:
                self._current[name] = ""
            self._held.pop(name, None)

        return await remove(self._deps, self._grain_id, name, wanted, settled)

    async def get(self, name: str) -> Reminder | None:
        """See `Reminders.get`."""
        return next((each for each in await self.list() if each.name == name), None)

    async def list(self) -> list[Reminder]:
        """See `Reminders.list`."""
        rows = await self._deps.store.of(self._grain_id)
        return [shown(row, read_entry(row)) for row in rows if not row.name.startswith(JOB)]

    # --- deliveries -----------------------------------------------------------------------------------------------

    async def take_tick(self, grain: Any, tick: Tick) -> bool:
        """See `TakesTicks.take_tick`."""
        current = self._current.get(tick.name)
        if current is not None and current != tick.id.rpartition("-")[0]:
            return False
        if self._last.get(tick.name) != tick.id and await self._run(tick.id, lambda: grain.on_reminder(tick)):
            self._last[tick.name] = tick.id
        return True

    async def take_job(self, grain: Any, job: Job) -> bool:
        """See `TakesTicks.take_job`."""
        if job.id not in self._jobs and await self._run(job.id, lambda: grain.on_job(job)):
            if len(self._jobs) >= MOST_JOBS:
                del self._jobs[next(iter(self._jobs))]
            self._jobs[job.id] = None
        return True

    async def _run(self, id: str, hook: Callable[[], Awaitable[None]]) -> bool:
        """Run a hook; False: it has run meanwhile. If it runs already, as turns that interleave can, wait for it."""
        while (running := self._running.get(id)) is not None:
            await asyncio.wait({running})
            if not running.cancelled():
                return False
        running = self._running[id] = asyncio.get_running_loop().create_future()
        try:
            await hook()
        except BaseException:
            running.cancel()
            raise
        finally:
            del self._running[id]
        running.set_result(None)
        return True


async def remove(
    deps: RemindersDeps, grain_id: GrainId, name: str, wanted: str, settled: Settled = lambda _: None
) -> bool:
    """Remove a row, if its reminder or job has this id (empty: any). False: there is none.

    Waits until the silo that delivers it has heard of it, if that does not take long. Raises StorageError. In a
    transactional turn it is removed when that ends.
    """

    def told(stored: bool) -> None:
        settled(stored)
        deps.news.tell(grain_id)

    joins = deps.store.joins_turn
    for race in range(MOST_RACES):
        row = next((row for row in await deps.store.of(grain_id) if row.name == name), None)
        if row is None or (wanted and read_entry(row).id != wanted):
            return False
        try:
            await deps.store.change(grain_id, name, row.etag, None, told if joins else settled)
            break
        except InconsistentStateError as error:
            if error.fenced or race == MOST_RACES - 1:
                raise
    if joins:
        return True
    with suppress(TimeoutError):
        async with asyncio.timeout(CANCEL_PATIENCE):
            await deps.news.tell(grain_id)
    return True


def shown(row: ReminderRow, entry: Entry) -> Reminder:
    """A row as authors see it."""
    schedule = entry.schedule
    return Reminder(
        name=row.name,
        id=entry.id,
        due=None if row.due is None else moment(row.due),
        every=timedelta(microseconds=schedule.every) if schedule.every else None,
        cron=Cron(schedule.cron, schedule.zone) if schedule.cron else None,
        missed=schedule.missed.value,
        payload=msgspec.json.decode(entry.payload),
        failed=entry.failed,
        error=entry.error,
    )


def check_hook(cls: type, hook: str, parameter: str) -> None:
    """Raise RuntimeError unless the class has the hook that a delivery calls."""
    if not callable(getattr(cls, hook, None)):
        raise RuntimeError(
            f"{cls.__name__} has no {hook}, so nothing could be delivered to it; write async def {hook}(self, "
            f"{parameter}) -> None"
        )


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"the name of a reminder is a text, not {name!r:.100}")
    if not name.strip() or len(name) > NAME_LIMIT:
        raise ValueError(f"the name of a reminder has 1 to {NAME_LIMIT} characters, not {name!r:.100}")
    if name.startswith("$"):
        raise ValueError(f"the name of a reminder does not begin with $, as {name!r:.100} does: jobs have such names")
