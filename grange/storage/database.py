"""What the database providers share: checks, etags as counters, time-outs, and changes stored in batches.

A provider (`sqlite.py`, `redis.py`, `postgres.py`) brings two verbs: read one record, store a batch of changes.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from grange.errors import StorageError, StorageUnavailable
from grange.proto.ids import GrainId
from grange.storage.changes import Change, ChangeQueue, Name
from grange.storage.options import StorageOptions
from grange.storage.provider import StateRecord
from grange.storage.record import check_name, check_payload, check_service, etag_number, inconsistent


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
        """Store what names the stored etag: see `ChangeQueue`. Bounds its own time."""

    async def read(self, grain_id: GrainId, state: str) -> StateRecord:
        """See `GrainStorage.read`."""
        check_name(self._service, grain_id, state)
        try:
            async with asyncio.timeout(self._options.operation_timeout):
                return await self._read((grain_id.type, grain_id.key, state))
        except TimeoutError:
            limit = self._options.operation_timeout
            raise StorageUnavailable(
                f"read of state {state!r} of {grain_id}: the database did not answer within {limit} s"
            ) from None
        except StorageError as error:
            raise type(error)(f"read of state {state!r} of {grain_id}: {error}") from error

    async def write(self, grain_id: GrainId, state: str, payload: bytes, etag: str | None, schema: int = 1) -> str:
        """See `GrainStorage.write`."""
        check_name(self._service, grain_id, state)
        text = check_payload(grain_id, state, payload, self._options.payload_limit)
        stored = await self._changes.submit(Change(grain_id, state, text, etag_number(etag), schema))
        return str(stored) if stored is not None else await self._refuse(grain_id, state, etag)

    async def clear(self, grain_id: GrainId, state: str, etag: str | None) -> str | None:
        """See `GrainStorage.clear`."""
        if etag is None:
            held = await self.read(grain_id, state)
            return None if held.etag is None else await self._refuse(grain_id, state, etag)
        check_name(self._service, grain_id, state)
        stored = await self._changes.submit(Change(grain_id, state, None, etag_number(etag)))
        return str(stored) if stored is not None else await self._refuse(grain_id, state, etag)

    async def flush(self) -> None:
        """Wait until every change that was asked for has ended. `open` does it before it closes."""
        await self._changes.flush()

    async def _refuse(self, grain_id: GrainId, state: str, given: str | None) -> str:
        held = await self.read(grain_id, state)
        raise inconsistent(grain_id, state, stored=held.etag, given=given)
