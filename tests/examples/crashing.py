"""A storage that fails on request."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Collection

from grange import StorageUnavailable
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.provider import StateRecord
from grange.storage.sets import Stamp
from grange.storage.stores.memory import MemoryStorage

Hook = Callable[[GrainId], Awaitable[None]]


async def nothing(grain_id: GrainId) -> None:
    """Let the write pass."""


class Unreliable:
    """Awaits `before` and `after` around each write, with the grain's id. Their errors fail the write."""

    def __init__(self) -> None:
        self.inner = MemoryStorage()
        self.before: Hook = nothing
        self.after: Hook = nothing
        self.writes = 0

    async def read(self, grain_id: GrainId, state: str) -> StateRecord:
        return await self.inner.read(grain_id, state)

    async def write(
        self,
        grain_id: GrainId,
        state: str,
        payload: bytes,
        etag: str | None,
        schema: int = 1,
        stamp: Stamp | None = None,
    ) -> str:
        await self.before(grain_id)
        written = await self.inner.write(grain_id, state, payload, etag, schema, stamp)
        self.writes += 1
        await self.after(grain_id)
        return written

    async def clear(self, grain_id: GrainId, state: str, etag: str | None, stamp: Stamp | None = None) -> str | None:
        return await self.inner.clear(grain_id, state, etag, stamp)

    async def fence(self, silos: Collection[SiloAddress]) -> None:
        await self.inner.fence(silos)

    def fail_at_random(self, rng: random.Random, share: float) -> None:
        """Make this share of writes fail from now on, half of them after they were stored."""

        async def fail(grain_id: GrainId) -> None:
            if rng.random() < share / 2:
                raise StorageUnavailable(f"no answer for {grain_id}")

        self.before = self.after = fail
