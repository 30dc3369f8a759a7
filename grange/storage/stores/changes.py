"""Gathers change sets before they are sent to a database: one statement applies all that wait.

Called by the database providers. While a statement is under way, sets gather; the next statement applies them all. So
one round trip and one wait for the disk serve many grains. Under low load nothing gathers and nothing waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

from grange.aio.awake import AwakeOrder
from grange.errors import StorageError, StorageUnavailable, WriteOutcomeUnknown
from grange.proto.ids import GrainId
from grange.storage.sets import ChangeSet, Committed, Write

log = logging.getLogger("grange.storage")

Name = tuple[str, str, str]
"""Grain type, key and state name: a record within its service."""

_MAX_SETS = 500
_MAX_BYTES = 4 * 1024 * 1024
"""Bounds of one batch, in sets and in bytes; a batch ends with the set that reaches a bound."""


class QueuedSet:
    """A change set on its way. `done` becomes its outcome, or None when an item of the set did not hold.

    `plain` is the only item of a set of one write without index entries: most sets are such, and cost less. `names` are
    the records, answers and reminders of the set. `left` is True from the moment that it may reach the database.
    """

    __slots__ = ("changes", "done", "left", "names", "plain", "size")

    def __init__(self, changes: ChangeSet) -> None:
        self.changes = changes
        self.plain = plain_write(changes)
        if self.plain is not None:
            grain = self.plain.grain_id
            self.names: tuple[tuple[str, ...], ...] = ((grain.type, grain.key, self.plain.state),)
            self.size = len(self.plain.payload or b"")
        else:
            self.names, self.size = _names(changes), _size(changes)
        self.left = False
        self.done: asyncio.Future[Committed | None] = asyncio.get_running_loop().create_future()

    def __str__(self) -> str:
        return description(self.changes)

    def end(self, outcome: Committed | None) -> None:
        """Give the outcome to the waiting caller; None: an item did not hold."""
        if not self.done.done():
            self.done.set_result(outcome)

    def fail(self, error: StorageError) -> None:
        """Raise an error of this kind in the waiting caller, with the record named."""
        if not self.done.done():
            named = type(error)(f"{self}: {error}")
            named.__cause__ = error
            self.done.set_exception(named)


def plain_write(changes: ChangeSet) -> Write | None:
    """The write of a set that holds nothing else; None for any other set.

    A clear of a record that was never written stores nothing, so it is no such write.
    """
    if len(changes.writes) != 1 or changes.checks or changes.received or changes.reminders or changes.appends:
        return None
    write = changes.writes[0]
    if write.index or write.events or (write.payload is None and write.etag is None):
        return None
    return write


def description(changes: ChangeSet) -> str:
    """The first item of a set, and how many others it has. For error texts."""
    items: list[str] = []
    for write in changes.writes[:1]:
        items.append(f"{'clear' if write.payload is None else 'write'} of state {write.state!r} of {write.grain_id}")
    if not items:
        items += [f"answer {item.id!r} of {item.grain_id}" for item in changes.received[:1]]
        items += [f"reminder {change.name!r} of {change.grain_id}" for change in changes.reminders[:1]]
        items += [f"check of state {check.state!r} of {check.grain_id}" for check in changes.checks[:1]]
    count = sum(map(len, (changes.writes, changes.checks, changes.received, changes.reminders)))
    others = f" (a set of {count} items)" if count > 1 else ""
    return f"{items[0]}{others}" if items else "an empty change set"


def _names(changes: ChangeSet) -> tuple[tuple[str, ...], ...]:
    def of(kind: tuple[str, ...], grain_id: GrainId, name: str) -> tuple[str, ...]:
        return (*kind, grain_id.type, grain_id.key, name)

    return (
        *(of((), write.grain_id, write.state) for write in changes.writes),
        *(of((), check.grain_id, check.state) for check in changes.checks),
        *(of(("answer",), item.grain_id, item.id) for item in changes.received),
        *(of(("reminder",), change.grain_id, change.name) for change in changes.reminders),
    )


def _size(changes: ChangeSet) -> int:
    payloads = sum(len(write.payload or b"") for write in changes.writes)
    answers = sum(len(item.result) for item in changes.received)
    return payloads + answers + sum(len(change.row.entry) for change in changes.reminders if change.row is not None)


class Sending:
    """Whether an operation was sent. Once `began`, a lost connection leaves the outcome of a change unknown."""

    __slots__ = ("began",)

    def __init__(self) -> None:
        self.began = False

    def begin(self, batch: Sequence[QueuedSet]) -> list[QueuedSet]:
        """The sets of a batch that a caller still waits for; from now on they may reach the database.

        A provider calls this right before it sends and awaits nothing in between. A set that timed out while the
        batch waited for a connection is left out: its caller got the error that it is certainly not stored.
        """
        self.began = True
        wanted = [queued for queued in batch if not queued.done.done()]
        for queued in wanted:
            queued.left = True
        return wanted

    @property
    def lost(self) -> type[StorageError]:
        """The error for a connection or an answer that is lost now."""
        return WriteOutcomeUnknown if self.began else StorageUnavailable


class ChangeQueue:
    """Hands change sets to `store` in batches, on at most `lanes` tasks at a time; `flush` awaits them.

    `store` gets sets without a common record, answer or reminder, and returns the outcome of each that it applied. A
    set that is missing in the answer was refused: an item did not hold. An error from `store` fails every set of the
    batch that `store` has not ended itself. Right before `store` sends a batch it must call `Sending.begin` and send
    only the sets that this returns.
    """

    def __init__(
        self,
        store: Callable[[Sequence[QueuedSet]], Awaitable[Mapping[QueuedSet, Committed]]],
        lanes: int,
        timeout: float,
    ) -> None:
        self._store = store
        self._lanes = lanes
        self._timeout = timeout
        self._timeouts = AwakeOrder(timeout, self._give_up)
        self._waiting: deque[QueuedSet] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, changes: ChangeSet) -> Committed | None:
        """Apply a set; its outcome, or None when an item did not hold.

        After `timeout` seconds it raises StorageUnavailable if its batch was not sent yet: the set is then certainly
        not applied. If the batch was sent, it raises WriteOutcomeUnknown.
        """
        queued = QueuedSet(changes)
        self._waiting.append(queued)
        if len(self._tasks) < self._lanes:
            self._tasks.add(asyncio.create_task(self._store_waiting(), name="grange-storage-changes"))
        self._timeouts.add(queued)
        try:
            return await queued.done
        finally:
            self._timeouts.discard(queued)

    def _give_up(self, queued: QueuedSet) -> None:
        """The time of a set is over."""
        if not queued.done.done():
            lost = WriteOutcomeUnknown if queued.left else StorageUnavailable
            queued.done.set_exception(lost(f"{queued}: the database did not answer within {self._timeout} s"))

    async def flush(self) -> None:
        """Wait until every set submitted so far has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _store_waiting(self) -> None:
        batch: list[QueuedSet] = []
        try:
            while batch := next_batch(self._waiting, self._lanes):
                await self._store_batch(batch)
        finally:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.discard(task)
            # Sets are left only when this task was cancelled. Their callers must not wait on.
            leftovers = batch if self._tasks else [*batch, *self._waiting]
            for queued in leftovers:
                queued.done.cancel()

    async def _store_batch(self, batch: list[QueuedSet]) -> None:
        try:
            stored = await self._store(batch)
        except StorageError as error:
            for queued in batch:
                queued.fail(error)
        except Exception as error:  # a defect of the driver or of the provider: the outcome of the batch is unknown
            log.exception("a batch of %d change sets failed", len(batch), extra={"event": "storage_batch_failed"})
            for queued in batch:
                queued.fail(WriteOutcomeUnknown(f"the storage provider failed: {error!r}"))
        else:
            for queued in batch:
                queued.end(stored.get(queued))


def next_batch(waiting: deque[QueuedSet], lanes: int = 1) -> list[QueuedSet]:
    """Take the oldest sets, each record, answer and reminder once: a second set of one waits for the next batch.

    With several lanes only a share is taken, so that all lanes have work. Sets without a waiting caller (timed out,
    cancelled) are dropped: certainly not applied.
    """
    batch: list[QueuedSet] = []
    names: set[tuple[str, ...]] = set()
    later: list[QueuedSet] = []
    limit = min(_MAX_SETS, (len(waiting) + lanes - 1) // lanes)
    size = 0
    while waiting and len(batch) < limit and size < _MAX_BYTES:
        queued = waiting.popleft()
        if queued.done.done():
            continue
        if not names.isdisjoint(queued.names):
            # The names of a set that waits are taken too: the sets of one record keep their order.
            names.update(queued.names)
            later.append(queued)
            continue
        names.update(queued.names)
        batch.append(queued)
        size += queued.size
    waiting.extendleft(reversed(later))
    return batch
