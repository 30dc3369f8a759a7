"""Many callers that count on several counters, and keep book of what they were told."""

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
    """What is known of every counter: additions acknowledged, and those of which nothing is known."""

    def __init__(self, client: Client, keys: list[str]) -> None:
        self._client = client
        self.keys = keys
        self.acknowledged: Tally[str] = Tally()
        self.unknown: Tally[str] = Tally()
        self.errors: list[Exception] = []
        self._changed = asyncio.Condition()

    async def count_on(self, key: str) -> None:
        """One caller, for ever: what is refused or unknown is noted and not repeated."""
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
        """Wait until every counter has been acknowledged so many additions more."""
        before = Tally(self.acknowledged)
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(
                lambda: all(self.acknowledged[key] - before[key] >= additions for key in self.keys)
            )

    async def check(self) -> None:
        """Nothing acknowledged is lost, and nothing is there that nobody asked for."""
        for key in self.keys:
            total = await self._client.get_grain(Counter, key).total()
            least, most = self.acknowledged[key], self.acknowledged[key] + self.unknown[key]
            assert least <= total <= most, f"{key}: {total} is not between {least} and {most}"


@asynccontextmanager
async def load(client: Client, keys: list[str], callers: int = 2) -> AsyncGenerator[Load]:
    """`callers` callers on every counter, until the block ends; then the totals are checked."""
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
