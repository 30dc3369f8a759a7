"""Writes the rows of one silo to the table, in batches: a bounded queue, and one task that empties it."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Sequence

from grange.aio.backoff import Backoff
from grange.audit.provider import OPERATION_TIMEOUT, AuditTable
from grange.observability.events import Events
from grange.observability.security_events import AuditRowsLost, AuditTableAway, AuditTableBack
from grange.proto.acts import AuditRow

MOST_WAITING = 10_000
"""Rows that wait for the table. Further ones are lost for it, and counted; the log has them."""

BATCH = 200
"""Most rows in one operation."""

PAUSES = 0.5, 10.0
"""Seconds between two attempts while the table does not answer: the first pause, and the longest."""


class NotWritten(Exception):
    """A row was not in the table when it had to be. It may come there later. `number` is that of the row."""

    number = 0


class TableWriter:
    """Puts rows into the table in their order. `run` is the task, `close` ends it; its maker awaits both."""

    def __init__(self, table: AuditTable, events: Events, rng: random.Random) -> None:
        self._table = table
        self._events = events
        self._backoff = Backoff(*PAUSES, rng)
        self._queue: deque[tuple[AuditRow, asyncio.Future[None] | None]] = deque()
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._problem = ""
        self.lost = 0

    @property
    def waiting(self) -> int:
        """Rows that are not in the table yet."""
        return len(self._queue)

    def put(self, row: AuditRow) -> None:
        """Have the row written soon."""
        self._put(row, None)

    async def write(self, row: AuditRow) -> None:
        """Have the row written, and wait for it. Raises NotWritten, at once while the table does not answer."""
        written = asyncio.get_running_loop().create_future()
        if not self._put(row, written):
            raise NotWritten("too many rows wait for it")
        if self._problem:
            written.cancel()  # nothing waits for it: asyncio would report its error as one that was lost
            raise NotWritten(self._problem)
        try:
            async with asyncio.timeout(OPERATION_TIMEOUT):
                await written
        except TimeoutError:
            raise NotWritten(f"it did not answer within {OPERATION_TIMEOUT:g} s") from None

    async def run(self) -> None:
        """Write what is put, until the task is cancelled. A batch is repeated until the table has it."""
        while True:
            await self._filled.wait()
            try:
                await self._write_batch()
            except Exception as error:  # also of a provider of another package: the rows stay
                self._failed(error)
                await asyncio.sleep(self._backoff.pause())

    async def close(self, task: asyncio.Task[None], seconds: float) -> None:
        """Give `run` so many seconds to write what is left, and end its task. Rows that are left are lost."""
        try:
            async with asyncio.timeout(seconds):
                await self._emptied.wait()
        except TimeoutError:
            pass
        finally:
            task.cancel()
            await asyncio.wait({task})
            if self._queue:
                self._lose(len(self._queue))
                self._queue.clear()

    def _put(self, row: AuditRow, written: asyncio.Future[None] | None) -> bool:
        if len(self._queue) >= MOST_WAITING:
            self._lose(1)
            return False
        self._queue.append((row, written))
        self._filled.set()
        self._emptied.clear()
        return True

    async def _write_batch(self) -> None:
        batch = [self._queue[place] for place in range(min(BATCH, len(self._queue)))]
        await self._table.append([row for row, _ in batch])
        for _, written in batch:
            self._queue.popleft()
            if written is not None and not written.done():  # its task may have gone
                written.set_result(None)
        if not self._queue:
            self._filled.clear()
            self._emptied.set()
        self._backoff.reset()
        if self._problem:
            self._problem = ""
            self._events.publish(AuditTableBack(len(self._queue)))

    def _failed(self, error: Exception) -> None:
        if not self._problem:
            self._events.publish(AuditTableAway(str(error)), error)
        self._problem = str(error) or type(error).__name__
        self._refuse_waiting(self._queue)

    def _refuse_waiting(self, queue: Sequence[tuple[AuditRow, asyncio.Future[None] | None]]) -> None:
        for _, written in queue:
            if written is not None and not written.done():
                written.set_exception(NotWritten(self._problem))

    def _lose(self, rows: int) -> None:
        self.lost += rows
        self._events.publish(AuditRowsLost(rows, self.lost))
