"""Runs filters around methods and timers (`grains/filters.py`). Without filters nothing of this file runs.

A method with filters has another `MethodPlan.invoke`, set when its silo or client is made. Filters run in the turn.
"""

from __future__ import annotations

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


class FilteredTurn(Protocol):
    """The activation or observer whose turn runs."""

    grain_id: GrainId

    def failed(self, error: BaseException) -> None:
        """The method raised this, also if its filters return a result."""
        ...


async def run_filters(
    filters: tuple[Filter, ...], call: Call, last: Last, note: Callable[[object], None] | None = None
) -> Any:
    """The result of a call with these filters around it. `note` gets that of each step, the innermost first."""
    ended = False
    reached = 0

    async def step(position: int) -> Any:
        nonlocal reached
        if ended:
            raise RuntimeError(f"{call!r} has ended: a filter must await proceed() before it returns")
        reached = max(reached, position)  # here and not in `proceed`, whose call without await runs nothing
        if position == len(filters):
            result = await last(call)
            if note is not None:
                note(result)
            return result

        def proceed() -> Awaitable[Any]:
            return step(position + 1)

        result = await filters[position](call, proceed)
        if result is None and not (reached > position or call.skipped):
            raise RuntimeError(
                f"the filter {_name(filters[position])} of {call!r} neither awaited proceed() nor returned a result; "
                "write `return await proceed()`, or call.skip() to answer None without the method"
            )
        if inspect.iscoroutine(result):
            result.close()
            raise TypeError(f"the filter {_name(filters[position])} of {call!r} must await: return await proceed()")
        if note is not None:
            note(result)
        return result

    try:
        return await step(0)
    finally:
        ended = True


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
                    return await method.invoke(grain, *given)
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
