"""One live enumeration: the generator of a streamed method, whose items its caller fetches.

The generator runs in a task of its own, from its first step to its end, beside the turns of its activation. It runs
only while a fetch waits for items, and at most to the next item after that. A fetch takes what is ready: the items that
the generator yields without waiting, up to a bound. If there is none for a while, it takes none, as a sign of life.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from contextvars import copy_context
from typing import Any, NoReturn, Protocol

from grange.aio.interrupts import is_ctrl_c
from grange.aio.tasks import Tasks
from grange.grains.context import context_values
from grange.grains.items import HIDDEN, HOLD_SHARE, MOST_ITEMS, State
from grange.observability.counters import TypeFigures
from grange.proto.ids import GrainId
from grange.runtime.options import RuntimeOptions
from grange.runtime.requests.invocation import log_cancelled_failure
from grange.runtime.requests.plan import Batch, StreamPlan

BATCH_BYTES = 256 * 1024
"""Bytes of items after which a batch is full, and the most of several items. Larger ones make other messages wait."""

SLICE = 0.005
"""Seconds after its first item when a batch is full, because the generator has held the event loop for so long."""

MOST_NOTE = 200
"""Characters of the reason that a caller gets."""


class Deps(Protocol):
    """What an enumeration needs of its silo (`deps.py`)."""

    @property
    def options(self) -> RuntimeOptions:
        """The bounds."""
        ...

    @property
    def tasks(self) -> Tasks:
        """Owns the tasks of the generators."""
        ...

    def new_number(self) -> int:
        """A random number of an enumeration, below 2 to the 53: JSON carries it exactly."""
        ...


class Enumerating(Protocol):
    """The activation of an enumeration."""

    grain_id: GrainId

    @property
    def deps(self) -> Deps:
        """The parts that all activations of this silo share."""
        ...

    @property
    def figures(self) -> TypeFigures:
        """The figures of its grain type."""
        ...

    @property
    def takes_enumerations(self) -> bool:
        """Whether it is active and does not end."""
        ...

    def enumeration_ended(self) -> None:
        """One of its enumerations is gone."""
        ...

    def failed(self, error: BaseException) -> None:
        """An error has left the grain's code."""
        ...


