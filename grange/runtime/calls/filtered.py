"""Runs outgoing filters around the calls of one silo or client. Only with outgoing filters."""

from __future__ import annotations

from typing import Any

from grange.grains.context import context_values, current_turn
from grange.grains.enumeration import CallsGrains
from grange.grains.filters import Call, Filter, call_to
from grange.grains.interface import MethodSpec
from grange.grains.items import HIDDEN
from grange.proto.ids import GrainId
from grange.runtime.requests.filtering import check_result, run_filters
from grange.runtime.requests.plan import Plans


class FilteredCalls:
    """Makes calls with filters around them (`grains.ref.CallsGrains`). The references of a silo or client call it."""

    def __init__(self, call: CallsGrains, plans: Plans, filters: tuple[Filter, ...]) -> None:
        self._call = call
        self._plans = plans
        self._filters = filters

    async def __call__(
        self, grain_id: GrainId, method: MethodSpec, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Make one call. What its filters set in the request context does not reach the caller's later calls.

        The fetches of a streamed method are a part of its call: a filter that repeated one would lose items.
        """
        if method.name.startswith(HIDDEN):
            return await self._call(grain_id, method, args, kwargs)
        turn = current_turn.get()
        source = None if turn is None else turn.grain_id
        call = call_to(grain_id, method, method.bind(args, kwargs), "outgoing", source)
        answered: Any = None

        async def last(call: Call) -> Any:
            nonlocal answered
            answered = await self._call(grain_id, method, call.args, {})
            return answered

        values = context_values.get()
        try:
            result = await run_filters(self._filters, call, last)
        finally:
            if context_values.get() is not values:
                context_values.set(values)
        if result is answered and (result is not None or not method.streams):
            return result
        return check_result(self._plans[method], call, result)
