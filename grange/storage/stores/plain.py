"""Writes and clears as change sets of one: shared by every store that applies sets."""

from __future__ import annotations

from abc import ABC, abstractmethod

from grange.proto.ids import GrainId
from grange.storage.sets import ChangeSet, Committed, Stamp, Write


class PlainOperations(ABC):
    """`GrainStorage.write` and `clear` by `SetStorage.commit`."""

    @abstractmethod
    async def commit(self, changes: ChangeSet) -> Committed:
        """See `SetStorage.commit`."""

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
        committed = await self.commit(ChangeSet(stamp, (Write(grain_id, state, payload, etag, schema),)))
        stored = committed.etags[0]
        assert stored is not None
        return stored

    async def clear(self, grain_id: GrainId, state: str, etag: str | None, stamp: Stamp | None = None) -> str | None:
        """See `GrainStorage.clear`."""
        committed = await self.commit(ChangeSet(stamp, (Write(grain_id, state, None, etag),)))
        return committed.etags[0]
