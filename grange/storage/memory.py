"""State in a dictionary, for tests and first trials: the semantics of the databases without durability."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager

from grange.errors import ConfigurationError
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions
from grange.storage.provider import Stamp, StateRecord
from grange.storage.record import (
    check_name,
    check_payload,
    check_service,
    etag_number,
    etag_text,
    fenced,
    inconsistent,
)

_ABSENT = StateRecord(None, None)


class MemoryStorage:
    """Records in this process. One instance may serve several silos of one event loop, as `TestCluster` does.

    Etags are counters that rise by 1 with each write and clear; a cleared record keeps its counter. No
    operation suspends, so each is atomic.
    """

    def __init__(self, service: str = "default", options: StorageOptions = DEFAULT_OPTIONS) -> None:
        self._service = check_service(service)
        self._options = options
        self._records: dict[tuple[GrainId, str], StateRecord] = {}
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
        check_payload(grain_id, state, payload, self._options.payload_limit)
        held = self._held(grain_id, state)
        if held.etag is not None and stamp is not None and held.stamp == stamp:
            return held.etag
        self._check(grain_id, state, etag, stamp)
        return self._store(grain_id, state, StateRecord(bytes(payload), held.etag, schema, stamp))

    async def clear(self, grain_id: GrainId, state: str, etag: str | None, stamp: Stamp | None = None) -> str | None:
        """See `GrainStorage.clear`."""
        check_name(self._service, grain_id, state)
        held = self._held(grain_id, state)
        if stamp is not None and held.stamp == stamp:
            return held.etag
        self._check(grain_id, state, etag, stamp)
        if held.etag is None:
            return None
        return self._store(grain_id, state, StateRecord(None, held.etag, held.schema, stamp))

    async def fence(self, silos: Collection[SiloAddress]) -> None:
        """See `GrainStorage.fence`."""
        for silo in silos:
            self._dead[silo.endpoint] = max(silo.generation, self._dead.get(silo.endpoint, silo.generation))

    async def fenced_generation(self, endpoint: str) -> int:
        """See `FenceRecords`."""
        return self._dead.get(endpoint, 0)

    def seed(self, grain_id: GrainId, state: str, payload: bytes, schema: int = 1) -> str:
        """Store a record without an etag check, as a test does before its grains start. Returns the new etag."""
        return self._store(grain_id, state, StateRecord(bytes(payload), self._held(grain_id, state).etag, schema))

    def _held(self, grain_id: GrainId, state: str) -> StateRecord:
        return self._records.get((grain_id, state), _ABSENT)

    def _check(self, grain_id: GrainId, state: str, etag: str | None, stamp: Stamp | None) -> None:
        held = self._held(grain_id, state)
        if stamp is not None and stamp.writer.generation <= self._dead.get(stamp.writer.endpoint, -1):
            raise fenced(grain_id, state, stamp.writer, held, given=etag)
        if held.etag != etag:
            raise inconsistent(grain_id, state, stored=held.etag, given=etag)

    def _store(self, grain_id: GrainId, state: str, record: StateRecord) -> str:
        etag = etag_text(etag_number(record.etag) + 1)
        assert etag is not None
        self._records[(grain_id, state)] = StateRecord(record.payload, etag, record.schema, record.stamp)
        return etag
