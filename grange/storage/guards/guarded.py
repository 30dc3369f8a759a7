"""A store behind its guard: the operations of all protocols of `storage/provider.py`.

`stores.py` puts one of these before each store of a silo; the states of grains go through it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar, cast

from grange.errors import StorageError
from grange.observability.counters import StoreFigures
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.guards.guard import Change, Guard, Operation
from grange.storage.provider import (
    ClaimStorage,
    GrainStorage,
    Query,
    QueryStorage,
    RecordName,
    ReminderStorage,
    SetStorage,
    StateRecord,
    offered,
)
from grange.storage.sets import ChangeSet, Committed, ReminderRow, Stamp

P = TypeVar("P")

_PROTOCOLS: tuple[type[Any], ...] = (ClaimStorage, SetStorage, QueryStorage, ReminderStorage)
"""What a store may have beyond `GrainStorage`."""


class GuardedStorage:
    """A `GrainStorage` around another one, with the operations of those protocols that the other one has.

    `offers` tells which; an operation of another protocol raises StorageError with the name of the store. `figures`
    counts the operations.
    """

    def __init__(self, storage: GrainStorage, name: str, guard: Guard) -> None:
        self._storage = storage
        self._name = name
        self._guard = guard
        # Asked once: `isinstance` with a protocol compares all its methods.
        self._offered: dict[type[Any], Any] = {each: offered(storage, each) for each in _PROTOCOLS}

    @property
    def figures(self) -> StoreFigures:
        """The counters of this store."""
        return self._guard.figures

    def offers(self, protocol: type[Any]) -> bool:
        """See `Selective`."""
        if protocol in self._offered:
            return self._offered[protocol] is not None
        return offered(self._storage, protocol) is not None

    async def read(self, grain_id: GrainId, state: str) -> StateRecord:
        """See `GrainStorage.read`. Waits until every death known to this silo is recorded in the store."""
        operation = Operation("read", grain_id, _named(state))
        return await self._guard.load(operation, lambda: self._storage.read(grain_id, state))

    async def claim(self, grain_id: GrainId, state: str, claim: int, writer: SiloAddress | None = None) -> StateRecord:
        """See `ClaimStorage.claim`, and `read`."""
        operation, store = Operation("claim", grain_id, _named(state)), self._as(ClaimStorage)
        return await self._guard.load(operation, lambda: store.claim(grain_id, state, claim, writer))

    async def write(
        self,
        grain_id: GrainId,
        state: str,
        payload: bytes,
        etag: str | None,
        schema: int = 1,
        stamp: Stamp | None = None,
    ) -> str:
        """See `GrainStorage.write`. With a stamp, a change whose answer was lost is repeated while there is time."""
        change = Change(Operation("write", grain_id, _named(state)), stamp is not None)
        return await self._guard.change(
            change, lambda: self._storage.write(grain_id, state, payload, etag, schema, stamp)
        )

    async def clear(self, grain_id: GrainId, state: str, etag: str | None, stamp: Stamp | None = None) -> str | None:
        """See `GrainStorage.clear`, and `write`."""
        change = Change(Operation("clear", grain_id, _named(state)), stamp is not None)
        return await self._guard.change(change, lambda: self._storage.clear(grain_id, state, etag, stamp))

    async def fence(self, silos: Collection[SiloAddress]) -> None:
        """See `GrainStorage.fence`."""
        await self._storage.fence(silos)

    async def commit(self, changes: ChangeSet) -> Committed:
        """See `SetStorage.commit`, and `write`."""
        store = self._as(SetStorage)
        return await self._guard.change(_change_of(changes), lambda: store.commit(changes))

    async def received(self, grain_id: GrainId, id: str) -> bytes | None:
        """See `SetStorage.received`, and `read`."""
        operation, store = Operation("answer", grain_id, f"call {id!r}"), self._as(SetStorage)
        return await self._guard.load(operation, lambda: store.received(grain_id, id))

    async def list_records(
        self, grain_type: str, prefix: str = "", after: RecordName | None = None, limit: int = 100
    ) -> list[RecordName]:
        """See `QueryStorage.list_records`."""
        operation, store = Operation("list", None, f"grains of type {grain_type}"), self._as(QueryStorage)
        return await self._guard.look(operation, lambda: store.list_records(grain_type, prefix, after, limit))

    async def find(self, query: Query) -> list[str]:
        """See `QueryStorage.find`."""
        operation, store = Operation("find", None, f"grains of type {query.grain_type}"), self._as(QueryStorage)
        return await self._guard.look(operation, lambda: store.find(query))

    async def now(self) -> int:
        """See `ReminderStorage.now`."""
        return await self._guard.look(Operation("time", None, "the store"), self._as(ReminderStorage).now)

    async def reminders_of(self, grain_id: GrainId) -> list[ReminderRow]:
        """See `ReminderStorage.reminders_of`. A change of a reminder compares its etag."""
        operation, store = Operation("reminders", grain_id, "reminders"), self._as(ReminderStorage)
        return await self._guard.look(operation, lambda: store.reminders_of(grain_id))

    async def reminders_due(self, slots: Collection[int], until: int, limit: int) -> list[ReminderRow]:
        """See `ReminderStorage.reminders_due`."""
        operation, store = Operation("reminders", None, "due reminders"), self._as(ReminderStorage)
        return await self._guard.look(operation, lambda: store.reminders_due(slots, until, limit))

    async def reminders_parked(self, slots: Collection[int], limit: int) -> list[ReminderRow]:
        """See `ReminderStorage.reminders_parked`."""
        operation, store = Operation("reminders", None, "parked reminders"), self._as(ReminderStorage)
        return await self._guard.look(operation, lambda: store.reminders_parked(slots, limit))

    def _as(self, protocol: type[P]) -> P:
        store = self._offered[protocol]
        if store is None:
            raise StorageError(lacks(self._name, self._storage, protocol))
        return cast("P", store)


def lacks(name: str, storage: object, protocol: type[Any]) -> str:
    """The text about a store without this protocol."""
    return f"the storage {name!r} ({type(storage).__name__}) is no {protocol.__name__}; use another storage for this"


def _named(state: str) -> str:
    return f"state {state!r}"


def _change_of(changes: ChangeSet) -> Change:
    """The operation of a set: that of its write if it has no other item."""
    writes, first = changes.writes, next(iter(changes.writes), None)
    stamped = changes.stamp is not None
    if first is not None:
        alone = len(writes) == 1 and not (changes.checks or changes.received or changes.reminders)
        kind = "commit" if not alone else "clear" if first.payload is None else "write"
        # The refusal of a fenced set names its first write. A clear of nothing changes nothing, so it proves nothing.
        leaves_trace = first.payload is not None or first.etag is not None or alone
        return Change(Operation(kind, first.grain_id, _named(first.state)), stamped, leaves_trace, len(writes))
    kept, reminder = next(iter(changes.received), None), next(iter(changes.reminders), None)
    grain_id = kept.grain_id if kept is not None else reminder.grain_id if reminder is not None else None
    return Change(Operation("commit", grain_id, "a change set"), stamped, leaves_trace=False, states=0)
