"""Gives each call its place in a trace, and the calls of sampled traces a client span. Only with telemetry."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol

from grange.grains.interface import MethodSpec
from grange.observability.spans import InTrace, Sampled, Spans, current
from grange.proto.ids import GrainId


class CallsInTrace(Protocol):
    """`Caller.call`, with the trace of the call."""

    def __call__(
        self,
        grain_id: GrainId,
        method: MethodSpec,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        trace: InTrace = None,
    ) -> Coroutine[Any, Any, Any]:
        """Make one call."""
        ...


class TracedCalls:
    """Makes calls in traces (`grains.ref.CallsGrains`). The references of a silo or client with telemetry call it."""

    def __init__(self, call: CallsInTrace, spans: Spans) -> None:
        self._call = call
        self._spans = spans

    def __call__(
        self, grain_id: GrainId, method: MethodSpec, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Coroutine[Any, Any, Any]:
        """Make one call. A plain function: a call that is not sampled costs no coroutine more."""
        trace = current.get() or self._spans.begin()
        if isinstance(trace, Sampled):
            return self._call_sampled(self._spans.inside(trace), grain_id, method, args, kwargs)
        return self._call(grain_id, method, args, kwargs, trace)

    async def _call_sampled(
        self, trace: Sampled, grain_id: GrainId, method: MethodSpec, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        with trace.child("client", *self._spans.call_of(grain_id, method.name)) as span:
            return await self._call(grain_id, method, args, kwargs, span)
