"""A memory storage that counts its operations, and delays or fails them on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

from grange.errors import StorageUnavailable, WriteOutcomeUnknown
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.memory import MemoryStorage
from grange.storage.provider import StateRecord
from grange.storage.sets import Stamp

T = TypeVar("T")


class FaultyStorage:
    """Counts in `calls`; raises `fail_before` and `fail_after` once; while `gate` is set, operations wait.

    While `down` is set, every operation fails. The next `lost` changes are applied and their answers lost.
    """

    def __init__(self) -> None:
        self.inner = MemoryStorage()
        self.calls: list[str] = []
        self.fail_before: Exception | None = None
        self.fail_after: Exception | None = None
        self.down = False
        self.lost = 0
        self.gate: asyncio.Event | None = None
        self.started = asyncio.Event()

    async def read(self, grain_id: GrainId, state: str) -> StateRecord:
        return await self._run("read", lambda: self.inner.read(grain_id, state))

    async def write(
        self,
        grain_id: GrainId,
        state: str,
        payload: bytes,
        etag: str | None,
        schema: int = 1,
        stamp: Stamp | None = None,
    ) -> str:
        return await self._run("write", lambda: self.inner.write(grain_id, state, payload, etag, schema, stamp))

    async def clear(self, grain_id: GrainId, state: str, etag: str | None, stamp: Stamp | None = None) -> str | None:
        return await self._run("clear", lambda: self.inner.clear(grain_id, state, etag, stamp))

    async def fence(self, silos: Collection[SiloAddress]) -> None:
        await self._run("fence", lambda: self.inner.fence(silos))

    async def fenced_generation(self, endpoint: str) -> int:
        return await self._run("fenced_generation", lambda: self.inner.fenced_generation(endpoint))

    def hold(self) -> asyncio.Event:
        """Make operations wait until the returned event is set."""
        self.gate = asyncio.Event()
        self.started.clear()
        return self.gate

    async def _run(self, verb: str, operation: Callable[[], Awaitable[T]]) -> T:
        self.calls.append(verb)
        self.started.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            raise StorageUnavailable(f"{verb}: no server listens")
        error, self.fail_before = self.fail_before, None
        if error is not None:
            raise error
        result = await operation()
        if verb in {"write", "clear"} and self.lost > 0:
            self.lost -= 1
            raise WriteOutcomeUnknown(f"{verb}: the answer was lost")
        error, self.fail_after = self.fail_after, None
        if error is not None:
            raise error
        return result
