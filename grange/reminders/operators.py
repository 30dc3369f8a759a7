"""What operators see of reminders and jobs, and what they do: list, cancel, and retry those that have failed."""

from __future__ import annotations

import msgspec

from grange.errors import StorageError
from grange.proto.ids import GrainId
from grange.proto.inspection import MAX_ROWS, FindReminders, StoredReminder
from grange.reminders.entry import JOB, Entry, read_entry
from grange.reminders.reminder import RemindersDeps, remove
from grange.reminders.schedule import SECOND
from grange.storage.sets import ReminderRow

FURTHEST = 1e9
"""Seconds that a list looks ahead at most: 31 years."""


class NoFailure(Exception):
    """There is no such reminder, or it has not failed."""


class OperatorReminders:
    """The view of operators on the store of one silo. `slots` are those of this silo."""

    def __init__(self, deps: RemindersDeps) -> None:
        self._deps = deps

    async def find(self, question: FindReminders, slots: frozenset[int]) -> tuple[list[StoredReminder], float, bool]:
        """The rows, the time of the store, and whether there are more. Raises StorageError."""
        store, limit = self._deps.store, min(question.limit, MAX_ROWS)
        await store.know_clock()
        now = store.now()
        if question.grain_id is not None:
            rows = await store.of(question.grain_id)
        elif not slots:
            rows = []
        elif question.parked:
            rows = await store.parked(sorted(slots), limit + 1)
        else:
            within = max(0.0, min(FURTHEST, question.within))
            rows = await store.due(sorted(slots), now + int(within * SECOND), limit + 1)
        return [_shown(row) for row in rows[:limit]], now / SECOND, len(rows) > limit

    async def cancel(self, grain_id: GrainId, name: str) -> bool:
        """Remove a reminder, or a job by its id. False: there is none. Raises StorageError."""
        return await remove(self._deps, grain_id, name, "") or await remove(self._deps, grain_id, JOB + name, "")

    async def retry(self, grain_id: GrainId, name: str) -> None:
        """Deliver a reminder, or a job by its id, that has failed again, now, with all its attempts.

        Raises NoFailure, InconsistentStateError if it changes meanwhile, and StorageError.
        """
        store = self._deps.store
        rows = {row.name: row for row in await store.of(grain_id)}
        row = rows.get(name) or rows.get(JOB + name)
        if row is None:
            raise NoFailure(f"{grain_id} has no reminder or job {name!r}")
        entry = read_entry(row)
        if not entry.failed:
            raise NoFailure(f"{name!r} of {grain_id} has not failed; it comes at its time")
        await store.know_clock()
        fresh = msgspec.structs.replace(entry, failed=0, error="")
        await store.change(grain_id, row.name, row.etag, store.row(grain_id, row.name, store.now(), fresh))
        self._deps.news.tell(grain_id)


def _shown(row: ReminderRow) -> StoredReminder:
    due = None if row.due is None else row.due / SECOND
    try:
        entry = read_entry(row)
    except StorageError as error:
        return StoredReminder(row.grain_id, row.name, due, error=str(error)[:200])
    return StoredReminder(
        row.grain_id, row.name, due, entry.occurrence / SECOND, _schedule(entry), entry.schedule.missed.value,
        entry.failed, entry.error, entry.label if row.name.startswith(JOB) else "", len(entry.payload),
    )  # fmt: skip


def _schedule(entry: Entry) -> str:
    """The schedule in words: `every 60 s`, `0 9 * * * Europe/Zurich`, `once`."""
    schedule = entry.schedule
    if schedule.every:
        return f"every {schedule.every / SECOND:g} s"
    return f"{schedule.cron} {schedule.zone}" if schedule.cron else "once"
