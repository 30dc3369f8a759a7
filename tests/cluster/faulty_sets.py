"""A memory storage whose commits are recorded, fail, lose their answers or wait."""

from __future__ import annotations

import asyncio

from grange import WriteOutcomeUnknown
from grange.proto.ids import GrainId
from grange.storage.memory import MemoryStorage
from grange.storage.sets import ChangeSet, Committed


class FaultySets(MemoryStorage):
    """`before` is raised before a commit, `after` once it is applied; `lost` commits are applied without an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.sets: list[ChangeSet] = []
        self.looks: list[str] = []
        self.before: BaseException | None = None
        self.after: BaseException | None = None
        self.lost = 0
        self.gate: asyncio.Event | None = None
        self.waits = asyncio.Event()

    async def commit(self, changes: ChangeSet) -> Committed:
        self.sets.append(changes)
        if self.gate is not None:
            self.waits.set()
            await self.gate.wait()
        if self.before is not None:
            raise self.before
        committed = await super().commit(changes)
        if self.lost:
            self.lost -= 1
            raise WriteOutcomeUnknown("the answer was lost")
        if self.after is not None:
            raise self.after
        return committed

    async def received(self, grain_id: GrainId, id: str) -> bytes | None:
        self.looks.append(id)
        return await super().received(grain_id, id)

    async def stored(self, grain_id: GrainId, state: str) -> str | None:
        """The payload of a record as text."""
        payload = (await self.read(grain_id, state)).payload
        return None if payload is None else payload.decode()
