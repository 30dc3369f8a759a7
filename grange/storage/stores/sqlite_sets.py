"""A batch of change sets as statements of one SQLite transaction.

Used by `sqlite.py`. The whole batch passes as JSON, and `json_each` makes rows of it. CROSS JOIN and LEFT JOIN keep the
order of the tables: first the rows of the batch, then a look-up of each by the key of the other table. So a batch needs
few statements, however large it is: each gives up the interpreter's lock, and waits for it when the event loop is busy.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from grange.proto.ids import SiloAddress
from grange.storage.record import etag_number, etag_text
from grange.storage.sets import Committed, Stamp, Write
from grange.storage.stores.changes import QueuedSet
from grange.storage.stores.refusals import checked, stores_nothing


def _rows(parameter: str, *columns: str) -> str:
    """A subquery with a row for each array in a JSON array."""
    fields = (f"json_extract(value, '$[{place}]') AS {column}" for place, column in enumerate(columns))
    return f"(SELECT {', '.join(fields)} FROM json_each({parameter}))"


# Parameters: the service, the writes as a JSON array of arrays, and their writer's endpoint and generation. The join
# finds the held record. Only writes that name the held etag and claim are stored, unless their writer is dead. A
# statement is atomic and holds the write lock from its start. Records with index rows are left to the other statements.
_PLAIN = f"""
INSERT INTO grange_state (service, grain_type, grain_key, state, payload, etag, schema, writer, write_number, claim)
SELECT ?1, change.grain_type, change.grain_key, change.state, change.payload,
       coalesce(held.etag, 0) + 1, coalesce(change.schema, held.schema, 1), ?3 || '@' || ?4, change.number,
       coalesce(change.claim, held.claim)
FROM {_rows("?2", "grain_type", "grain_key", "state", "payload", "etag", "schema", "number", "claim")} AS change
LEFT JOIN grange_state AS held
  ON held.service = ?1 AND held.grain_type = change.grain_type
 AND held.grain_key = change.grain_key AND held.state = change.state
WHERE coalesce(held.etag, 0) = change.etag AND held.indexed IS NULL
  AND (change.claim IS NULL OR held.etag IS NULL OR held.claim = change.claim)
  AND NOT EXISTS (SELECT 1 FROM grange_dead_silos WHERE service = ?1 AND endpoint = ?3 AND generation >= ?4)
ON CONFLICT (service, grain_type, grain_key, state) DO UPDATE
   SET payload = excluded.payload, etag = excluded.etag, schema = excluded.schema,
       writer = excluded.writer, write_number = excluded.write_number, claim = excluded.claim
RETURNING grain_type, grain_key, state, etag
"""

# Each of these answers with the numbers of the sets that do not hold, as a JSON array.
_DEAD = f"""
SELECT json_group_array(DISTINCT silo.number)
FROM {_rows("?2", "number", "endpoint", "generation")} AS silo
CROSS JOIN grange_dead_silos AS dead
  ON dead.service = ?1 AND dead.endpoint = silo.endpoint AND dead.generation >= silo.generation
"""
_LOST_RECORDS = f"""
SELECT json_group_array(DISTINCT item.number)
FROM {_rows("?2", "number", "grain_type", "grain_key", "state", "etag", "claim")} AS item
LEFT JOIN grange_state AS held
  ON held.service = ?1 AND held.grain_type = item.grain_type
 AND held.grain_key = item.grain_key AND held.state = item.state
WHERE coalesce(held.etag, 0) <> item.etag
   OR (item.claim IS NOT NULL AND held.etag IS NOT NULL AND held.claim IS NOT item.claim)
"""
_KEPT_ANSWERS = f"""
SELECT json_group_array(DISTINCT item.number)
FROM {_rows("?2", "number", "grain_type", "grain_key", "id")} AS item
CROSS JOIN grange_inbox AS held
  ON held.service = ?1 AND held.grain_type = item.grain_type AND held.grain_key = item.grain_key AND held.id = item.id
WHERE held.expires > julianday('now')
"""
_LOST_REMINDERS = f"""
SELECT json_group_array(DISTINCT item.number)
FROM {_rows("?2", "number", "grain_type", "grain_key", "name", "held")} AS item
LEFT JOIN grange_reminder AS held
  ON held.service = ?1 AND held.grain_type = item.grain_type
 AND held.grain_key = item.grain_key AND held.name = item.name
WHERE held.etag IS NOT item.held
"""
_LOST_VALUES = f"""
SELECT json_group_array(DISTINCT item.number)
FROM {_rows("?2", "number", "grain_type", "grain_key", "state", "field")} AS item
WHERE NOT EXISTS (
    SELECT 1 FROM grange_index AS held
    WHERE held.service = ?1 AND held.grain_type = item.grain_type AND held.grain_key = item.grain_key
      AND held.state = item.state AND held.field = item.field
)
"""

_WRITE_COLUMNS = (
    *("number", "grain_type", "grain_key", "state", "payload", "etag", "schema", "claim"),
    *("writer", "write_number", "indexed"),
)
_WRITE = f"""
INSERT INTO grange_state
    (service, grain_type, grain_key, state, payload, etag, schema, claim, writer, write_number, indexed)
