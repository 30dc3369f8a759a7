"""A store that has neither sets nor claims, as a third party's may be."""

from __future__ import annotations

from collections.abc import Collection

from grange.proto.ids import GrainId, SiloAddress
from grange.storage.memory import MemoryStorage
from grange.storage.provider import StateRecord
from grange.storage.sets import Stamp


class PlainStorage:
    """State in memory, one record at a time."""

    def __init__(self) -> None:
        self.inner = MemoryStorage()

    async def read(self, grain_id: GrainId, state: str) -> StateRecord:
        return await self.inner.read(grain_id, state)

    async def write(
        self, grain_id: GrainId, state: str, payload: bytes, etag: str | None, schema: int = 1,
        stamp: Stamp | None = None,
    ) -> str:  # fmt: skip
        return await self.inner.write(grain_id, state, payload, etag, schema, stamp)

    async def clear(self, grain_id: GrainId, state: str, etag: str | None, stamp: Stamp | None = None) -> str | None:
        return await self.inner.clear(grain_id, state, etag, stamp)

    async def fence(self, silos: Collection[SiloAddress]) -> None:
        await self.inner.fence(silos)
