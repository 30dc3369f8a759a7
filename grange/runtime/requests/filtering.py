"""Runs filters around methods and timers (`grains/filters.py`). Without filters nothing of this file runs.

A method with filters has another `MethodPlan.invoke`, set when its silo or client is made. Filters run in the turn.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Protocol, cast

from grange.errors import CallError, GrangeError
from grange.grains.context import current_turn
from grange.grains.filters import Call, Filter, call_to
from grange.grains.items import begin
from grange.proto.ids import GrainId
from grange.runtime.requests.filtered_items import as_items, end_with, ending, reporting
from grange.runtime.requests.plan import MethodPlan, StreamPlan

Last = Callable[[Call], Awaitable[Any]]
"""What the innermost `proceed` runs: the method, the timer's callback, or the call itself."""

Note = Callable[[object], None]
"""Gets the result of a step."""


class FilteredTurn(Protocol):
    """The activation or observer whose turn runs."""

    grain_id: GrainId

    def failed(self, error: BaseException) -> None:
        """The method raised this, also if its filters return a result."""
        ...


async def run_filters(filters: tuple[Filter, ...], call: Call, last: Last, note: Note | None = None) -> Any:
    """The result of a call with these filters around it. `note` gets that of each step, the innermost first."""
    step = _Step(filters, call, last, note)
    try:
        return await step()
    finally:
        step.ended = True


class _Step:
    """The filters from a position on, and at last the method: what one `proceed` runs.

    begun: it has run, or runs in `task`. ended: the filter around it has returned, so it cannot run any more.
    """

    __slots__ = ("_call", "_filters", "_last", "_note", "_position", "begun", "ended", "task")

    def __init__(
        self, filters: tuple[Filter, ...], call: Call, last: Last, note: Note | None, position: int = 0
    ) -> None:
        self._filters = filters
        self._call = call
        self._last = last
        self._note = note
        self._position = position
        self.begun = False
        self.ended = False
        self.task: asyncio.Task[Any] | None = None

    async def __call__(self) -> Any:
        """Run them (`Proceed`)."""
        call = self._call
        if self.ended:
            raise RuntimeError(f"{call!r} has ended: a filter must await proceed() before it returns")
        if self.task is not None and call.direction == "incoming":
            raise RuntimeError(f"{call!r} runs already: a filter must await proceed() before it proceeds again")
        self.begun, self.task = True, asyncio.current_task()
        try:
            result = await (self._last(call) if self._position == len(self._filters) else self._run_filter(call))
        finally:
            self.task = None
        if self._note is not None:
            self._note(result)
        return result

    async def _run_filter(self, call: Call) -> Any:
        each = self._filters[self._position]
        inner = _Step(self._filters, call, self._last, self._note, self._position + 1)
        try:
            result = await each(call, inner)
        finally:
            inner.ended = True
            if inner.task is not None and call.direction == "incoming":
                await _end(inner.task)
                result = inner
        return _checked_result(each, call, inner, result)


async def _end(task: asyncio.Task[Any]) -> None:
    """End what a filter has left running: no code of the grain runs beyond its turn."""
    task.cancel()
    await asyncio.wait({task})


def _checked_result(each: Filter, call: Call, inner: _Step, result: Any) -> Any:
    """The result of this filter; `inner` if it left that running. Raises RuntimeError or TypeError for a lost call."""
    if result is inner:
        raise RuntimeError(f"the filter {_name(each)} of {call!r} returned before the end of proceed(); await it")
    if result is None and not (inner.begun or call.skipped):
        raise RuntimeError(
            f"the filter {_name(each)} of {call!r} neither awaited proceed() nor returned a result; "
            "write `return await proceed()`, or call.skip() to answer None without the method"
        )
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError(f"the filter {_name(each)} of {call!r} must await: return await proceed()")
    return result


