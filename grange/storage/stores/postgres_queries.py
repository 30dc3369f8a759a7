"""Lists, finds, kept answers and reminders in Postgres."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from grange.proto.ids import GrainId
from grange.storage.provider import Query, RecordName
from grange.storage.record import stamp_of
from grange.storage.sets import IndexEntry, ReminderRow, Write
from grange.storage.stores.database_queries import DatabaseQueries
from grange.storage.stores.refusals import KeptAnswer

_ANSWER = """
SELECT result::text, writer, write_number FROM grange_inbox
WHERE service = $1 AND grain_type = $2 AND grain_key = $3 AND id = $4 AND expires > clock_timestamp()
"""

_NOW = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

_REMINDER = "grain_type, grain_key, name, slot, due, entry::text, etag"

_REMINDERS_OF = f"""
SELECT {_REMINDER} FROM grange_reminder WHERE service = $1 AND grain_type = $2 AND grain_key = $3 ORDER BY name
"""

# For each slot the earliest, by the index; then the earliest of these. One scan of all due rows would read far more
# than `limit` when many are late.
_DUE = f"""
SELECT {_REMINDER} FROM unnest($2::integer[]) AS wanted (of_slot) CROSS JOIN LATERAL (
    SELECT * FROM grange_reminder WHERE service = $1 AND slot = wanted.of_slot AND due <= $3
    ORDER BY due, grain_type, grain_key, name LIMIT $4
) AS earliest
ORDER BY due, grain_type, grain_key, name LIMIT $4
"""

_PARKED = f"""
SELECT {_REMINDER} FROM grange_reminder WHERE service = $1 AND slot = ANY ($2::integer[]) AND due IS NULL
ORDER BY grain_type, grain_key, name LIMIT $3
"""

_LIST = """
SELECT grain_key, state FROM grange_state
WHERE service = $1 AND grain_type = $2 AND payload IS NOT NULL
  AND grain_key COLLATE "C" >= $3 AND ($4::text IS NULL OR grain_key COLLATE "C" < $4)
  AND ($5::text IS NULL OR (grain_key COLLATE "C", state COLLATE "C") > ($5, $6))
ORDER BY grain_key COLLATE "C", state COLLATE "C" LIMIT $7
"""

_TAKEN = """
SELECT wanted.place FROM unnest($5::text[], $6::text[], $7::float8[]) WITH ORDINALITY
  AS wanted (field, text_value, number_value, place)
JOIN grange_index AS held
  ON held.service = $1 AND held.grain_type = $2 AND held.state = $4 AND held.field = wanted.field AND held.is_unique
 AND (held.text_value = wanted.text_value OR held.number_value = wanted.number_value)
WHERE held.grain_key <> $3
"""


class PostgresQueries(DatabaseQueries):
    """The reads of `PostgresStorage` that are not of one record."""

    @abstractmethod
    async def _fetch(self, sql: str, *parameters: Any) -> Sequence[Any]:
        """The rows of a statement. Raises storage errors."""

    async def _answer(self, grain_id: GrainId, id: str) -> KeptAnswer | None:
        rows = await self._fetch(_ANSWER, self._service, grain_id.type, grain_id.key, id)
        return KeptAnswer(rows[0][0].encode(), stamp_of(rows[0][1], rows[0][2])) if rows else None

    async def _reminders_of(self, grain_id: GrainId) -> list[ReminderRow]:
        return _reminders(await self._fetch(_REMINDERS_OF, self._service, grain_id.type, grain_id.key))

    async def _due(self, slots: Collection[int], until: int, limit: int) -> list[ReminderRow]:
        return _reminders(await self._fetch(_DUE, self._service, list(slots), until, limit))

    async def _parked(self, slots: Collection[int], limit: int) -> list[ReminderRow]:
        return _reminders(await self._fetch(_PARKED, self._service, list(slots), limit))

    async def _now(self) -> int:
        rows = await self._fetch(_NOW)
        return int(rows[0][0])

    async def _list(self, grain_type: str, prefix: str, after: RecordName | None, limit: int) -> list[RecordName]:
        last = (None, None) if after is None else (after.key, after.state)
        rows = await self._fetch(_LIST, self._service, grain_type, prefix, end_of(prefix), *last, limit)
        return [RecordName(row[0], row[1]) for row in rows]

    async def _taken(self, write: Write) -> list[IndexEntry]:
        wanted = [entry for entry in write.index if entry.unique]
        columns = (
            [entry.field for entry in wanted],
            [entry.value if isinstance(entry.value, str) else None for entry in wanted],
            [None if isinstance(entry.value, str) else float(entry.value) for entry in wanted],
        )
        grain = write.grain_id
        rows = await self._fetch(_TAKEN, self._service, grain.type, grain.key, write.state, *columns)
        return [wanted[row[0] - 1] for row in rows]

    async def _find_keys(self, query: Query) -> list[str]:
        sql, parameters = find_statement(self._service, query)
        return [row[0] for row in await self._fetch(sql, *parameters)]


def find_statement(service: str, query: Query) -> tuple[str, list[Any]]:
    """The statement of a search, and its parameters."""
    parameters: list[Any] = [service, query.grain_type, query.state, query.after, query.offset, query.limit]

    def given(value: Any, cast: str) -> str:
        parameters.append(value)
        return f"${len(parameters)}::{cast}"

    def holds(field: str, value: str | float) -> str:
        condition = f"field = {given(field, 'text')}"
        if isinstance(value, str):
            return f"{condition} AND text_value = {given(value, 'text')}"
        return f"{condition} AND number_value = {given(float(value), 'float8')}"

    record = "service = $1 AND grain_type = $2 AND state = $3"
    conditions = ["($4::text IS NULL OR grain_key > $4)"]
    conditions += [
        f"grain_key IN (SELECT grain_key FROM grange_index WHERE {record} AND {holds(field, value)})"
        for field, value in query.where.items()
    ]
    where = f"{record} AND {' AND '.join(conditions)}"
    if query.order_by is None:
        return (
            f"SELECT DISTINCT grain_key FROM grange_index WHERE {where} ORDER BY grain_key OFFSET $5 LIMIT $6",
            parameters,
        )
    return _ordered(f"{where} AND field = {given(query.order_by, 'text')}", query.descending), parameters


def _ordered(where: str, descending: bool) -> str:
    """The rows by value, numbers before texts. Each part comes by its index, so the first ten cost ten rows."""
    direction = "DESC" if descending else "ASC"

    def part(column: str, rank: int) -> str:
        return (
            f"(SELECT grain_key, number_value, text_value, {rank} AS kind FROM grange_index WHERE {where} "
            f"AND {column} IS NOT NULL ORDER BY {column} {direction}, grain_key LIMIT $5::bigint + $6::bigint)"
        )

    return (
        f"SELECT grain_key FROM ({part('number_value', 1)} UNION ALL {part('text_value', 2)}) AS found "
        f"ORDER BY kind {direction}, number_value {direction}, text_value {direction}, grain_key OFFSET $5 LIMIT $6"
    )


def end_of(prefix: str) -> str | None:
    """The first text, by code points, after all that begin with `prefix`. None: there is none."""
    for index in range(len(prefix) - 1, -1, -1):
        following = ord(prefix[index]) + 1
        if following <= 0x10FFFF:
            following = 0xE000 if 0xD800 <= following <= 0xDFFF else following  # no database holds surrogates
            return prefix[:index] + chr(following)
    return None


def _reminders(rows: Iterable[Any]) -> list[ReminderRow]:
    return [ReminderRow(GrainId(row[0], row[1]), row[2], row[3], row[4], row[5].encode(), row[6]) for row in rows]