SELECT ?1, change.grain_type, change.grain_key, change.state, change.payload, change.etag + 1,
       coalesce(change.schema, 1), change.claim, change.writer, change.write_number, change.indexed
FROM {_rows("?2", *_WRITE_COLUMNS)} AS change WHERE true
ON CONFLICT (service, grain_type, grain_key, state) DO UPDATE
   SET payload = excluded.payload, etag = excluded.etag,
       schema = CASE WHEN excluded.payload IS NULL THEN schema ELSE excluded.schema END,
       claim = coalesce(excluded.claim, claim), writer = excluded.writer, write_number = excluded.write_number,
       indexed = coalesce(excluded.indexed, indexed)
"""
_KEEP_ANSWERS = f"""
INSERT OR REPLACE INTO grange_inbox (service, grain_type, grain_key, id, result, writer, write_number, expires)
SELECT ?1, item.grain_type, item.grain_key, item.id, item.result, item.writer, item.write_number,
       julianday('now') + item.keep / 86400.0
FROM {_rows("?2", "number", "grain_type", "grain_key", "id", "result", "keep", "writer", "write_number")} AS item
"""
_DROP_OLD_ANSWERS = """
DELETE FROM grange_inbox WHERE rowid IN (
    SELECT rowid FROM grange_inbox WHERE service = ?1 AND expires < julianday('now') ORDER BY expires LIMIT ?2
)
"""
_REMINDER_COLUMNS = ("number", "grain_type", "grain_key", "name", "held", "slot", "due", "entry", "etag")
_DROP_REMINDERS = f"""
DELETE FROM grange_reminder WHERE rowid IN (
    SELECT held.rowid FROM {_rows("?2", *_REMINDER_COLUMNS)} AS item
    CROSS JOIN grange_reminder AS held
      ON held.service = ?1 AND held.grain_type = item.grain_type
     AND held.grain_key = item.grain_key AND held.name = item.name
    WHERE item.etag IS NULL
)
"""
_STORE_REMINDERS = f"""
INSERT OR REPLACE INTO grange_reminder (service, grain_type, grain_key, name, slot, due, entry, etag)
SELECT ?1, item.grain_type, item.grain_key, item.name, item.slot, item.due, item.entry, item.etag
FROM {_rows("?2", *_REMINDER_COLUMNS)} AS item WHERE item.etag IS NOT NULL
"""
_DROP_VALUES = f"""
DELETE FROM grange_index WHERE rowid IN (
    SELECT old.rowid FROM {_rows("?2", *_WRITE_COLUMNS)} AS change
    CROSS JOIN grange_index AS old
      ON old.service = ?1 AND old.grain_type = change.grain_type
     AND old.grain_key = change.grain_key AND old.state = change.state
)
"""
_STORE_VALUES = f"""
INSERT OR IGNORE INTO grange_index (service, grain_type, grain_key, state, field, value, is_unique)
SELECT ?1, item.grain_type, item.grain_key, item.state, item.field, item.value, item.is_unique
FROM {_rows("?2", "number", "grain_type", "grain_key", "state", "field", "value", "is_unique")} AS item
"""


def plain_statement(service: str, sets: Sequence[QueuedSet]) -> tuple[str, list[Any]] | None:
    """One statement for plain writes of one writer. None: these sets are not only such."""
    writer: SiloAddress | None = None
    rows: list[tuple[Any, ...]] = []
    for queued in sets:
        if (write := queued.plain) is None:
            return None
        stamp = queued.changes.stamp_of(write)
        by, number = (None, None) if stamp is None else (stamp.writer, stamp.number)
        if rows and by != writer:
            return None
        writer = by
        payload, schema = (None, None) if write.payload is None else (write.payload.decode(), write.schema)
        rows.append((*queued.names[0], payload, etag_number(write.etag), schema, number, write.claim))
    identity = (None, None) if writer is None else (writer.endpoint, writer.generation)
    return _PLAIN, [service, _json(rows), *identity]


class SqliteBatch:
    """Sets of every kind, applied in one transaction. The sets are numbered in their order."""

    def __init__(self, service: str, sets: Sequence[QueuedSet]) -> None:
        self._service = service
        self._sets = dict(enumerate(sets))

    def run(self, connection: sqlite3.Connection) -> dict[QueuedSet, Committed]:
        """Apply each set that holds, and return their outcomes. Called in the driver's thread."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            outcomes = self._apply(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return outcomes

    def _apply(self, connection: sqlite3.Connection) -> dict[QueuedSet, Committed]:
        left = dict(self._sets)
        for query, items in (
            (_DEAD, _writers),
            (_LOST_RECORDS, _records),
            (_KEPT_ANSWERS, _answers),
            (_LOST_REMINDERS, _reminders),
        ):
            _drop(left, self._numbers(connection, query, items(left)))
        while True:
            connection.execute("SAVEPOINT grange_batch")
            taken = self._change(connection, left)
            if not taken:
                return {queued: _committed(queued) for queued in left.values()}
            # Another record has a unique value, so the set must leave no trace.
            connection.execute("ROLLBACK TO grange_batch")
            _drop(left, taken)

    def _change(self, connection: sqlite3.Connection, sets: dict[int, QueuedSet]) -> list[int]:
        """Apply sets that hold. Returns the numbers of those whose unique values another record has."""
        writes, answers, reminders = _writes(sets), _answers(sets), _reminders(sets)
        for statement, rows in (
            (_WRITE, writes),
            (_KEEP_ANSWERS, answers),
            (_DROP_REMINDERS, reminders),
            (_STORE_REMINDERS, reminders),
            (_DROP_VALUES, writes),
        ):
            if rows:
                connection.execute(statement, (self._service, _json(rows)))
        if answers:
            connection.execute(_DROP_OLD_ANSWERS, (self._service, 2 * len(answers)))
        values = _values(sets)
        if not values:
            return []
        connection.execute(_STORE_VALUES, (self._service, _json(values)))
        return self._numbers(connection, _LOST_VALUES, values)

    def _numbers(self, connection: sqlite3.Connection, query: str, rows: Sequence[Any]) -> list[int]:
        if not rows:
            return []
        (found,) = connection.execute(query, (self._service, _json(rows))).fetchone()
        return msgspec.json.decode(found, type=list[int])


