"""Lists, finds, claims, kept answers and reminders in Redis."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from itertools import groupby
from typing import Any

from grange.proto.ids import GrainId, SiloAddress
from grange.storage.options import StorageOptions
from grange.storage.provider import Query, RecordName, StateRecord
from grange.storage.record import stamp_of
from grange.storage.sets import IndexEntry, ReminderRow, Write
from grange.storage.stores.changes import Name
from grange.storage.stores.database_queries import DatabaseQueries
from grange.storage.stores.redis_keys import RedisKeys, answer_of, code_in, code_of, reminder_of
from grange.storage.stores.redis_scripts import CLAIM, DUE, FIELDS
from grange.storage.stores.refusals import KeptAnswer

_PAGE = 1_000
"""Members read at a time where more may be needed than the result has."""

_FIRST, _LAST = "-inf", "+inf"


class RedisQueries(DatabaseQueries):
    """The reads of `RedisStorage` that are not of one record."""

    def __init__(self, service: str, options: StorageOptions, lanes: int) -> None:
        super().__init__(service, options, lanes)
        self._keys = RedisKeys(service)

    @abstractmethod
    async def _ask_all(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """The answers to commands that only read, sent together. Raises storage errors."""

    @abstractmethod
    async def _script(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """The answer of a script that may be repeated. Raises storage errors."""

    async def _claim(self, name: Name, claim: int, writer: SiloAddress | None) -> StateRecord | None:
        endpoint, generation = ("", "") if writer is None else (writer.endpoint, str(writer.generation))
        keys = self._keys.record(name), self._keys.death(endpoint)
        fields = await self._script(CLAIM, keys, (str(claim), generation, *FIELDS))
        return None if fields is None else record_of(fields)

    async def _answer(self, grain_id: GrainId, id: str) -> KeptAnswer | None:
        (packed,) = await self._ask_all([("GET", self._keys.answer(grain_id, id))])
        return None if packed is None else answer_of(as_bytes(packed))

    async def _taken(self, write: Write) -> list[IndexEntry]:
        grain, wanted = write.grain_id, [entry for entry in write.index if entry.unique]
        owners = await self._ask_all(
            [
                ("HGET", self._keys.unique(grain.type, write.state, entry.field), code_of(entry.value))
                for entry in wanted
            ]
        )
        return [
            entry
            for entry, owner in zip(wanted, owners, strict=True)
            if owner is not None and as_text(owner) != grain.key
        ]

    async def _now(self) -> int:
        ((seconds, microseconds),) = await self._ask_all([("TIME",)])
        return int(seconds) * 1_000_000 + int(microseconds)

    async def _reminders_of(self, grain_id: GrainId) -> list[ReminderRow]:
        (fields,) = await self._ask_all([("HGETALL", self._keys.reminders(grain_id))])
        flat = [part for pair in fields.items() for part in pair] if hasattr(fields, "items") else fields
        pairs = zip(flat[::2], flat[1::2], strict=True)  # RESP3: a map; RESP2: a list
        rows = [reminder_of(grain_id, as_text(name), as_bytes(packed)) for name, packed in pairs]
        return sorted(rows, key=lambda row: row.name)

    async def _due(self, slots: Collection[int], until: int, limit: int) -> list[ReminderRow]:
        return await self._reminders(slots, _FIRST, str(until), limit)

    async def _parked(self, slots: Collection[int], limit: int) -> list[ReminderRow]:
        return await self._reminders(slots, _LAST, _LAST, limit)

    async def _reminders(self, slots: Collection[int], first: str, last: str, limit: int) -> list[ReminderRow]:
        answer = await self._script(DUE, (), (self._keys.service, first, last, limit, *slots))
        rows: list[ReminderRow] = []
        for member, packed in zip(answer[::2], answer[1::2], strict=True):
            kind, key, name = as_text(member).split("\0")
            rows.append(reminder_of(GrainId(kind, key), name, as_bytes(packed)))
        return rows

    async def _list(self, grain_type: str, prefix: str, after: RecordName | None, limit: int) -> list[RecordName]:
        first = f"[{prefix}"
        if after is not None and after.key >= prefix:
            first = f"({after.key}\0{after.state}"
        command = ("ZRANGEBYLEX", self._keys.names(grain_type), first, _end(prefix), "LIMIT", 0, limit)
        (members,) = await self._ask_all([command])
        return [RecordName(*as_text(member).split("\0")) for member in members]

    async def _find_keys(self, query: Query) -> list[str]:
        if query.order_by is None:
            return await self._by_key(query)
        return await (self._by_value(query) if query.where else self._by_index(query, query.order_by))

    async def _by_key(self, query: Query) -> list[str]:
        found: list[str] = []
        async for keys in self._matching(query, query.after):
            found += keys
            if len(found) >= query.offset + query.limit:
                break
        return found[query.offset : query.offset + query.limit]

    async def _by_value(self, query: Query) -> list[str]:
        """Read the value of every record that matches: a filter is meant to leave few."""
        assert query.order_by is not None
        found: list[tuple[str, str]] = []
        async for keys in self._matching(query, query.after):
            records = [self._keys.record((query.grain_type, key, query.state)) for key in keys]
            answers = await self._ask_all([("HGET", record, "index") for record in records])
            for key, packed in zip(keys, answers, strict=True):
                code = code_in(None if packed is None else as_bytes(packed), query.order_by)
                if code is not None:
                    found.append((code, key))
        found.sort(key=lambda pair: pair[1])
        found.sort(key=lambda pair: pair[0], reverse=query.descending)
        return [key for _, key in found[query.offset : query.offset + query.limit]]

    async def _by_index(self, query: Query, field: str) -> list[str]:
        """Walk along the index, from its end if the greatest values come first."""
        index, wanted = self._keys.index(query.grain_type, query.state, field), query.offset + query.limit
        if not query.descending:
            command = ("ZRANGEBYLEX", index, "-", "+", "LIMIT", query.offset, query.limit)
            return [key for _, key in _pairs((await self._ask_all([command]))[0])]
        command = ("ZREVRANGEBYLEX", index, "+", "-", "LIMIT", 0, wanted)
        pairs = _pairs((await self._ask_all([command]))[0])
        if len(pairs) == wanted:
            # The last value may have more records than were read, and the first of them by key are wanted.
            last = pairs[-1][0]
            pairs = [pair for pair in pairs if pair[0] != last]
            rest = ("ZRANGEBYLEX", index, *_range(last), "LIMIT", 0, wanted - len(pairs))
            pairs += _pairs((await self._ask_all([rest]))[0])[::-1]
        groups = [[key for _, key in group] for _, group in groupby(pairs, key=lambda pair: pair[0])]
        return [key for group in groups for key in group[::-1]][query.offset : wanted]

    async def _matching(self, query: Query, after: str | None) -> AsyncIterator[list[str]]:
        """Pages of the keys of all records that match, in order of their keys: read where fewest have the value."""
        kind, state = query.grain_type, query.state
        values = [(self._keys.index(kind, state, field), code_of(value)) for field, value in query.where.items()]
        values = values or [(self._keys.index(kind, state, ""), "")]
        if len(values) > 1:
            counts = await self._ask_all([("ZLEXCOUNT", index, *_range(code)) for index, code in values])
            values = [value for _, value in sorted(zip(counts, values, strict=True))]
        (index, code), others = values[0], values[1:]
        size = _PAGE if others else min(_PAGE, query.offset + query.limit)
        while True:
            command = ("ZRANGEBYLEX", index, *_range(code, after), "LIMIT", 0, size)
            keys = [key for _, key in _pairs((await self._ask_all([command]))[0])]
            yield await self._with_all(keys, others)
            if len(keys) < size:
                return
            after = keys[-1]

    async def _with_all(self, keys: list[str], others: Sequence[tuple[str, str]]) -> list[str]:
        """The keys that have these values too."""
        if not others or not keys:
            return keys
        scores = await self._ask_all(
            [("ZMSCORE", index, *(f"{code}\0{key}" for key in keys)) for index, code in others]
        )
        held = zip(*scores, strict=True)
        return [key for key, places in zip(keys, held, strict=True) if None not in places]


def record_of(fields: Sequence[Any]) -> StateRecord:
    """The record of these fields of its hash; see `FIELDS`."""
    payload, etag, schema, writer, number, claim = fields
    if etag is None:
        return StateRecord(None, None)
    stamp = None if writer is None or number is None else stamp_of(as_text(writer), int(number))
    held = None if claim is None else int(claim)
    return StateRecord(None if payload is None else as_bytes(payload), as_text(etag), int(schema), stamp, held)


def as_bytes(value: bytes | str) -> bytes:
    """A client of the caller may decode what it reads."""
    return value.encode() if isinstance(value, str) else value


def as_text(value: bytes | str | int) -> str:
    """As `as_bytes`, for texts."""
    return value.decode() if isinstance(value, bytes) else str(value)


def _range(code: str, after: str | None = None) -> tuple[str, str]:
    """The bounds of all members with this value: those with a key behind `after`."""
    return f"[{code}\0" if after is None else f"({code}\0{after}", f"({code}\1"


def _end(prefix: str) -> bytes:
    """The bound behind all texts with this prefix: no text has this byte."""
    return f"({prefix}".encode() + b"\xff"


def _pairs(members: Iterable[bytes | str]) -> list[tuple[str, str]]:
    """The code and the key of members of an index."""
    found: list[tuple[str, str]] = []
    for member in members:
        code, _, key = as_text(member).rpartition("\0")
        found.append((code, key))
    return found
