"""Lists, finds, kept answers and reminders in SQLite. Texts come in order of code points by themselves.

CROSS JOIN keeps the order of the tables: first the values that are asked for.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec

from grange.proto.ids import GrainId
from grange.storage.provider import Query, RecordName
from grange.storage.record import stamp_of
from grange.storage.sets import IndexEntry, ReminderRow, Write
from grange.storage.stores.database_queries import DatabaseQueries
from grange.storage.stores.refusals import KeptAnswer

_ANSWER = """
SELECT CAST(result AS BLOB), writer, write_number FROM grange_inbox
WHERE service = ? AND grain_type = ? AND grain_key = ? AND id = ? AND expires > julianday('now')
"""

# 2440587.5 is the Julian day of 1970-01-01; SQLite's clock has milliseconds.
_NOW = "SELECT CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000"

_REMINDER = "grain_type, grain_key, name, slot, due, CAST(entry AS BLOB), etag"

_REMINDERS_OF = f"""
SELECT {_REMINDER} FROM grange_reminder WHERE service = ? AND grain_type = ? AND grain_key = ? ORDER BY name
"""

_DUE = f"""
SELECT {_REMINDER} FROM grange_reminder
WHERE service = ?1 AND slot IN (SELECT value FROM json_each(?2)) AND due <= ?3
ORDER BY due, grain_type, grain_key, name LIMIT ?4
"""

_PARKED = f"""
SELECT {_REMINDER} FROM grange_reminder
WHERE service = ?1 AND slot IN (SELECT value FROM json_each(?2)) AND due IS NULL
ORDER BY grain_type, grain_key, name LIMIT ?3
"""

_LIST = """
SELECT grain_key, state FROM grange_state
WHERE service = ?1 AND grain_type = ?2 AND payload IS NOT NULL
  AND grain_key >= ?3 AND substr(grain_key, 1, length(?3)) = ?3 AND (?4 IS NULL OR (grain_key, state) > (?4, ?5))
ORDER BY grain_key, state LIMIT ?6
"""

_TAKEN = """
SELECT wanted.key FROM json_each(?5) AS wanted
CROSS JOIN grange_index AS held
  ON held.service = ?1 AND held.grain_type = ?2 AND held.state = ?4 AND held.is_unique
 AND held.field = json_extract(wanted.value, '$[0]') AND held.value = json_extract(wanted.value, '$[1]')
WHERE held.grain_key <> ?3
"""


class SqliteQueries(DatabaseQueries):
    """The reads of `SqliteStorage` that are not of one record."""

    @abstractmethod
    async def _fetch(self, sql: str, *parameters: Any) -> Sequence[Any]:
        """The rows of a statement that changes nothing. Raises storage errors."""

    async def _answer(self, grain_id: GrainId, id: str) -> KeptAnswer | None:
        rows = await self._fetch(_ANSWER, self._service, grain_id.type, grain_id.key, id)
        return KeptAnswer(rows[0][0], stamp_of(rows[0][1], rows[0][2])) if rows else None

    async def _reminders_of(self, grain_id: GrainId) -> list[ReminderRow]:
        return _reminders(await self._fetch(_REMINDERS_OF, self._service, grain_id.type, grain_id.key))

    async def _due(self, slots: Collection[int], until: int, limit: int) -> list[ReminderRow]:
        return _reminders(await self._fetch(_DUE, self._service, _json(list(slots)), until, limit))

    async def _parked(self, slots: Collection[int], limit: int) -> list[ReminderRow]:
        return _reminders(await self._fetch(_PARKED, self._service, _json(list(slots)), limit))

    async def _now(self) -> int:
        rows = await self._fetch(_NOW)
        return int(rows[0][0])

    async def _list(self, grain_type: str, prefix: str, after: RecordName | None, limit: int) -> list[RecordName]:
        last = (None, None) if after is None else (after.key, after.state)
        rows = await self._fetch(_LIST, self._service, grain_type, prefix, *last, limit)
        return [RecordName(row[0], row[1]) for row in rows]

    async def _taken(self, write: Write) -> list[IndexEntry]:
        wanted = [entry for entry in write.index if entry.unique]
        values = _json([(entry.field, _value(entry.value)) for entry in wanted])
        grain = write.grain_id
        rows = await self._fetch(_TAKEN, self._service, grain.type, grain.key, write.state, values)
        return [wanted[row[0]] for row in rows]

    async def _find_keys(self, query: Query) -> list[str]:
        sql, parameters = find_statement(self._service, query)
        return [row[0] for row in await self._fetch(sql, *parameters)]


def find_statement(service: str, query: Query) -> tuple[str, list[Any]]:
    """The statement of a search, and its parameters."""
    parameters: list[Any] = [service, query.grain_type, query.state, query.after, query.limit, query.offset]

    def given(value: Any) -> str:
        parameters.append(value)
        return f"?{len(parameters)}"

    def holds(field: str, value: str | float) -> str:
        # Read from JSON, as the stored value was: then equal numbers are equal to the last digit.
        return f"field = {given(field)} AND value = json_extract({given(_json(_value(value)))}, '$')"

    record = "service = ?1 AND grain_type = ?2 AND state = ?3"
    conditions = [record, "(?4 IS NULL OR grain_key > ?4)"]
    conditions += [
        f"grain_key IN (SELECT grain_key FROM grange_index WHERE {record} AND {holds(field, value)})"
        for field, value in query.where.items()
    ]
    if query.order_by is None:
        where = " AND ".join(conditions)
        sql = f"SELECT DISTINCT grain_key FROM grange_index WHERE {where} ORDER BY grain_key LIMIT ?5 OFFSET ?6"
        return sql, parameters
    where = " AND ".join([*conditions, f"field = {given(query.order_by)}"])
    direction = "DESC" if query.descending else "ASC"
    # Numbers come before texts in SQLite's own order.
    order = f"value {direction}, grain_key LIMIT ?5 OFFSET ?6"
    return f"SELECT grain_key FROM grange_index WHERE {where} ORDER BY {order}", parameters


def _reminders(rows: Iterable[Any]) -> list[ReminderRow]:
    return [ReminderRow(GrainId(row[0], row[1]), row[2], row[3], row[4], row[5], row[6]) for row in rows]


def _value(value: str | float) -> str | float:
    """True and False as the numbers 1 and 0, to which they are equal."""
    return value if isinstance(value, str) else +value


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
