"""Many callers that add to several counters, and record the answers."""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from grange import CallNotExecuted, CallOutcomeUnknown, InconsistentStateError
from grange.client import Client
from tests.processes.counters import Counter
from tests.processes.silo_process import PATIENCE


class Load:
    """Counts, for every counter, the acknowledged additions and those with an unknown outcome."""

    def __init__(self, client: Client, keys: list[str]) -> None:
        self._client = client
        self.keys = keys
        self.acknowledged: Tally[str] = Tally()
        self.unknown: Tally[str] = Tally()
        self.errors: list[Exception] = []
        self._changed = asyncio.Condition()

    async def count_on(self, key: str) -> None:
        """Run one caller until cancelled. Refused and unknown additions are counted and not repeated."""
        while True:
            try:
                await self._client.get_grain(Counter, key).add()
                self.acknowledged[key] += 1
            except (CallNotExecuted, InconsistentStateError) as error:  # certainly not stored
                self.errors.append(error)
            except CallOutcomeUnknown as error:
                self.unknown[key] += 1
                self.errors.append(error)
            async with self._changed:
                self._changed.notify_all()

    async def more(self, additions: int) -> None:
        """Wait until every counter has this many further acknowledged additions."""
        before = Tally(self.acknowledged)
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(
                lambda: all(self.acknowledged[key] - before[key] >= additions for key in self.keys)
            )

    async def check(self) -> None:
        """Check that each total holds all acknowledged additions, and no addition that was not requested."""
        for key in self.keys:
            total = await self._client.get_grain(Counter, key).total()
            least, most = self.acknowledged[key], self.acknowledged[key] + self.unknown[key]
            assert least <= total <= most, f"{key}: {total} is not between {least} and {most}"


@asynccontextmanager
async def load(client: Client, keys: list[str], callers: int = 2) -> AsyncGenerator[Load]:
    """Run `callers` callers on every counter until the block ends, then check the totals."""
    book = Load(client, keys)
    tasks = [asyncio.create_task(book.count_on(key)) for key in keys for _ in range(callers)]
    try:
        yield book
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error
    for key in keys:  # a cancelled call may have been on its way
        book.unknown[key] += callers
    await book.check()
