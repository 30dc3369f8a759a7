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
    """Counts, for every counter, the acknowledged additions and those with an unknown outcome.

    `failure` is the first error that an addition may not meet. It ends every wait for more additions.
    """

    def __init__(self, client: Client, keys: list[str], may_fail: bool) -> None:
        self._client = client
        self._may_fail = may_fail
        self.keys = keys
        self.acknowledged: Tally[str] = Tally()
        self.unknown: Tally[str] = Tally()
        self.failure: Exception | None = None
        self._changed = asyncio.Condition()

    async def count_on(self, key: str) -> None:
        """Run one caller until cancelled, or until the load fails. No addition is repeated."""
        while self.failure is None:
            try:
                await self._client.get_grain(Counter, key).add()
                self.acknowledged[key] += 1
            except Exception as error:
                self._note(key, error)
            async with self._changed:
                self._changed.notify_all()

    def _note(self, key: str, error: Exception) -> None:
        if isinstance(error, CallOutcomeUnknown):
            self.unknown[key] += 1
        calls_end = isinstance(error, (CallNotExecuted, CallOutcomeUnknown, InconsistentStateError))
        if not (self._may_fail and calls_end) and self.failure is None:
            error.add_note(f"an addition to the counter {key!r} of the load met it")
            self.failure = error

    async def more(self, additions: int) -> None:
        """Wait until every counter has this many further acknowledged additions. Raises the load's failure at once."""
        before = Tally(self.acknowledged)

        def done() -> bool:
            return all(self.acknowledged[key] - before[key] >= additions for key in self.keys)

        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: self.failure is not None or done())
        if self.failure is not None:
            raise self.failure

    async def check(self) -> None:
        """Check that each total holds all acknowledged additions, and no addition that was not requested."""
        for key in self.keys:
            total = await self._client.get_grain(Counter, key).total()
            least, most = self.acknowledged[key], self.acknowledged[key] + self.unknown[key]
            assert least <= total <= most, f"{key}: {total} is not between {least} and {most}"


@asynccontextmanager
async def load(client: Client, keys: list[str], callers: int = 2, *, may_fail: bool = False) -> AsyncGenerator[Load]:
    """Run `callers` callers on every counter until the block ends, then check the totals.

    The first error of an addition is raised by `more`, and at the end. With `may_fail`, as when a silo is killed,
    additions may be refused, be fenced or have an unknown outcome; errors of another kind are still raised.
    """
    book = Load(client, keys, may_fail)
    tasks = [asyncio.create_task(book.count_on(key)) for key in keys for _ in range(callers)]
    try:
        yield book
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in (book.failure, *ended):
        if isinstance(error, Exception):
            raise error
    for key in keys:  # a cancelled call may have been on its way
        book.unknown[key] += callers
    await book.check()
