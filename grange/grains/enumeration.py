"""The caller's side of a streamed method: an async iterator that fetches batches as they are needed.

Nothing is sent before the first item is asked for. A generator of Python does the work inside: so an iterator that is
dropped, as by `break`, is closed by the event loop, like any other async generator, and ends its remote generator.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol, TypeVar, cast

from grange.errors import CallNotExecuted, CallOutcomeUnknown, EnumerationAborted, InvalidResult, Overloaded
from grange.grains.context import context_values
from grange.grains.interface import MethodSpec
from grange.grains.items import BATCH_KEY, LEAVE_TIMEOUT, MOST_ITEMS, State
from grange.proto.ids import GrainId

I = TypeVar("I", bound=AsyncIterator[Any])  # noqa: E741

MOST_REFUSALS = 20
"""Refusals of one fetch by an overloaded silo after which the enumeration is given up; each names its wait."""

Batch = tuple[int, int, list[Any], str]
"""Number of the enumeration, state, items, and the reason if it was ended early: an answer of a streamed method."""


class CallsGrains(Protocol):
    """Makes one call to one grain in any silo; `runtime/calls/caller.py` implements it."""

    def __call__(
        self, grain_id: GrainId, method: MethodSpec, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Coroutine[Any, Any, Any]:
        """Return the method's result, or raise the method's error or a CallError. A real coroutine: it is named."""
        ...


Begins = Callable[[CallsGrains, tuple[Any, ...]], AsyncGenerator[Any, None]]
"""Makes the items of one streamed call with these arguments. They make their requests by the `CallsGrains`."""


class FiltersItems(ABC):
    """A `CallsGrains` with filters, which see a streamed call once, and its items as an async iterator."""

    @abstractmethod
    def items(
        self, grain_id: GrainId, method: MethodSpec, args: tuple[Any, ...], begins: Begins
    ) -> AsyncGenerator[Any, None]:
        """The items of a streamed call, with the filters around them."""


class Enumeration(AsyncGenerator[Any, None]):
    """The items of one call to a streamed method, as a reference returns them. `most`: those of a batch.

    It is used like the generator itself: once, by one task at a time. `aclose` ends the remote generator, and waits for
    its end.
    """

    __slots__ = ("_args", "_call", "_grain_id", "_items", "_method", "most")

    def __init__(self, call: CallsGrains, grain_id: GrainId, method: MethodSpec, args: tuple[Any, ...]) -> None:
        self._call = call
        self._grain_id = grain_id
        self._method = method
        self._args = args
        self._items: AsyncGenerator[Any, None] | None = None
        self.most = MOST_ITEMS

    @property
    def started(self) -> bool:
        """Whether an item was asked for, or it was closed."""
        return self._items is not None

    def _begun(self) -> AsyncGenerator[Any, None]:
        if self._items is None:
            if isinstance(self._call, FiltersItems):
                self._items = self._call.items(self._grain_id, self._method, self._args, self._begin)
            else:
                self._items = self._begin(self._call, self._args)
        return self._items

    def _begin(self, call: CallsGrains, args: tuple[Any, ...]) -> AsyncGenerator[Any, None]:
        return _items(_Remote(call, self._grain_id, self._method, self.most), args)

    def __anext__(self) -> Coroutine[Any, Any, Any]:
        """The next item. Raises StopAsyncIteration after the last one, and the error that the generator raises.

        Raises EnumerationAborted if the enumeration ends early.
        """
        return (self._items or self._begun()).__anext__()

    def asend(self, value: None, /) -> Coroutine[Any, Any, Any]:
        """As `__anext__`; a value other than None cannot be sent."""
        if cast("object", value) is not None:
            raise TypeError(f"nothing can be sent into {self._method!r}: its generator runs in another grain")
        return self.__anext__()

    def athrow(
        self,
        typ: Any,
        val: object = None,
        tb: TracebackType | None = None,
        /,
    ) -> Coroutine[Any, Any, Any]:
        """Raise an error here, which ends the enumeration."""
        error: Any = typ if val is None else val
        return self._begun().athrow(error if tb is None else error.with_traceback(tb))

    def aclose(self) -> Coroutine[Any, Any, None]:
        """End the remote generator, and wait for its end. Raises the error that its clean-up raises."""
        return self._begun().aclose()


def with_batch_size(items: I, most: int) -> I:
    """Have a streamed call carry at most `most` items in one message, instead of 100; call it before the first item.

    A small number suits items that take long to use: 1 fetches each item when it is asked for. Raises ValueError for
    a number below 1, and RuntimeError once items were asked for. Async iterators that are no streamed call, such as
    those of a fake in a unit test, have no messages and are returned unchanged.
    """
    if most < 1:
        raise ValueError(f"a batch has 1 item or more, not {most!r}")
    if isinstance(items, Enumeration):
        if items.started:
            raise RuntimeError("the enumeration has started; set its batch size before the first item")
        items.most = min(most, MOST_ITEMS)
    return items


class _Remote:
    """The enumeration in the silo of the grain. `is_open`: it has not ended, as far as is known here."""

    def __init__(self, call: CallsGrains, grain_id: GrainId, method: MethodSpec, most: int) -> None:
        self._call = call
        self._grain_id = grain_id
        self._method = method
        self._most = most
        self._number = 0
        self._context = context_values.get()
        self._note = ""
        self.is_open = False

    async def first(self, args: tuple[Any, ...]) -> list[Any]:
        """Begin, and fetch the first items. An error of the call is that of the call.

        If its caller is cancelled after the silo has answered, the call returns all the same (`items.beginning`).
        """
        # The context of the call is that of its making: filters may have changed it for this call.
        token = context_values.set({**self._context, BATCH_KEY: self._most})
        cancelled = _cancellations()
        try:
            items = self._take(await self._call(self._grain_id, self._method, args, {}))
        except Exception:
            if _cancellations() > cancelled:
                raise asyncio.CancelledError from None
            raise
        finally:
            context_values.reset(token)
        if _cancellations() > cancelled:
            if self.is_open:
                await self._leave()
            raise asyncio.CancelledError
        return items

    async def next(self) -> list[Any]:
        """Fetch the next items; none if the generator has none yet. Raises EnumerationAborted if there will be none."""
        fetch = self._method.fetch
        assert fetch is not None
        refusals = 0
        while True:
            self.is_open = False  # an error of the generator ends it there
            try:
                return self._take(await self._call(self._grain_id, fetch, (self._number, self._most), {}))
            except asyncio.CancelledError:
                await self._leave()
                raise
            except Overloaded as error:
                refusals += 1
                if refusals == MOST_REFUSALS:
                    raise self.aborted(str(error)) from error
                self.is_open = True
                await asyncio.sleep(error.retry_after)
            except (CallNotExecuted, CallOutcomeUnknown) as error:
                raise self.aborted(str(error)) from error
            except InvalidResult:
                self.is_open = True  # perhaps an item that arrived does not fit here
                raise

    async def close(self, wait: bool = True) -> None:
        """End it there. If it cannot be reached, the silo ends it later, because no item is fetched.

        `wait`: until its code has ended. Raises the error of its clean-up.
        """
        close = self._method.close
        assert close is not None
        self.is_open = False
        token = context_values.set(self._context)  # the event loop may run this in any context
        try:
            with suppress(CallNotExecuted, CallOutcomeUnknown):
                await self._call(self._grain_id, close, (self._number, wait), {})
        finally:
            context_values.reset(token)

    async def _leave(self) -> None:
        """End it there, because its caller was cancelled. That has ended the fetch if it still had no answer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_TIMEOUT):
                await self.close(wait=False)

    def check(self) -> None:
        """Raise EnumerationAborted if the silo has ended it early."""
        if self._note:
            raise self.aborted(self._note)

    def aborted(self, reason: str) -> EnumerationAborted:
        """The error of an enumeration that ended early."""
        return EnumerationAborted(f"the enumeration of {self._grain_id}.{self._method.name} ended early: {reason}")

    def _take(self, batch: Batch) -> list[Any]:
        self._number, state, items, self._note = batch
        self.is_open = state == State.MORE
        return items


def _cancellations() -> int:
    """How often the current task was cancelled."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


async def _items(remote: _Remote, args: tuple[Any, ...]) -> AsyncGenerator[Any, None]:
    """Yield the items of all batches, and close the remote enumeration if it is left before its end."""
    try:
        items = await remote.first(args)
        while True:
            for item in items:
                yield item
            if not remote.is_open:
                break
            items = await remote.next()
        remote.check()
    finally:
        if remote.is_open:
            await remote.close()
