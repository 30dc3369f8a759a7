"""What the row of a reminder holds beside its due time, as JSON: schedule, payload, retries. Pure.

The same rows hold jobs (`jobs.py`): their names begin with JOB. A store never reads an entry.
"""

from __future__ import annotations

import msgspec

from grange.errors import StorageError
from grange.grains.tick import Retry
from grange.reminders.schedule import SECOND, Schedule
from grange.storage.sets import ReminderRow

JOB = "$job/"
"""The names of rows that are jobs begin so; no name of a reminder does."""

TEXT_LIMIT = 500
"""Characters of an error that are kept."""


DEFAULT_RETRY = Retry()
"""The retries of reminders, and of jobs that name none."""


def pause_after(retry: Retry, failed: int) -> int:
    """Microseconds until the next attempt after this many failed ones."""
    return int(min(retry.first * 2.0 ** min(failed - 1, 40), retry.longest) * SECOND)


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """The entry of one row. `id` is drawn when the reminder is set, `occurrence` is the one that it waits for.

    `failed`: failed attempts of this occurrence, the last with `error`. `left_out`: occurrences before it that no tick
    has told of. `metadata` and `label` are those of a job.
    """

    id: str
    schedule: Schedule
    occurrence: int
    payload: msgspec.Raw = msgspec.Raw(b"null")
    retry: Retry = DEFAULT_RETRY
    failed: int = 0
    error: str = ""
    label: str = ""
    metadata: dict[str, str] = {}
    left_out: int = 0

    @property
    def tick_id(self) -> str:
        """The id of the tick for its occurrence: the same at each delivery of it."""
        return tick_id(self.id, self.occurrence)


def tick_id(id: str, occurrence: int) -> str:
    """The id of the tick for this occurrence of a reminder."""
    return f"{id}-{occurrence}"


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Entry).decode


def encode_entry(entry: Entry) -> bytes:
    """The entry as JSON text."""
    return _encode(entry)


def read_entry(row: ReminderRow) -> Entry:
    """The entry of a row. Raises StorageError for one that this grange cannot read."""
    try:
        return _decode(row.entry)
    except (msgspec.DecodeError, ValueError) as error:
        raise StorageError(f"reminder {row.name!r} of {row.grain_id}: its row cannot be read: {error}") from error
