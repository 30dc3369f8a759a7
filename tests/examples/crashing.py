"""A storage that fails on request."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

from grange import StorageUnavailable
from grange.proto.ids import GrainId
from grange.storage.memory import MemoryStorage
from grange.storage.sets import ChangeSet, Committed

Hook = Callable[[GrainId], Awaitable[None]]


async def nothing(grain_id: GrainId) -> None:
    """Let the change pass."""


class Unreliable(MemoryStorage):
    """Awaits `before` and `after` around each change of a grain, with its id. Their errors fail the change."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Hook = nothing
        self.after: Hook = nothing
        self.writes = 0

    async def commit(self, changes: ChangeSet) -> Committed:
        grains = dict.fromkeys(change.grain_id for change in (*changes.writes, *changes.reminders))
        for grain_id in grains:
            await self.before(grain_id)
        committed = await super().commit(changes)
        self.writes += len(changes.writes)
        for grain_id in grains:
            await self.after(grain_id)
        return committed

    def fail_at_random(self, rng: random.Random, share: float) -> None:
        """Make this share of changes fail from now on, half of them after they were stored."""

        async def fail(grain_id: GrainId) -> None:
            if rng.random() < share / 2:
                raise StorageUnavailable(f"no answer for {grain_id}")

        self.before = self.after = fail
