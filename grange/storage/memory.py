"""State in dictionaries, for tests and first trials: the semantics of the databases without durability.

The shortest complete store: read it to see what the others do with SQL and scripts.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Collection, Iterable
from contextlib import asynccontextmanager

import msgspec

from grange.errors import ConfigurationError
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions
from grange.storage.provider import Query, RecordName, StateRecord
from grange.storage.record import (
    already_received,
    check_name,
    check_page,
    check_query,
    check_service,
    check_set,
    etag_number,
    etag_text,
    fenced,
    fenced_set,
    inconsistent,
    inconsistent_claim,
    inconsistent_reminder,
    not_unique,
)
from grange.storage.sets import ChangeSet, Committed, IndexEntry, ReminderRow, Stamp, Write
from grange.storage.stores.plain import PlainOperations

_ABSENT = StateRecord(None, None)


class _Answer(msgspec.Struct, frozen=True):
    """A kept answer, the stamp of its set, and the end of its time in seconds of Unix time."""

    result: bytes
    stamp: Stamp | None
    expires: float


class MemoryStorage(PlainOperations):
    """Records in this process. One instance may serve several silos of one event loop, as `TestCluster` does.

    Etags are counters that rise by 1 with each write and clear; a cleared record keeps its counter. No
    operation suspends, so each is atomic. `clock` is the store's clock, in seconds of Unix time.
    """

    def __init__(
        self,
        service: str = "default",
        options: StorageOptions = DEFAULT_OPTIONS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._service = check_service(service)
        self._options = options
        self._clock = clock
        self._records: dict[tuple[GrainId, str], StateRecord] = {}
        self._indexes: dict[tuple[GrainId, str], tuple[IndexEntry, ...]] = {}
        self._answers: dict[tuple[GrainId, str], _Answer] = {}
        self._reminders: dict[GrainId, dict[str, ReminderRow]] = {}
        self._dead: dict[str, int] = {}

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, service: str, options: StorageOptions = DEFAULT_OPTIONS
    ) -> AsyncGenerator[MemoryStorage]:
        """A fresh, empty storage; `url` must be `memory://`."""
        if url != "memory://":
            raise ConfigurationError("the memory storage takes nothing after memory://")
        yield cls(service, options)

    async def read(self, grain_id: GrainId, state: str) -> StateRecord:
        """See `GrainStorage.read`."""
        check_name(self._service, grain_id, state)
        return self._records.get((grain_id, state), _ABSENT)

    async def claim(self, grain_id: GrainId, state: str, claim: int, writer: SiloAddress | None = None) -> StateRecord:
        """See `ClaimStorage.claim`."""
        check_name(self._service, grain_id, state)
        held = self._held(grain_id, state)
        if writer is not None and self._is_dead(writer):
            raise fenced(grain_id, state, writer, held.etag, held.etag)
        if held.etag is None:
            return held
        claimed = msgspec.structs.replace(held, claim=claim)
        self._records[grain_id, state] = claimed
        return claimed

    async def commit(self, changes: ChangeSet) -> Committed:
        """See `SetStorage.commit`. Everything is checked before the first change."""
        check_set(self._service, changes, self._options.payload_limit)
        if self._is_applied(changes):
            return Committed(tuple(self._held(write.grain_id, write.state).etag for write in changes.writes))
        self._check_writers(changes)
        for write in changes.writes:
            self._check_record(write.grain_id, write.state, write.etag, write.claim)
        for check in changes.checks:
            self._check_record(check.grain_id, check.state, check.etag, check.claim)
        self._check_unique(changes.writes)
        self._check_answers(changes)
        self._check_reminders(changes)
        return self._apply(changes)

    async def received(self, grain_id: GrainId, id: str) -> bytes | None:
        """See `SetStorage.received`."""
        check_name(self._service, grain_id, id)
        answer = self._answers.get((grain_id, id))
        return None if answer is None or answer.expires <= self._clock() else answer.result

    async def list_records(
        self, grain_type: str, prefix: str = "", after: RecordName | None = None, limit: int = 100
    ) -> list[RecordName]:
        """See `QueryStorage.list_records`."""
        check_page(self._service, grain_type, prefix, after, limit)
        names = (
            RecordName(grain_id.key, state)
            for (grain_id, state), record in self._records.items()
            if grain_id.type == grain_type and record.payload is not None and grain_id.key.startswith(prefix)
        )
        return sorted(name for name in names if after is None or name > after)[:limit]

    async def find(self, query: Query) -> list[str]:
        """See `QueryStorage.find`."""
        check_query(self._service, query)
        found: list[tuple[str | float, str]] = []
        for (grain_id, state), entries in self._indexes.items():
            values = {entry.field: entry.value for entry in entries}
            if (grain_id.type, state) != (query.grain_type, query.state) or query.where.items() - values.items():
                continue
            if query.order_by is None:
                found.append(("", grain_id.key))
            elif query.order_by in values:
                found.append((values[query.order_by], grain_id.key))
        keys = _ordered(found, query.descending)
        left = [key for key in keys if query.after is None or key > query.after]
        return left[query.offset : query.offset + query.limit]

    async def now(self) -> int:
        """See `ReminderStorage.now`."""
        return round(self._clock() * 1_000_000)

    async def reminders_of(self, grain_id: GrainId) -> list[ReminderRow]:
        """See `ReminderStorage.reminders_of`."""
        check_name(self._service, grain_id, "")
        rows = self._reminders.get(grain_id, {})
        return [rows[name] for name in sorted(rows)]

    async def reminders_due(self, slots: Collection[int], until: int, limit: int) -> list[ReminderRow]:
        """See `ReminderStorage.reminders_due`."""
        wanted = frozenset(slots)
        due = [row for row in self._all_reminders() if row.slot in wanted and row.due is not None and row.due <= until]
        return sorted(due, key=lambda row: (row.due, row.grain_id, row.name))[:limit]

    async def reminders_parked(self, slots: Collection[int], limit: int) -> list[ReminderRow]:
        """See `ReminderStorage.reminders_parked`."""
        wanted = frozenset(slots)
        parked = [row for row in self._all_reminders() if row.slot in wanted and row.due is None]
        return sorted(parked, key=lambda row: (row.grain_id, row.name))[:limit]

    async def fence(self, silos: Collection[SiloAddress]) -> None:
        """See `GrainStorage.fence`."""
        for silo in silos:
            self._dead[silo.endpoint] = max(silo.generation, self._dead.get(silo.endpoint, silo.generation))

    async def fenced_generation(self, endpoint: str) -> int:
        """See `FenceRecords`."""
        return self._dead.get(endpoint, 0)

    def seed(self, grain_id: GrainId, state: str, payload: bytes, schema: int = 1) -> str:
        """Store a record without an etag check, as a test does before its grains start. Returns the new etag."""
        return self._store(Write(grain_id, state, payload, self._held(grain_id, state).etag, schema), None)

    def _held(self, grain_id: GrainId, state: str) -> StateRecord:
        return self._records.get((grain_id, state), _ABSENT)

    def _all_reminders(self) -> Iterable[ReminderRow]:
        return (row for rows in self._reminders.values() for row in rows.values())

    def _is_dead(self, writer: SiloAddress) -> bool:
        return writer.generation <= self._dead.get(writer.endpoint, -1)

    def _is_applied(self, changes: ChangeSet) -> bool:
        """Whether all records of the set carry its stamp; without records, its answers and its new reminders."""
        writes = [write for write in changes.writes if not _is_empty(write)]
        traces = [
            changes.stamp_of(write) == self._held(write.grain_id, write.state).stamp is not None for write in writes
        ]
        if not writes:
            answers = [self._answers.get((item.grain_id, item.id)) for item in changes.received]
            traces += [answer is not None and changes.stamp == answer.stamp is not None for answer in answers]
            rows = [change.row for change in changes.reminders if change.row is not None]
            traces += [row.etag == self._reminder_etag(row.grain_id, row.name) for row in rows]
        return bool(traces) and all(traces)

    def _reminder_etag(self, grain_id: GrainId, name: str) -> str | None:
        row = self._reminders.get(grain_id, {}).get(name)
        return None if row is None else row.etag

    def _check_writers(self, changes: ChangeSet) -> None:
        dead = next((writer for writer in sorted(changes.writers) if self._is_dead(writer)), None)
        if dead is not None:
            held = [self._held(write.grain_id, write.state).etag for write in changes.writes[:1]]
            raise fenced_set(changes, dead, held[0] if held else None)

    def _check_record(self, grain_id: GrainId, state: str, etag: str | None, claim: int | None) -> None:
        held = self._held(grain_id, state)
        if held.etag != etag:
            raise inconsistent(grain_id, state, stored=held.etag, given=etag)
        if claim is not None and held.etag is not None and held.claim != claim:
            raise inconsistent_claim(grain_id, state, held.etag)

    def _check_unique(self, writes: tuple[Write, ...]) -> None:
        if not any(entry.unique for write in writes for entry in write.index):
            return
        changed = {(write.grain_id, write.state) for write in writes}
        kept = [(place, entries) for place, entries in self._indexes.items() if place not in changed]
        taken = {_unique_key(*place, entry) for place, entries in kept for entry in entries if entry.unique}
        for write in writes:
            keys = {_unique_key(write.grain_id, write.state, entry): entry for entry in write.index if entry.unique}
            double = [entry for key, entry in keys.items() if key in taken]
            if double:
                raise not_unique(write.grain_id, write.state, double)
            taken |= keys.keys()

    def _check_answers(self, changes: ChangeSet) -> None:
        for item in changes.received:
            answer = self._answers.get((item.grain_id, item.id))
            if answer is not None and answer.expires > self._clock():
                raise already_received(item.grain_id, item.id)

    def _check_reminders(self, changes: ChangeSet) -> None:
        for change in changes.reminders:
            held = self._reminder_etag(change.grain_id, change.name)
            if held != change.held:
                raise inconsistent_reminder(change, held)

    def _apply(self, changes: ChangeSet) -> Committed:
        etags = tuple(self._apply_write(write, changes.stamp_of(write)) for write in changes.writes)
        for item in changes.received:
            answer = _Answer(bytes(item.result), changes.stamp, self._clock() + item.keep)
            self._answers[item.grain_id, item.id] = answer
        for change in changes.reminders:
            rows = self._reminders.setdefault(change.grain_id, {})
            if change.row is not None:
                rows[change.name] = change.row
            else:
                rows.pop(change.name, None)
            if not rows:
                del self._reminders[change.grain_id]
        return Committed(etags)

    def _apply_write(self, write: Write, stamp: Stamp | None) -> str | None:
        return None if _is_empty(write) else self._store(write, stamp)

    def _store(self, write: Write, stamp: Stamp | None) -> str:
        place = write.grain_id, write.state
        held = self._held(*place)
        etag = etag_text(etag_number(held.etag) + 1)
        assert etag is not None
        schema = held.schema if write.payload is None else write.schema
        claim = held.claim if write.claim is None else write.claim
        payload = None if write.payload is None else bytes(write.payload)
        self._records[place] = StateRecord(payload, etag, schema, stamp, claim)
        if write.index:
            self._indexes[place] = write.index
        else:
            self._indexes.pop(place, None)
        return etag


def _is_empty(write: Write) -> bool:
    """Whether it is the clear of a record that was never written: it stores nothing."""
    return write.payload is None and write.etag is None


def _unique_key(grain_id: GrainId, state: str, entry: IndexEntry) -> tuple[str, str, str, str | float]:
    return grain_id.type, state, entry.field, entry.value


def _ordered(found: list[tuple[str | float, str]], descending: bool) -> list[str]:
    """The keys by value, numbers before texts, equal values by key in both directions."""
    found.sort(key=lambda pair: pair[1])
    found.sort(key=lambda pair: (isinstance(pair[0], str), pair[0]), reverse=descending)
    return [key for _, key in found]
