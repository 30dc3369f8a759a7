"""State in a dictionary, for tests and for trying things out: the databases' semantics without durability."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from grange.errors import ConfigurationError
from grange.proto.ids import GrainId
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions
from grange.storage.provider import StateRecord
from grange.storage.record import (
    check_name,
    check_payload,
    check_service,
    etag_number,
    etag_text,
    inconsistent,
)

_ABSENT = StateRecord(None, None)


class MemoryStorage:
    """Records in this process. One instance may serve several silos of one event loop, as `TestCluster` does.

    Etags are counters that rise by 1 with each write and clear; a cleared record keeps its counter. No
    operation suspends, so each is atomic by itself.
    """

    def __init__(self, service: str = "default", options: StorageOptions = DEFAULT_OPTIONS) -> None:
        self._service = check_service(service)
        self._options = options
        self._records: dict[tuple[GrainId, str], StateRecord] = {}

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

    async def write(self, grain_id: GrainId, state: str, payload: bytes, etag: str | None, schema: int = 1) -> str:
        """See `GrainStorage.write`."""
        check_name(self._service, grain_id, state)
        check_payload(grain_id, state, payload, self._options.payload_limit)
        held = self._matching(grain_id, state, etag)
        return self._store(grain_id, state, StateRecord(bytes(payload), held.etag, schema))

    async def clear(self, grain_id: GrainId, state: str, etag: str | None) -> str | None:
        """See `GrainStorage.clear`."""
        check_name(self._service, grain_id, state)
        held = self._matching(grain_id, state, etag)
        if held.etag is None:
            return None
        return self._store(grain_id, state, StateRecord(None, held.etag, held.schema))

    def seed(self, grain_id: GrainId, state: str, payload: bytes, schema: int = 1) -> str:
        """Store a record whatever its etag, as a test does before its grains start. Returns the new etag."""
        held = self._records.get((grain_id, state), _ABSENT)
        return self._store(grain_id, state, StateRecord(bytes(payload), held.etag, schema))

    def _matching(self, grain_id: GrainId, state: str, etag: str | None) -> StateRecord:
        held = self._records.get((grain_id, state), _ABSENT)
        if held.etag != etag:
            raise inconsistent(grain_id, state, stored=held.etag, given=etag)
        return held

    def _store(self, grain_id: GrainId, state: str, record: StateRecord) -> str:
        etag = etag_text(etag_number(record.etag) + 1)
        assert etag is not None
        self._records[(grain_id, state)] = StateRecord(record.payload, etag, record.schema)
        return etag
