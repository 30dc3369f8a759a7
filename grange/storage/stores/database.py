"""Base class of the database providers: checks, etags as counters, time-outs, errors, change sets stored in batches.

A provider (`sqlite.py`, `redis.py`, `postgres.py`) adds the operations: apply a batch of change sets, read what one of
their items names, record deaths, and read whether a death is recorded.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from grange.aio.awake import AwakeTimeout
from grange.databases.errors import AnswerLost, DatabaseError, DatabaseUnavailable
from grange.errors import StorageError, StorageUnavailable
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.options import StorageOptions
from grange.storage.provider import StateRecord
from grange.storage.record import check_name, check_service, check_set
from grange.storage.sets import ChangeSet, Committed, IndexEntry, ReminderRow, Write
from grange.storage.stores.changes import ChangeQueue, Name, QueuedSet, Sending, description
from grange.storage.stores.plain import PlainOperations
from grange.storage.stores.refusals import Found, KeptAnswer, Place, clears_nothing, conditions, judge

T = TypeVar("T")

DEATHS_KEPT = 7 * 86_400
"""Seconds that a store keeps a recorded death: a week, because a machine may sleep over a weekend and then write.
Membership remembers a death for a day."""


class DatabaseStorage(PlainOperations):
    """A `GrainStorage` and `SetStorage` on a database that applies up to `lanes` batches at a time."""

    def __init__(self, service: str, options: StorageOptions, lanes: int) -> None:
        self._service = check_service(service)
        self._options = options
        self._changes = ChangeQueue(self._store, lanes, options.operation_timeout)

    @abstractmethod
    async def _read(self, name: Name) -> StateRecord:
        """The stored record. Raises StorageUnavailable or StorageError; time is bounded by the caller."""

    async def _read_all(self, names: Sequence[Name]) -> dict[Name, StateRecord]:
        """The stored records of these names. A database that can reads them in one round trip."""
        return {name: await self._read(name) for name in names}

    @abstractmethod
    async def _store(self, batch: Sequence[QueuedSet]) -> Mapping[QueuedSet, Committed]:
        """Apply each set whose items all hold: see `ChangeQueue`. Bounds its own time."""

    @abstractmethod
    async def _answer(self, grain_id: GrainId, id: str) -> KeptAnswer | None:
        """The kept answer, if its time is not over. Time is bounded by the caller, as for the rest below."""

    @abstractmethod
    async def _reminders_of(self, grain_id: GrainId) -> list[ReminderRow]:
        """All reminders of one grain, ordered by name."""

    @abstractmethod
    async def _taken(self, write: Write) -> list[IndexEntry]:
        """The unique values of a write that other records have. Called only if it has some."""

    @abstractmethod
    async def _record_deaths(self, silos: Sequence[SiloAddress]) -> None:
        """Record deaths: no `_store` that ends later stores anything by these writers."""

    @abstractmethod
    async def _dead_generation(self, endpoint: str) -> int:
        """The latest generation of this endpoint that is recorded as dead; 0: none."""

    async def read(self, grain_id: GrainId, state: str) -> StateRecord:
        """See `GrainStorage.read`."""
        check_name(self._service, grain_id, state)
        return await self._ask(
            f"read of state {state!r} of {grain_id}", self._read((grain_id.type, grain_id.key, state))
        )

    async def commit(self, changes: ChangeSet) -> Committed:
        """See `SetStorage.commit`."""
        check_set(self._service, changes, self._options.payload_limit)
        if clears_nothing(changes):
            return await self._clear_nothing(changes)
        stored = await self._changes.submit(changes)
        return stored if stored is not None else await self._refuse(changes)

    async def received(self, grain_id: GrainId, id: str) -> bytes | None:
        """See `SetStorage.received`."""
        check_name(self._service, grain_id, id)
        answer = await self._ask(f"read of answer {id!r} of {grain_id}", self._answer(grain_id, id))
        return None if answer is None else answer.result

    async def fence(self, silos: Collection[SiloAddress]) -> None:
        """See `GrainStorage.fence`."""
        if not silos:
            return
        await self._ask(f"recording the death of {len(silos)} silos", self._record_deaths(sorted(silos)))

    async def fenced_generation(self, endpoint: str) -> int:
        """See `FenceRecords`."""
        return await self._ask(f"read of the deaths at {endpoint}", self._dead_generation(endpoint))

    async def flush(self) -> None:
        """Wait until every submitted change has ended. `open` does it before it closes."""
        await self._changes.flush()

    async def _clear_nothing(self, changes: ChangeSet) -> Committed:
        """A clear of a record that was never written needs only a read."""
        return judge(changes, await self._ask(description(changes), self._find(changes)))

    async def _ask(self, what: str, operation: Awaitable[T]) -> T:
        """Bound the time of an operation that changes no record, and name it in its errors."""
        try:
            async with AwakeTimeout(self._options.operation_timeout):
                return await operation
        except TimeoutError:
            limit = self._options.operation_timeout
            raise StorageUnavailable(f"{what}: the database did not answer within {limit} s") from None
        except StorageError as error:
            raise type(error)(f"{what}: {error}") from error

    async def _refuse(self, changes: ChangeSet) -> Committed:
        """Explain why a set was not applied: it was applied before, a writer is dead, or an item lost a race."""
        return judge(changes, await self._ask(description(changes), self._find(changes)))

    async def _find(self, changes: ChangeSet) -> Found:
        places = {
            (grain_id.type, grain_id.key, state): (grain_id, state) for grain_id, state, *_ in conditions(changes)
        }
        records = {places[name]: record for name, record in (await self._read_all(list(places))).items()}
        dead = {writer.endpoint: await self._dead_generation(writer.endpoint) for writer in changes.writers}
        answers: dict[Place, KeptAnswer] = {}
        for received in changes.received:
            answer = await self._answer(received.grain_id, received.id)
            if answer is not None:
                answers[received.grain_id, received.id] = answer
        reminders: dict[Place, str] = {}
        for grain_id in {change.grain_id for change in changes.reminders}:
            reminders |= {(grain_id, row.name): row.etag for row in await self._reminders_of(grain_id)}
        taken: dict[Place, list[IndexEntry]] = {}
        for write in changes.writes:
            if any(entry.unique for entry in write.index):
                taken[write.grain_id, write.state] = await self._taken(write)
        return Found(records, dead, answers, reminders, taken)


@contextmanager
def storage_errors(prefix: str = "", sending: Sending | None = None) -> Generator[None]:
    """Turn a DatabaseError into a storage error: see `storage_error`."""
    try:
        yield
    except DatabaseError as error:
        raise storage_error(error, prefix, sending) from error


def storage_error(error: DatabaseError, prefix: str = "", sending: Sending | None = None) -> StorageError:
    """The storage error for a database error, by whether the operation may have been applied.

    A lost answer is a WriteOutcomeUnknown once `sending` began. Of a read (`sending` None) it is a StorageUnavailable.
    """
    if isinstance(error, AnswerLost):
        kind = StorageUnavailable if sending is None else sending.lost
    else:
        kind = StorageUnavailable if isinstance(error, DatabaseUnavailable) else StorageError
    named = kind(f"{prefix}{error}")
    named.__cause__ = error
    return named
