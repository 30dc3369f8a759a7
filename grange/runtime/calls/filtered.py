"""Runs outgoing filters around the calls of one silo or client. Only with outgoing filters."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from contextlib import AsyncExitStack, aclosing
from functools import partial
from typing import Any

from grange.grains.context import context_values, current_turn
from grange.grains.enumeration import Begins, CallsGrains, FiltersItems
from grange.grains.filters import Call, Filter, call_to
from grange.grains.interface import MethodSpec
from grange.proto.ids import GrainId
from grange.runtime.requests.filtered_items import as_items, checked, end_with
from grange.runtime.requests.filtering import check_result, run_filters
from grange.runtime.requests.plan import Plans, StreamPlan

Args = tuple[Any, ...]


class FilteredCalls(FiltersItems):
    """Makes calls with filters around them (`grains.ref.CallsGrains`). The references of a silo or client call it.

    What its filters set in the request context travels with the call, and does not reach the caller's later calls.
    """

    def __init__(self, call: CallsGrains, plans: Plans, filters: tuple[Filter, ...]) -> None:
        self._call = call
        self._plans = plans
        self._filters = filters

    async def __call__(self, grain_id: GrainId, method: MethodSpec, args: Args, kwargs: dict[str, Any]) -> Any:
        """Make one call."""
        call = _call(grain_id, method, method.bind(args, kwargs))
        answered: Any = None

        async def last(call: Call) -> Any:
            nonlocal answered
            answered = await self._call(grain_id, method, call.args, {})
            return answered

        result = await _keeping_context(run_filters(self._filters, call, last))
        return result if result is answered else check_result(self._plans[method], call, result)

    async def items(
        self, grain_id: GrainId, method: MethodSpec, args: Args, begins: Begins
    ) -> AsyncGenerator[Any, None]:
        """The items of a streamed call. Its filters run when the first one is asked for."""
        call = _call(grain_id, method, args)
        begun: Any = None

        async def last(call: Call) -> Any:
            nonlocal begun
            begun = begins(self._call, call.args)
            return begun

        async with AsyncExitStack() as ends:
            result = await _keeping_context(run_filters(self._filters, call, last, partial(end_with, ends)))
            items = as_items(call, result)
            if result is not begun:
                plan = self._plans[method]
                assert isinstance(plan, StreamPlan)
                items = await ends.enter_async_context(aclosing(checked(items, plan, call)))
            async for item in items:
                yield item


def _call(grain_id: GrainId, method: MethodSpec, args: Args) -> Call:
    turn = current_turn.get()
    return call_to(grain_id, method, args, "outgoing", None if turn is None else turn.grain_id)


async def _keeping_context(result: Awaitable[Any]) -> Any:
    """This result, without the changes that its code makes to the request context."""
    values = context_values.get()
    try:
        return await result
    finally:
        if context_values.get() is not values:
            context_values.set(values)