class IncomingFilters:
    """The filters around the methods and timers of one class in one silo or client, in order; at last its `on_call`.

    It puts them around these methods; without filters it leaves them as they are.
    """

    def __init__(self, filters: tuple[Filter, ...], cls: type, methods: Mapping[str, MethodPlan]) -> None:
        self._filters = filters
        self._has_own = callable(getattr(cls, "on_call", None))
        for plan in methods.values() if self else ():
            self._put_around_stream(plan) if isinstance(plan, StreamPlan) else self._put_around(plan)

    def __bool__(self) -> bool:
        return bool(self._filters) or self._has_own

    def _put_around(self, plan: MethodPlan) -> None:
        """Have all requests for this method pass the filters."""
        method = plan.method

        def invoke(grain: Any, *args: Any) -> Awaitable[Any]:
            turn = _turn()

            async def last(call: Call) -> Any:
                given = args if call.args is args else _checked(plan, call)
                try:
                    return await plan.run(grain, *given)
                except BaseException as error:
                    turn.failed(error)
                    raise

            return run_filters(self._of(grain), call_to(turn.grain_id, method, args), last)

        plan.invoke = invoke

    def _put_around_stream(self, plan: StreamPlan) -> None:
        """Have all calls of this streamed method pass the filters, which see its generator and not its batches."""
        method = plan.method

        async def invoke(grain: Any, *args: Any) -> Any:
            turn, ends = _turn(), AsyncExitStack()

            async def last(call: Call) -> Any:
                given = args if call.args is args else _checked(plan, call)
                return reporting(method.invoke(grain, *given), turn.failed)

            call = call_to(turn.grain_id, method, args)
            try:
                items = as_items(call, await run_filters(self._of(grain), call, last, partial(end_with, ends)))
                has_begun = begin(grain, method.name, ending(items, ends))
            except BaseException:
                await ends.aclose()
                raise
            return await has_begun

        plan.invoke = invoke

    def around_tick(self, grain: Any, name: str, callback: Callable[[], Awaitable[None]]) -> FilteredTick:
        """The callback of a timer, with the filters around each tick."""
        return FilteredTick(self._of(grain), name, callback)

    def _of(self, grain: Any) -> tuple[Filter, ...]:
        return (*self._filters, grain.on_call) if self._has_own else self._filters


class FilteredTick:
    """The callback of a timer with filters. `__qualname__` is the name of the callback, which operators see."""

    def __init__(self, filters: tuple[Filter, ...], name: str, callback: Callable[[], Awaitable[None]]) -> None:
        self._filters = filters
        self._callback = callback
        self.__qualname__ = name

    async def __call__(self) -> None:
        """Run one tick."""
        turn = _turn()

        async def last(_: Call) -> None:
            try:
                await self._callback()
            except BaseException as error:
                turn.failed(error)
                raise

        name = self.__qualname__.rpartition(".")[2]
        await run_filters(self._filters, Call(turn.grain_id, name, (), self._callback), last)


def _turn() -> FilteredTurn:
    turn = current_turn.get()
    assert turn is not None, "filters run in turns"
    return cast("FilteredTurn", turn.holder)


def check_result(plan: MethodPlan, call: Call, result: Any) -> Any:
    """A result that an outgoing filter made, as a callee could have sent it. Raises TypeError."""
    try:
        return plan.isolate_result(result)
    except CallError as error:
        raise TypeError(
            f"a filter of {call!r} returned a result that does not fit: {error.__cause__ or error}"
        ) from None


def _checked(plan: MethodPlan, call: Call) -> tuple[Any, ...]:
    """The arguments that a filter set, as a caller could have sent them. Raises TypeError."""
    try:
        return plan.isolate(plan.method.bind(call.args, {}))
    except GrangeError as error:
        raise TypeError(f"a filter of {call!r} set arguments that do not fit: {error}") from None


def _name(each: Filter) -> str:
    return str(getattr(each, "__qualname__", type(each).__qualname__))
