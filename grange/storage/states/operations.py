"""Runs the storage operations of one state: one at a time, in order of request, equal neighbours joined into one.

Called by `state.py` only. Each caller waits on a future of its own while one task of this queue performs the
operations. So a cancelled caller never cancels an operation that other callers wait for, or whose outcome the state
must learn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum


class Kind(Enum):
    """The kinds of storage operations."""

    READ = "read"
    WRITE = "write"
    CLEAR = "clear"
    SET = "set"
    """The changes of a turn, of several states together (`work.py`)."""


class Operation:
    """One storage operation and the callers that wait for it.

    `after` is, for a read, the write or clear that was pending at the request: if that succeeds, memory and storage
    agree and nothing is read. `carry_out` performs it, if the queue does not.
    """

    __slots__ = ("after", "carry_out", "kind", "succeeded", "waiters")

    def __init__(
        self, kind: Kind, after: Operation | None, carry_out: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self.kind = kind
        self.carry_out = carry_out
        self.after = after
        self.succeeded = False
        self.waiters: list[asyncio.Future[None]] = []

    @property
    def is_needed(self) -> bool:
        """Whether it must be performed; False for a read after a successful write or clear."""
        return self.after is None or not self.after.succeeded


class OperationQueue:
    """Runs the operations of one state. Its task lives while there is work; `close` awaits it.

    `perform` does the storage call and updates the state's memory. Its error is raised in all callers that were joined
    into the operation.
    """

    # There is one queue per state of every activation, so its size matters: no dictionary, no deque.
    __slots__ = ("_closed", "_perform", "_running", "_task", "_waiting")

    def __init__(self, perform: Callable[[Kind], Awaitable[None]]) -> None:
        self._perform = perform
        self._waiting: list[Operation] = []
        self._running: Operation | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def request(self, kind: Kind) -> None:
        """Perform an operation, or share one of the same kind that waits last in the queue.

        If the caller is cancelled while the operation waits and no other caller wants it, the operation is dropped:
        it is certainly not performed. A started operation continues. Raises the errors of `perform`, and RuntimeError
        after `close`.
        """
        self._check_open(kind)
        await self._wait_for(self._join_or_append(kind))

    async def run(self, carry_out: Callable[[], Awaitable[None]]) -> None:
        """Perform an operation of several states behind those that wait. Otherwise as `request`."""
        self._check_open(Kind.SET)
        operation = Operation(Kind.SET, None, carry_out)
        self._waiting.append(operation)
        await self._wait_for(operation)

    @property
    def busy(self) -> bool:
        """Whether an operation is under way."""
        return self._task is not None

    async def settle(self) -> None:
        """Wait until the operations under way have ended."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def _check_open(self, kind: Kind) -> None:
        if self._closed:
            raise RuntimeError(f"cannot {kind.value} this state: its activation has ended")

    async def _wait_for(self, operation: Operation) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        operation.waiters.append(waiter)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="grange-state-operations")
        try:
            await waiter
        except asyncio.CancelledError:
            self._remove_waiter(operation, waiter)
            raise

    async def close(self) -> None:
        """Accept no more requests and wait until those accepted have ended."""
        self._closed = True
        await self.settle()

    def _join_or_append(self, kind: Kind) -> Operation:
        if self._waiting and self._waiting[-1].kind is kind:
            return self._waiting[-1]
        operation = Operation(kind, self._pending_change() if kind is Kind.READ else None)
        self._waiting.append(operation)
        return operation

    def _pending_change(self) -> Operation | None:
        pending = (*reversed(self._waiting), self._running)
        return next((each for each in pending if each is not None and each.kind is not Kind.READ), None)

    def _remove_waiter(self, operation: Operation, waiter: asyncio.Future[None]) -> None:
        if waiter in operation.waiters:
            operation.waiters.remove(waiter)
        if not operation.waiters and operation in self._waiting:
            self._waiting.remove(operation)

    async def _run(self) -> None:
        try:
            while self._waiting:
                self._running = self._waiting.pop(0)
                await self._run_one(self._running)
                self._running = None
        finally:
            self._task = None
            self._cancel_leftovers()

    async def _run_one(self, operation: Operation) -> None:
        try:
            if operation.is_needed:
                await (self._perform(operation.kind) if operation.carry_out is None else operation.carry_out())
        except Exception as error:  # not swallowed: raised in every waiter
            _settle(operation, error)
        else:
            operation.succeeded = True
            _settle(operation, None)

    def _cancel_leftovers(self) -> None:
        # Operations are left only when this task was cancelled, as at the end of a loop: release their callers.
        leftovers = [*self._waiting, *([self._running] if self._running else [])]
        self._waiting.clear()
        self._running = None
        for operation in leftovers:
            for waiter in operation.waiters:
                waiter.cancel()


def _settle(operation: Operation, error: Exception | None) -> None:
    for waiter in operation.waiters:
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
    operation.waiters.clear()
    operation.after = None
