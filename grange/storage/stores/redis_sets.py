"""A change set as the arguments of a script: `redis_scripts.py` describes them. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from grange.storage.record import etag_number
from grange.storage.sets import ChangeSet, Committed, ReminderChange, Stamp, Write
from grange.storage.stores.changes import QueuedSet
from grange.storage.stores.redis_keys import RedisKeys, indexed, member_of, packed_answer, packed_reminder
from grange.storage.stores.redis_scripts import COMMIT, WRITE, sha_of
from grange.storage.stores.refusals import stores_nothing

SCRIPTS = (WRITE, COMMIT)
"""The scripts that a call of `call_of` may name."""

_WRITE, _COMMIT = map(sha_of, SCRIPTS)
_NEVER = "+inf"


def call_of(keys: RedisKeys, queued: QueuedSet) -> list[Any]:
    """The arguments of EVALSHA for a set: one plain write has a script of its own, because most sets are such."""
    if queued.plain is None:
        return _commit(keys, queued.changes)
    write, stamp = queued.plain, queued.changes.stamp_of(queued.plain)
    endpoint, generation = ("", "") if stamp is None else (stamp.writer.endpoint, str(stamp.writer.generation))
    record = keys.record((write.grain_id.type, write.grain_id.key, write.state))
    payload = () if write.payload is None else (write.payload,)
    held, following = _etags(write)
    claim = "" if write.claim is None else str(write.claim)
    arguments = (held, following, write.schema, _writer(stamp), generation, _number(stamp), claim, *payload)
    return [_WRITE, 2, record, keys.death(endpoint), *arguments]


def outcome_of(changes: ChangeSet) -> Committed:
    """The outcome of a set that was applied: the etags that were sent."""
    return Committed(tuple(None if stores_nothing(write) else _etags(write)[1] for write in changes.writes))


def _commit(keys: RedisKeys, changes: ChangeSet) -> list[Any]:
    writers = sorted(changes.writers)
    names = [
        *(keys.death(writer.endpoint) for writer in writers),
        *(keys.record((item.grain_id.type, item.grain_id.key, item.state)) for item in changes.writes),
        *(keys.record((item.grain_id.type, item.grain_id.key, item.state)) for item in changes.checks),
        *(keys.answer(item.grain_id, item.id) for item in changes.received),
        *(keys.reminders(item.grain_id) for item in changes.reminders),
    ]
    arguments: list[Any] = [
        *map(len, (writers, changes.writes, changes.checks, changes.received, changes.reminders)),
        f"grange:due:{keys.service}:",
        *(writer.generation for writer in writers),
    ]
    for write in changes.writes:
        arguments += _write(write, changes.stamp_of(write))
    for check in changes.checks:
        arguments += (_held(check.etag), "" if check.claim is None else check.claim)
    for item in changes.received:
        arguments += (packed_answer(item.result, changes.stamp), math.ceil(item.keep * 1_000))
    for change in changes.reminders:
        arguments += _reminder(change)
    return [_COMMIT, len(names), *names, *arguments]


def _write(write: Write, stamp: Stamp | None) -> Sequence[Any]:
    held, following = _etags(write)
    return (
        held,
        "" if stores_nothing(write) else following,
        write.schema,
        _writer(stamp),
        _number(stamp),
        "" if write.claim is None else write.claim,
        "" if write.payload is None else 1,
        write.payload or "",
        indexed(write.index) if write.index else "",
    )


def _reminder(change: ReminderChange) -> Sequence[Any]:
    row, held = change.row, ("", "") if change.held is None else (1, change.held)
    if row is None:
        member = f"{change.grain_id.type}\0{change.grain_id.key}\0{change.name}"
        return change.name, *held, "", member, "", ""
    due = _NEVER if row.due is None else row.due
    return change.name, *held, row.slot, member_of(row), due, packed_reminder(row)


def _etags(write: Write) -> tuple[str, str]:
    """The etag that must be stored (empty: none), and the one to store."""
    number = etag_number(write.etag)
    return _held(write.etag), str(number + 1)


def _held(etag: str | None) -> str:
    """An etag that is no counter is never stored; the text "-" neither."""
    number = etag_number(etag)
    return "-" if number < 0 else str(number) if number else ""


def _writer(stamp: Stamp | None) -> str:
    return "" if stamp is None else str(stamp.writer)


def _number(stamp: Stamp | None) -> str:
    return "" if stamp is None else str(stamp.number)
