"""Gathers writes and clears before they are sent to a database: one statement stores all that wait.

Called by the database providers. While a statement is under way, changes gather; the next statement stores them all. So
one round trip and one wait for the disk serve many grains. Under low load nothing gathers and nothing waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

from grange.aio.awake import AwakeOrder
from grange.errors import StorageError, StorageUnavailable, WriteOutcomeUnknown
from grange.proto.ids import SiloAddress
from grange.storage.sets import Stamp

log = logging.getLogger("grange.storage")

Name = tuple[str, str, str]
"""Grain type, key and state name: a record within its service."""

_MAX_CHANGES = 500
_MAX_BYTES = 4 * 1024 * 1024
"""Bounds of one batch, in changes and in bytes; a batch ends with the change that reaches a bound."""


class Change:
    """One write, or one clear (payload None), of one record.

    `etag` is the counter that must be stored now (0: no record). `done` becomes the new counter, or None when another
    counter was stored or the writer was fenced. `left` is True from the moment that the change may reach the database.
    """

    __slots__ = ("done", "etag", "left", "name", "payload", "schema", "stamp")

    def __init__(
        self,
        name: Name,
        payload: str | None,
        etag: int,
        schema: int | None = None,
        stamp: Stamp | None = None,
    ) -> None:
        self.name = name
        self.payload = payload
        self.etag = etag
        self.schema = schema
        self.stamp = stamp
        self.left = False
        self.done: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    @property
    def writer(self) -> SiloAddress | None:
        """The silo that makes the change; None: no silo, so the change cannot be fenced."""
        return None if self.stamp is None else self.stamp.writer

    def __str__(self) -> str:
        kind, key, state = self.name
        return f"{'clear' if self.payload is None else 'write'} of state {state!r} of {kind}/{key}"

    def fail(self, error: StorageError) -> None:
        """Raise an error of this kind in the waiting caller, with the record named."""
        if not self.done.done():
            named = type(error)(f"{self}: {error}")
            named.__cause__ = error
            self.done.set_exception(named)


class Sending:
    """Whether an operation was sent. Once `began`, a lost connection leaves the outcome of a change unknown."""

    __slots__ = ("began",)

    def __init__(self) -> None:
        self.began = False

    def begin(self, batch: Sequence[Change]) -> list[Change]:
        """The changes of a batch that a caller still waits for; from now on they may reach the database.

        A provider calls this right before it sends and awaits nothing in between. A change that timed out while the
        batch waited for a connection is left out: its caller got the error that it is certainly not stored.
        """
        self.began = True
        wanted = [change for change in batch if not change.done.done()]
        for change in wanted:
            change.left = True
        return wanted

    @property
    def lost(self) -> type[StorageError]:
        """The error for a connection or an answer that is lost now."""
        return WriteOutcomeUnknown if self.began else StorageUnavailable


class ChangeQueue:
    """Hands changes to `store` in batches, on at most `lanes` tasks at a time; `flush` awaits them.

    `store` gets changes of different records by one writer and returns the new counter of each that it stored. A change
    that is missing in the answer named the wrong etag, or its writer was fenced. An error from `store` fails every
    change of the batch that `store` has not failed itself. Right before `store` sends a batch it must call
    `Sending.begin` and send only the changes that this returns.
    """

    def __init__(
        self, store: Callable[[Sequence[Change]], Awaitable[Mapping[Name, int]]], lanes: int, timeout: float
    ) -> None:
        self._store = store
        self._lanes = lanes
        self._timeout = timeout
        self._timeouts = AwakeOrder(timeout, self._give_up)
        self._waiting: deque[Change] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, change: Change) -> int | None:
        """Store a change; its new counter, or None when its etag was not the stored one.

        After `timeout` seconds it raises StorageUnavailable if its batch was not sent yet: the change is then certainly
        not stored. If the batch was sent, it raises WriteOutcomeUnknown.
        """
        self._waiting.append(change)
        if len(self._tasks) < self._lanes:
            self._tasks.add(asyncio.create_task(self._store_waiting(), name="grange-storage-changes"))
        self._timeouts.add(change)
        try:
            return await change.done
        finally:
            self._timeouts.discard(change)

    def _give_up(self, change: Change) -> None:
        """The time of a change is over."""
        if not change.done.done():
            lost = WriteOutcomeUnknown if change.left else StorageUnavailable
            change.done.set_exception(lost(f"{change}: the database did not answer within {self._timeout} s"))

    async def flush(self) -> None:
        """Wait until every change submitted so far has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _store_waiting(self) -> None:
        batch: list[Change] = []
        try:
            while batch := next_batch(self._waiting, self._lanes):
                await self._store_batch(batch)
        finally:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.discard(task)
            # Changes are left only when this task was cancelled. Their callers must not wait on.
            leftovers = batch if self._tasks else [*batch, *self._waiting]
            for change in leftovers:
                change.done.cancel()

    async def _store_batch(self, batch: list[Change]) -> None:
        try:
            stored = await self._store(batch)
        except StorageError as error:
            for change in batch:
                change.fail(error)
        except Exception as error:  # a defect of the driver or of the provider: the outcome of the batch is unknown
            log.exception("a batch of %d changes failed", len(batch), extra={"event": "storage_batch_failed"})
            for change in batch:
                change.fail(WriteOutcomeUnknown(f"the storage provider failed: {error!r}"))
        else:
            for change in batch:
                if not change.done.done():
                    change.done.set_result(stored.get(change.name))


def next_batch(waiting: deque[Change], lanes: int = 1) -> list[Change]:
    """Take the oldest changes of one writer, each record once: a second change of one record waits for the next batch.

    With several lanes only a share is taken, so that all lanes have work. Changes without a waiting caller (timed out,
    cancelled) are dropped: certainly not stored.
    """
    batch: dict[Name, Change] = {}
    later: list[Change] = []
    limit = min(_MAX_CHANGES, (len(waiting) + lanes - 1) // lanes)
    size, writer = 0, None
    while waiting and len(batch) < limit and size < _MAX_BYTES:
        change = waiting.popleft()
        if change.done.done():
            continue
        if change.name in batch or (batch and change.writer != writer):
            later.append(change)
            continue
        writer = change.writer
        batch[change.name] = change
        size += len(change.payload or "")
    waiting.extendleft(reversed(later))
    return list(batch.values())
