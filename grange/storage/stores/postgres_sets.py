"""Change sets as the parameters of one call of a function in Postgres, and its answer as their outcomes. Pure.

The functions are in `migrations/postgres/0004_change_sets.sql`. Writes pass as arrays, and reminders if nothing else is
in the batch. Checks, answers, other reminders and index entries, which few batches have, pass as one JSON text; so a
jsonb codec on a caller's own pool is not involved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from grange.proto.ids import SiloAddress
from grange.storage.record import etag_number
from grange.storage.sets import Committed, ReminderChange, Write
from grange.storage.stores.changes import QueuedSet
from grange.storage.stores.refusals import checked, stores_nothing

_PARAMETERS = ", ".join(f"${number}" for number in range(1, 15))
PLAIN = f"SELECT place, new_etag FROM grange_apply({_PARAMETERS})"
"""For a batch of plain writes: there is nothing to undo, so it needs no savepoint."""

MIXED = f"SELECT place, new_etag FROM grange_commit({_PARAMETERS})"
"""For a batch with sets of several items."""


SINGLE = f"SELECT grange_write({', '.join(f'${number}' for number in range(1, 12))})"
"""For one plain write. It answers with null if `PLAIN` must decide."""

REMINDERS = f"SELECT place, new_etag FROM grange_remind({', '.join(f'${number}' for number in range(1, 12))})"
"""For a batch of sets of one reminder each: what a silo stores after ticks. It needs no savepoint, and no JSON."""


def single(service: str, queued: QueuedSet, write: Write) -> list[Any]:
    """The parameters of `SINGLE`."""
    stamp = queued.changes.stamp_of(write)
    return [
        service,
        *((None,) * 3 if stamp is None else (stamp.writer.endpoint, stamp.writer.generation, stamp.number)),
        *queued.names[0],
        *((None, None) if write.payload is None else (write.payload.decode(), write.schema)),
        etag_number(write.etag),
        write.claim,
    ]


def batch_of(service: str, sets: Sequence[QueuedSet]) -> PostgresBatch | ReminderBatch:
    """The call that applies these sets."""
    reminders = lone_reminders(sets)
    return PostgresBatch(service, sets) if reminders is None else ReminderBatch(service, reminders)


def lone_reminders(sets: Sequence[QueuedSet]) -> dict[QueuedSet, ReminderChange] | None:
    """The reminder of each set, if all of them are one reminder and nothing else; else None."""
    found: dict[QueuedSet, ReminderChange] = {}
    for queued in sets:
        changes = queued.changes
        if len(queued.names) != 1 or len(changes.reminders) != 1:
            return None
        found[queued] = changes.reminders[0]
    return found or None


class ReminderBatch:
    """Sets of one reminder each. As `PostgresBatch`, in the order of their names; a set that lost is not answered."""

    sql = REMINDERS

    def __init__(self, service: str, reminders: Mapping[QueuedSet, ReminderChange]) -> None:
        self._sets = sorted(reminders, key=lambda queued: queued.names)
        self._writers = sorted(_writers(self._sets))
        changes = [reminders[queued] for queued in self._sets]
        rows = [change.row for change in changes]
        self.parameters: list[Any] = [
            service,
            [writer.endpoint for writer in self._writers],
            [writer.generation for writer in self._writers],
            [change.grain_id.type for change in changes],
            [change.grain_id.key for change in changes],
            [change.name for change in changes],
            [change.held for change in changes],
            [None if row is None else row.slot for row in rows],
            [None if row is None else row.due for row in rows],
            [None if row is None else row.entry.decode() for row in rows],
            [None if row is None else row.etag for row in rows],
        ]

    def is_busy(self, answer: Sequence[tuple[int, int]]) -> bool:
        """It checks no record."""
        return False

    def refused(self, answer: Iterable[tuple[int, int]]) -> set[QueuedSet]:
        """The sets whose writers are dead. If there are any, the call has stored nothing."""
        dead = {self._writers[value - 1] for place, value in answer if place == 0}
        return {queued for queued in self._sets if dead & queued.changes.writers} if dead else set()

    def outcomes(self, answer: Iterable[tuple[int, int]]) -> dict[QueuedSet, Committed]:
        """The outcomes of the sets that were applied."""
        return {self._sets[place - 1]: Committed(()) for place, _ in answer}


class PostgresBatch:
    """The sets of one call. `sql` and `parameters` are the call.

    Writes are numbered from 1 in the order of their names, so two batches that share records wait for each other in the
    same order. Sets that are not plain are numbered from 1 too.
    """

    def __init__(self, service: str, sets: Sequence[QueuedSet]) -> None:
        self._sets = sets
        self._mixed = {queued: number for number, queued in enumerate((q for q in sets if q.plain is None), 1)}
        self._rows = sorted(_rows(sets), key=_name)
        self._writers = sorted(_writers(sets))
        self._place_of: dict[SiloAddress, int] = {writer: place for place, writer in enumerate(self._writers, 1)}
        self.sql = MIXED if self._mixed else PLAIN
        self.parameters = self._parameters(service) if sets else []

    def _parameters(self, service: str) -> list[Any]:
        writes = [row.write for row in self._rows]
        stamps = [row.queued.changes.stamp_of(row.write) for row in self._rows]
        places = self._place_of
        return [
            service,
            [writer.endpoint for writer in self._writers],
            [writer.generation for writer in self._writers],
            [None if stamp is None else places[stamp.writer] for stamp in stamps],
            [None if stamp is None else stamp.number for stamp in stamps],
            [write.grain_id.type for write in writes],
            [write.grain_id.key for write in writes],
            [write.state for write in writes],
            [None if write.payload is None else write.payload.decode() for write in writes],
            [None if write.payload is None else write.schema for write in writes],
            [etag_number(write.etag) for write in writes],
            [write.claim for write in writes],
            [self._mixed.get(row.queued) for row in self._rows] if self._mixed else None,
            self._others() if self._mixed else None,
        ]

    def _others(self) -> str | None:
        """All items but the writes, as JSON. None: there are none."""
        sets = self._mixed.items()
        items = {
            "checks": [item for queued, number in sets for item in _checks(number, queued)],
            "received": [item for queued, number in sets for item in self._received(number, queued)],
            "reminders": [item for queued, number in sets for item in _reminders(number, queued)],
            "entries": [item for place, row in enumerate(self._rows, 1) for item in _entries(place, row.write)],
        }
        given = {kind: rows for kind, rows in items.items() if rows}
        return msgspec.json.encode(given).decode() if given else None

    def _received(self, number: int, queued: QueuedSet) -> Iterable[dict[str, Any]]:
        stamp = queued.changes.stamp
        for item in queued.changes.received:
            yield {
                "set_number": number,
                "grain_type": item.grain_id.type,
                "grain_key": item.grain_id.key,
                "id": item.id,
                "result": item.result.decode(),
                "keep": item.keep,
                "writer": None if stamp is None else self._place_of[stamp.writer],
                "number": None if stamp is None else stamp.number,
            }

    @staticmethod
    def is_busy(answer: Sequence[tuple[int, int]]) -> bool:
        """Whether another session was changing a record that the call only checks. The call has stored nothing then."""
        return len(answer) == 1 and tuple(answer[0]) == (0, 0)

    def refused(self, answer: Iterable[tuple[int, int]]) -> set[QueuedSet]:
        """The sets that do not hold, or whose writers are dead. If there are any, the call has stored nothing."""
        numbers, dead = set[int](), set[SiloAddress]()
        for place, value in answer:
            if place < 0:
                numbers.add(-place)
            elif place == 0:
                dead.add(self._writers[value - 1])
        refused = {queued for queued, number in self._mixed.items() if number in numbers}
        return refused | {queued for queued in self._sets if dead & queued.changes.writers} if dead else refused

    def outcomes(self, answer: Iterable[tuple[int, int]]) -> dict[QueuedSet, Committed]:
        """The outcomes of the sets that were applied."""
        stored: dict[QueuedSet, Committed] = {}
        etags: dict[QueuedSet, list[str | None]] = {
            queued: [None] * len(queued.changes.writes) for queued in self._mixed
        }
        for place, value in answer:
            row = self._rows[place - 1]
            if row.queued.plain is not None:
                stored[row.queued] = Committed((str(value),))
            else:
                etags[row.queued][row.position] = str(value)
        return stored | {queued: Committed(tuple(values)) for queued, values in etags.items()}


class _Row(NamedTuple):
    """A write that changes its record: its name, its set, and its position in the set."""

    name: tuple[str, ...]
    queued: QueuedSet
    position: int
    write: Write


_name = attrgetter("name")


def _rows(sets: Sequence[QueuedSet]) -> Iterable[_Row]:
    for queued in sets:
        if queued.plain is not None:
            yield _Row(queued.names[0], queued, 0, queued.plain)
            continue
        for position, write in enumerate(queued.changes.writes):
            if not stores_nothing(write):
                yield _Row(queued.names[position], queued, position, write)


def _writers(sets: Sequence[QueuedSet]) -> set[SiloAddress]:
    writers = set[SiloAddress]()
    for queued in sets:
        if queued.plain is None:
            writers |= queued.changes.writers
        elif (stamp := queued.changes.stamp_of(queued.plain)) is not None:
            writers.add(stamp.writer)
    return writers


def _checks(number: int, queued: QueuedSet) -> Iterable[dict[str, Any]]:
    for grain_id, state, etag, claim in checked(queued.changes):
        yield {
            "set_number": number,
            "grain_type": grain_id.type,
            "grain_key": grain_id.key,
            "state": state,
            "etag": etag_number(etag),
            "claim": claim,
        }


def _reminders(number: int, queued: QueuedSet) -> Iterable[dict[str, Any]]:
    for change in queued.changes.reminders:
        item: dict[str, Any] = {
            "set_number": number,
            "grain_type": change.grain_id.type,
            "grain_key": change.grain_id.key,
            "name": change.name,
            "held": change.held,
        }
        if change.row is not None:
            row = change.row
            item |= {"slot": row.slot, "due": row.due, "entry": row.entry.decode(), "etag": row.etag}
        yield item


def _entries(place: int, write: Write) -> Iterable[dict[str, Any]]:
    for entry in write.index:
        text, number = (entry.value, None) if isinstance(entry.value, str) else (None, +entry.value)
        yield {
            "place": place,
            "field": entry.field,
            "text_value": text,
            "number_value": number,
            "is_unique": entry.unique,
        }
