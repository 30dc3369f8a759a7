"""Sample items, storages and expectations of the suites of change sets, claims, queries and reminders."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from grange.errors import InconsistentStateError
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.provider import (
    ClaimStorage,
    GrainStorage,
    Query,
    QueryStorage,
    RecordName,
    ReminderStorage,
    SetStorage,
)
from grange.storage.sets import (
    ChangeSet,
    Committed,
    IndexEntry,
    ReminderChange,
    ReminderRow,
    Stamp,
    Write,
    slot_of,
)


class FullStorage(GrainStorage, SetStorage, ClaimStorage, QueryStorage, ReminderStorage, Protocol):
    """A storage that does all that those of grange do."""


OpenFull = Callable[[str], AbstractAsyncContextManager[FullStorage]]
"""Opens the storage of a named service. All that one test opens must be in one database, empty at first."""

SILO, OTHER = SiloAddress("10.0.0.1", 11111, 1_700_000_000_000), SiloAddress("10.0.0.2", 11111, 1_700_000_000_000)

ANN, BOB, CAT, DAN = (GrainId("account", key) for key in ("ann", "bob", "cat", "dan"))

STATE = "state"


def write(
    grain_id: GrainId, payload: bytes | None, etag: str | None, *index: IndexEntry, claim: int | None = None
) -> Write:
    """A write of the state of a sample grain."""
    return Write(grain_id, STATE, payload, etag, claim=claim, index=index)


def writes(*items: Write, stamp: Stamp | None = None) -> ChangeSet:
    """A set of writes only."""
    return ChangeSet(stamp, items)


def reminder(grain_id: GrainId, name: str, etag: str, due: int | None = 1_000_000, entry: bytes = b"{}") -> ReminderRow:
    """A row in the slot of its grain."""
    return ReminderRow(grain_id, name, slot_of(grain_id), due, entry, etag)


def put(row: ReminderRow, held: str | None = None) -> ReminderChange:
    """Store this row, over the row with the etag `held`."""
    return ReminderChange(row.grain_id, row.name, held, row)


def remove(row: ReminderRow) -> ReminderChange:
    """Remove this row."""
    return ReminderChange(row.grain_id, row.name, row.etag, None)


async def store(storage: SetStorage, *changes: ReminderChange) -> Committed:
    """Apply changes of reminders, in one set that no silo stamped."""
    return await storage.commit(ChangeSet(None, reminders=changes))


async def refusal(operation: Awaitable[Any]) -> Exception:
    """The error of an operation that must fail."""
    try:
        await operation
    except Exception as error:
        return error
    raise AssertionError("the storage did what it must refuse")


async def lost(operation: Awaitable[Any], name: str = "") -> InconsistentStateError:
    """Expect that a set is refused for an item that does not hold, and that the error names it."""
    error = await refusal(operation)
    assert isinstance(error, InconsistentStateError), error
    assert not error.fenced, error
    assert name in str(error), f"{error} does not name {name}"
    return error


async def committed(operation: Awaitable[Committed]) -> bool:
    """Whether a set was applied; False: one of its items did not hold. Other errors are raised."""
    try:
        await operation
    except InconsistentStateError:
        return False
    return True


async def payloads(storage: GrainStorage, *grains: GrainId) -> list[bytes | None]:
    """What the records of these grains hold."""
    return [(await storage.read(grain, STATE)).payload for grain in grains]


async def contents(storage: FullStorage) -> list[object]:
    """All that the samples may have changed, to compare it before and after a set."""
    grains = (ANN, BOB, CAT, DAN)
    return [
        [await storage.read(grain, STATE) for grain in grains],
        [await storage.received(grain, id) for grain in grains for id in ("old", "new")],
        [await storage.reminders_of(grain) for grain in grains],
        await storage.list_records(ANN.type),
        [await storage.find(Query(grain_type=ANN.type, state=STATE, order_by=field)) for field in ("city", "mail")],
    ]


async def all_records(storage: QueryStorage, grain_type: str, limit: int, prefix: str = "") -> list[RecordName]:
    """Every page of a list, joined."""
    found: list[RecordName] = []
    while True:
        page = await storage.list_records(grain_type, prefix, found[-1] if found else None, limit)
        assert len(page) <= limit
        found += page
        if len(page) < limit:
            return found