def _drop(sets: dict[int, QueuedSet], numbers: Iterable[int]) -> None:
    for number in numbers:
        sets.pop(number, None)


def _committed(queued: QueuedSet) -> Committed:
    writes = queued.changes.writes
    return Committed(tuple(None if stores_nothing(each) else etag_text(etag_number(each.etag) + 1) for each in writes))


def _writers(sets: dict[int, QueuedSet]) -> list[Any]:
    return [
        (number, writer.endpoint, writer.generation)
        for number, queued in sets.items()
        for writer in queued.changes.writers
    ]


def _records(sets: dict[int, QueuedSet]) -> list[Any]:
    items: list[Any] = []
    for number, queued in sets.items():
        changed = ((each.grain_id, each.state, each.etag, each.claim) for each in _changes(queued))
        for grain_id, state, etag, claim in (*changed, *checked(queued.changes)):
            items.append((number, grain_id.type, grain_id.key, state, etag_number(etag), claim))
    return items


def _changes(queued: QueuedSet) -> list[Write]:
    return [write for write in queued.changes.writes if not stores_nothing(write)]


def _writes(sets: dict[int, QueuedSet]) -> list[Any]:
    return [
        (
            *(number, write.grain_id.type, write.grain_id.key, write.state),
            *(None if write.payload is None else write.payload.decode(), etag_number(write.etag), write.schema),
            *(write.claim, *_origin(queued.changes.stamp_of(write)), 1 if write.index else None),
        )
        for number, queued in sets.items()
        for write in _changes(queued)
    ]


def _answers(sets: dict[int, QueuedSet]) -> list[Any]:
    return [
        (
            *(number, item.grain_id.type, item.grain_id.key, item.id, item.result.decode()),
            *(item.keep, *_origin(queued.changes.stamp)),
        )
        for number, queued in sets.items()
        for item in queued.changes.received
    ]


def _reminders(sets: dict[int, QueuedSet]) -> list[Any]:
    items: list[Any] = []
    for number, queued in sets.items():
        for change in queued.changes.reminders:
            row = change.row
            rest = (None,) * 4 if row is None else (row.slot, row.due, row.entry.decode(), row.etag)
            items.append((number, change.grain_id.type, change.grain_id.key, change.name, change.held, *rest))
    return items


def _values(sets: dict[int, QueuedSet]) -> list[Any]:
    return [
        (
            *(number, write.grain_id.type, write.grain_id.key, write.state, entry.field),
            *(entry.value if isinstance(entry.value, str) else +entry.value, int(entry.unique)),
        )
        for number, queued in sets.items()
        for write in _changes(queued)
        for entry in write.index
    ]


def _origin(stamp: Stamp | None) -> tuple[str | None, int | None]:
    return (None, None) if stamp is None else (str(stamp.writer), stamp.number)


def _json(rows: Sequence[Any]) -> str:
    return msgspec.json.encode(rows).decode()
