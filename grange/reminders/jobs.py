"""Durable one-shot jobs: rows like those of reminders, under the grain that they are scheduled for.

A job needs no activation when it is scheduled, so every silo can schedule one for any grain. `delivery.py` runs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from grange.grains.definition import Addressable, is_interface
from grange.grains.ref import grain_id_of
from grange.grains.tick import Jobs, Retry, ScheduledJob
from grange.reminders.entry import DEFAULT_RETRY, JOB, Entry, read_entry
from grange.reminders.reminder import NAME_LIMIT, RemindersDeps, check_hook, remove
from grange.reminders.schedule import Schedule
from grange.reminders.times import When, moment, when
from grange.storage.sets import ReminderRow

METADATA_LIMIT = 4_096
"""Characters of all metadata of a job together."""


class SiloJobs(Jobs):
    """The jobs that code of one silo schedules (`grains.tick.Jobs`)."""

    def __init__(self, deps: RemindersDeps) -> None:
        self._deps = deps

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
        """See `Jobs.schedule`."""
        grain_id, cls = grain_id_of(grain), grain.__class__
        if not is_interface(cls):  # what implements an interface may be in another silo only
            check_hook(cls, "on_job", "job: Job")
        words = dict(metadata or {})
        _check_texts(name, words)
        deps, encoded = self._deps, self._deps.payloads.encode(payload)
        await deps.store.know_clock()
        time = when(due, deps.store.latest())
        entry = Entry(
            deps.store.new_id(), Schedule(time), time, encoded, retry or DEFAULT_RETRY, label=name, metadata=words
        )
        row = deps.store.row(grain_id, JOB + entry.id, time, entry)

        def settled(_: bool) -> None:  # also if the outcome is unknown
            deps.news.tell(grain_id)

        await deps.store.change(grain_id, row.name, None, row, settled)
        return scheduled(row, entry)

    async def cancel(self, job: ScheduledJob) -> bool:
        """See `Jobs.cancel`."""
        return await remove(self._deps, job.grain_id, JOB + job.id, job.id)

    async def list(self, grain: Addressable) -> list[ScheduledJob]:
        """See `Jobs.list`."""
        rows = await self._deps.store.of(grain_id_of(grain))
        jobs = [(row, read_entry(row)) for row in rows if row.name.startswith(JOB)]
        jobs.sort(key=lambda each: (each[1].occurrence, each[1].id))
        return [scheduled(row, entry) for row, entry in jobs]


def scheduled(row: ReminderRow, entry: Entry) -> ScheduledJob:
    """A row as authors see it."""
    return ScheduledJob(
        grain_id=row.grain_id,
        id=entry.id,
        name=entry.label,
        due=None if row.due is None else moment(row.due),
        payload=msgspec.json.decode(entry.payload),
        metadata=entry.metadata,
        failed=entry.failed,
        error=entry.error,
    )


def _check_texts(name: str, metadata: Mapping[str, str]) -> None:
    texts = [name, *metadata.keys(), *metadata.values()]
    if not all(isinstance(cast("object", each), str) for each in texts):
        raise TypeError("name= of a job is a text, and metadata= a mapping of texts to texts")
    if len(name) > NAME_LIMIT or sum(map(len, texts)) > METADATA_LIMIT:
        raise ValueError(
            f"name= of a job has at most {NAME_LIMIT} characters, and metadata= {METADATA_LIMIT:,}; put more into "
            "payload="
        )
