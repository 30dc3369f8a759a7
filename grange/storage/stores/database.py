"""Base class of the database providers: checks, etags as counters, time-outs, errors, changes stored in batches.

A provider (`sqlite.py`, `redis.py`, `postgres.py`) adds four operations: read one record, store a batch of changes,
record deaths, and read whether a death is recorded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager

from grange.aio.awake import AwakeTimeout
from grange.databases.errors import AnswerLost, DatabaseError, DatabaseUnavailable
from grange.errors import StorageError, StorageUnavailable
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.options import StorageOptions
from grange.storage.provider import StateRecord
from grange.storage.record import check_name, check_payload, check_service, etag_number, fenced, inconsistent
from grange.storage.sets import Stamp
from grange.storage.stores.changes import Change, ChangeQueue, Name, Sending

DEATHS_KEPT = 7 * 86_400
"""Seconds that a store keeps a recorded death: a week, because a machine may sleep over a weekend and then write.
Membership remembers a death for a day."""


class DatabaseStorage(ABC):
    """A `GrainStorage` on a database that stores up to `lanes` batches at a time."""

    def __init__(self, service: str, options: StorageOptions, lanes: int) -> None:
        self._service = check_service(service)
        self._options = options
        self._changes = ChangeQueue(self._store, lanes, options.operation_timeout)

    @abstractmethod
    async def _read(self, name: Name) -> StateRecord:
        """The stored record. Raises StorageUnavailable or StorageError; time is bounded by the caller."""

    @abstractmethod
    async def _store(self, batch: Sequence[Change]) -> Mapping[Name, int]:
        """Store each change that names the stored etag: see `ChangeQueue`. Bounds its own time."""

    @abstractmethod
    async def _record_deaths(self, silos: Sequence[SiloAddress]) -> None:
        """Record deaths: no `_store` that ends later stores anything by these writers.

        Time is bounded by the caller.
        """

    @abstractmethod
    async def _dead_generation(self, endpoint: str) -> int:
        """The latest generation of this endpoint that is recorded as dead; 0: none. Time is bounded by the caller."""

    async def read(self, grain_id: GrainId, state: str) -> StateRecord:
        """See `GrainStorage.read`."""
        check_name(self._service, grain_id, state)
        try:
            async with AwakeTimeout(self._options.operation_timeout):
                return await self._read((grain_id.type, grain_id.key, state))
        except TimeoutError:
            limit = self._options.operation_timeout
            raise StorageUnavailable(
                f"read of state {state!r} of {grain_id}: the database did not answer within {limit} s"
            ) from None
        except StorageError as error:
            raise type(error)(f"read of state {state!r} of {grain_id}: {error}") from error

    async def write(
        self,
        grain_id: GrainId,
        state: str,
        payload: bytes,
        etag: str | None,
        schema: int = 1,
        stamp: Stamp | None = None,
    ) -> str:
        """See `GrainStorage.write`."""
        check_name(self._service, grain_id, state)
        text = check_payload(grain_id, state, payload, self._options.payload_limit)
        name = (grain_id.type, grain_id.key, state)
        stored = await self._changes.submit(Change(name, text, etag_number(etag), schema, stamp))
        return str(stored) if stored is not None else await self._refuse(grain_id, state, etag, stamp)

    async def clear(self, grain_id: GrainId, state: str, etag: str | None, stamp: Stamp | None = None) -> str | None:
        """See `GrainStorage.clear`."""
        if etag is None:
            held = await self.read(grain_id, state)
            return None if held.etag is None else await self._refuse(grain_id, state, etag, stamp)
        check_name(self._service, grain_id, state)
        name = (grain_id.type, grain_id.key, state)
        stored = await self._changes.submit(Change(name, None, etag_number(etag), None, stamp))
        return str(stored) if stored is not None else await self._refuse(grain_id, state, etag, stamp)

    async def fence(self, silos: Collection[SiloAddress]) -> None:
        """See `GrainStorage.fence`."""
        if not silos:
            return
        try:
            async with AwakeTimeout(self._options.operation_timeout):
                await self._record_deaths(sorted(silos))
        except TimeoutError:
            raise StorageUnavailable(
                f"recording the death of {len(silos)} silos: the database did not answer within "
                f"{self._options.operation_timeout} s"
            ) from None

    async def fenced_generation(self, endpoint: str) -> int:
        """See `FenceRecords`."""
        try:
            async with AwakeTimeout(self._options.operation_timeout):
                return await self._dead_generation(endpoint)
        except TimeoutError:
            raise StorageUnavailable(f"the database did not answer which silo of {endpoint} is dead") from None

    async def flush(self) -> None:
        """Wait until every submitted change has ended. `open` does it before it closes."""
        await self._changes.flush()

    async def _refuse(self, grain_id: GrainId, state: str, given: str | None, stamp: Stamp | None) -> str:
        """Explain why nothing was stored: it was stored before, the writer is dead, or the change lost a race."""
        held = await self.read(grain_id, state)
        if stamp is not None and held.stamp == stamp and held.etag is not None:
            return held.etag
        if stamp is not None and await self.fenced_generation(stamp.writer.endpoint) >= stamp.writer.generation:
            raise fenced(grain_id, state, stamp.writer, held.etag, given)
        raise inconsistent(grain_id, state, stored=held.etag, given=given)


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
