"""Explains why a database did not apply a change set, from what it holds now. Pure.

A database tells only that some item of a set did not hold. `database.py` reads what the items name, and this file finds
the first one that does not hold, in the order of the memory store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from grange.errors import InconsistentStateError
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.provider import StateRecord
from grange.storage.record import (
    already_received,
    fenced_set,
    inconsistent,
    inconsistent_claim,
    inconsistent_reminder,
    not_unique,
)
from grange.storage.sets import ChangeSet, Committed, IndexEntry, Stamp, Write

Place = tuple[GrainId, str]
"""A grain, and the name of one of its states, answers or reminders."""

Condition = tuple[GrainId, str, str | None, int | None]
"""A grain, the name of a state, and the etag and claim that the record must have."""

_ABSENT = StateRecord(None, None)


class KeptAnswer(msgspec.Struct, frozen=True):
    """A kept answer whose time is not over, and the stamp of its set."""

    result: bytes
    stamp: Stamp | None


class Found(msgspec.Struct, frozen=True):
    """What a database holds of the items of one set; what is missing is not there.

    `dead` is the latest dead generation of each writer's endpoint, `taken` the unique values of a write that other
    records have, `reminders` the etags.
    """

    records: Mapping[Place, StateRecord]
    dead: Mapping[str, int]
    answers: Mapping[Place, KeptAnswer]
    reminders: Mapping[Place, str]
    taken: Mapping[Place, Sequence[IndexEntry]]


def judge(changes: ChangeSet, found: Found) -> Committed:
    """The outcome of a set that had been applied before. Raises the error of the first item that does not hold."""
    if _is_applied(changes, found):
        return Committed(tuple(_held(found, write).etag for write in changes.writes))
    _check_writers(changes, found)
    for condition in conditions(changes):
        _check_record(found, *condition)
    _check_unique(changes, found)
    for answer in changes.received:
        if (answer.grain_id, answer.id) in found.answers:
            raise already_received(answer.grain_id, answer.id)
    for change in changes.reminders:
        held = found.reminders.get((change.grain_id, change.name))
        if held != change.held:
            raise inconsistent_reminder(change, held)
    if clears_nothing(changes):
        return Committed((None,))
    raise _passed(changes)


def conditions(changes: ChangeSet) -> list[Condition]:
    """What must hold of each record that a set names."""
    writes = [(write.grain_id, write.state, write.etag, write.claim) for write in changes.writes]
    return [*writes, *((check.grain_id, check.state, check.etag, check.claim) for check in changes.checks)]


def checked(changes: ChangeSet) -> list[Condition]:
    """What must hold of each record that a set names and does not change."""
    changed = {(write.grain_id, write.state) for write in changes.writes if not stores_nothing(write)}
    return [condition for condition in conditions(changes) if condition[:2] not in changed]


def stores_nothing(write: Write) -> bool:
    """Whether a write is a clear of a record that was never written: only a check."""
    return write.payload is None and write.etag is None


def clears_nothing(changes: ChangeSet) -> bool:
    """Whether a set is only such a clear."""
    return (
        len(changes.writes) == 1
        and stores_nothing(changes.writes[0])
        and not (changes.checks or changes.received or changes.reminders)
    )


def _is_applied(changes: ChangeSet, found: Found) -> bool:
    """Whether all records of the set carry its stamp; without records, its answers and its new reminders."""
    writes = [write for write in changes.writes if not stores_nothing(write)]
    traces = [changes.stamp_of(write) == _held(found, write).stamp is not None for write in writes]
    if not writes:
        answers = [found.answers.get((item.grain_id, item.id)) for item in changes.received]
        traces += [answer is not None and changes.stamp == answer.stamp is not None for answer in answers]
        rows = [change.row for change in changes.reminders if change.row is not None]
        traces += [found.reminders.get((row.grain_id, row.name)) == row.etag for row in rows]
    return bool(traces) and all(traces)


def _held(found: Found, write: Write) -> StateRecord:
    return found.records.get((write.grain_id, write.state), _ABSENT)


def _check_writers(changes: ChangeSet, found: Found) -> None:
    dead = next((writer for writer in sorted(changes.writers) if is_dead(writer, found.dead)), None)
    if dead is not None:
        held = [_held(found, write).etag for write in changes.writes[:1]]
        raise fenced_set(changes, dead, held[0] if held else None)


def is_dead(writer: SiloAddress, dead: Mapping[str, int]) -> bool:
    """Whether the death of this silo is recorded."""
    return writer.generation <= dead.get(writer.endpoint, 0)


def _check_record(found: Found, grain_id: GrainId, state: str, etag: str | None, claim: int | None) -> None:
    held = found.records.get((grain_id, state), _ABSENT)
    if held.etag != etag:
        raise inconsistent(grain_id, state, stored=held.etag, given=etag)
    if claim is not None and held.etag is not None and held.claim != claim:
        raise inconsistent_claim(grain_id, state, held.etag)


def _check_unique(changes: ChangeSet, found: Found) -> None:
    taken = set[tuple[str, str, str, str | float]]()
    for write in changes.writes:
        keys = {(write.grain_id.type, write.state, each.field, each.value): each for each in write.index if each.unique}
        double = [entry for key, entry in keys.items() if key in taken]
        double += found.taken.get((write.grain_id, write.state), ())
        if double:
            raise not_unique(write.grain_id, write.state, double)
        taken |= keys.keys()


def _passed(changes: ChangeSet) -> InconsistentStateError:
    """The error for an item that did not hold and would hold now, such as an answer that has expired meanwhile."""
    for write in changes.writes:
        return inconsistent(write.grain_id, write.state, stored=write.etag, given=write.etag)
    return InconsistentStateError("a change set was not applied: one of its items did not hold; read it again")