class Enumeration:
    """One live enumeration. `fetched_at`: loop time of its last fetch; infinite while one waits.

    is_over: its end is known to the caller, or no caller will ask. It is removed when its code has ended too.
    principal: the identity of the caller that began it.
    """

    def __init__(
        self,
        activation: Enumerating,
        plan: StreamPlan,
        items: AsyncGenerator[Any, None],
        number: int,
        caller: str,
        remove: Callable[[Enumeration], None],
    ) -> None:
        self.activation = activation
        self.number = number
        self.caller = caller
        self.principal = b""
        self.is_over = False
        self._plan = plan
        self._generator = items
        self._remove = remove
        self._loop = asyncio.get_running_loop()
        self.fetched_at = self._loop.time()
        self._items: list[bytes] = []
        self._size = 0
        self._since = 0.0  # when the first of these came
        self._most = MOST_ITEMS
        self._note = ""
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None  # the fetch that waits
        self._wanted = False  # whether a fetch waits for items, so that the generator runs on
        self._resume: asyncio.Future[None] | None = None  # the generator's task, while it must not run on
        self._has_ended = False
        self._is_closing = False  # a caller waits for the end of the code
        self.task = activation.deps.tasks.start(self._run(), copy_context())
        self.task.add_done_callback(self._on_ended)

    async def fetch(self, most: int) -> Batch:
        """The items that are ready, at most `most`; wait for the first. Raises the generator's error after the last."""
        if self._waiter is not None:
            return Batch(self.number, State.ABORTED, [], "two fetches at once")
        self._most = most
        if not self._has_ended:
            waiter = self._waiter = self._loop.create_future()
            sign_of_life = self._loop.call_later((self._plan.timeout or 0.0) * HOLD_SHARE, self._wake)
            self._want()
            self.fetched_at = math.inf
            try:
                await waiter
            except asyncio.CancelledError:
                self.abandon("its caller was cancelled")
                raise
            finally:
                sign_of_life.cancel()
                self._waiter = None
        self._wanted = False
        self.fetched_at = self._loop.time()
        return self._take()

    def waits_at(self, future: asyncio.Future[Any]) -> bool:
        """Whether its fetch waits for items at this future."""
        return self._waiter is future

    def abandon(self, reason: str) -> None:
        """End it. A fetch that waits is told the reason; there is no further one."""
        if not self._has_ended and not self._note:
            self._note = reason[:MOST_NOTE]
            self.task.cancel()
            self._wake()
        self._end()
        if self._has_ended:
            self._error = None  # no caller has asked for it; else it and this object form a cycle

    async def close(self) -> None:
        """End it, and wait for the end of its code. Raises the error that its clean-up raises.

        An error from before belongs to an item that its caller has not asked for.
        """
        self._is_closing = not self.task.done()
        self.abandon("its caller has closed it")
        if self._is_closing:
            try:
                await asyncio.wait({self.task})
            finally:
                self._is_closing = False
            if isinstance(self._error, Exception):
                self._raise_error()
            self._error = None

    async def _run(self) -> None:
        """Run the generator in the context of its call, and keep the error that leaves it."""
        context_values.set({key: value for key, value in context_values.get().items() if not key.startswith(HIDDEN)})
        try:
            async with aclosing(self._generator) as items:
                await self._produce(items)
        except BaseException as error:
            self._error = error
            self.activation.failed(error)
            if is_ctrl_c(error):
                raise

    async def _produce(self, items: AsyncGenerator[Any, None]) -> None:
        """Run the generator up to the next item after those that are wanted."""
        async for item in items:
            if self._note:
                break  # it has swallowed its cancellation
            self._add(self._plan.encode_item(item))
            while not self._wanted:
                await self._pause()

    async def _pause(self) -> None:
        self._resume = self._loop.create_future()
        try:
            await self._resume
        finally:
            self._resume = None

    def _want(self) -> None:
        """Have the generator run on; if items are ready already, take those that come with them at once."""
        if not self._is_full:
            self._wanted = True
            if self._resume is not None and not self._resume.done():
                self._resume.set_result(None)
        if self._items:
            self._since = self._loop.time()
            self._loop.call_soon(self._wake_if_ready)

    def _add(self, item: bytes) -> None:
        if not self._items:
            self._since = self._loop.time()
            self._loop.call_soon(self._wake_if_ready)  # when the generator waits, if the batch is not full before
        self._items.append(item)
        self._size += len(item)
        if self._is_full or self._loop.time() - self._since >= SLICE:
            self._wake()

    @property
    def _is_full(self) -> bool:
        return len(self._items) >= self._most or self._size >= BATCH_BYTES

    def _wake_if_ready(self) -> None:
        if self._items:
            self._wake()

    def _wake(self) -> None:
        """Have the fetch that waits take what is there. The generator stops at its next item."""
        self._wanted = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _take(self) -> Batch:
        """The next items. Those that one batch cannot hold stay for the next fetch."""
        items, self._items = self._items, []
        if len(items) > self._most or (self._size > BATCH_BYTES and len(items) > 1):
            count = _fitting(items, self._most)
            items, self._items = items[:count], items[count:]
        self._size = sum(map(len, self._items))
        self.activation.figures.items += len(items)
        if self._note:
            self._end()
            return Batch(self.number, State.ABORTED, items, self._note)
        if self._items or not self._has_ended or (self._error is not None and items):
            return Batch(self.number, State.MORE, items)
        self._end()
        if self._error is not None:
            self._raise_error()
        return Batch(self.number, State.ENDED, items)

    def _raise_error(self) -> NoReturn:
        try:
            assert self._error is not None
            raise self._error
        finally:
            self._error = None  # else the error and this object form a cycle

    def _end(self) -> None:
        """The caller knows the end, or will not ask for it."""
        if not self.is_over:
            self.is_over = True
            if self._has_ended:
                self._remove(self)

    def _on_ended(self, _: asyncio.Task[None]) -> None:
        """The code of the generator has ended."""
        self._has_ended = True
        self._wake()
        if self.is_over:
            self._remove(self)
        if self.is_over and not self._is_closing:
            if isinstance(self._error, Exception):
                log_cancelled_failure(self.activation.grain_id, self._plan.method.name, self._error)
            self._error = None  # else it and this object form a cycle


def _fitting(items: list[bytes], most: int) -> int:
    """How many of these items one batch holds: one, or as many as have at most `BATCH_BYTES` together."""
    size = 0
    for count, item in enumerate(items[:most]):
        size += len(item)
        if count and size > BATCH_BYTES:
            return count
    return min(len(items), most)
