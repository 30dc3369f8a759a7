"""One activation in detail: its requests with the stacks of its turns, its timers, states, and last calls."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice

from grange.aio.stacks import waiting_stack
from grange.proto.identity import decode_identity
from grange.proto.ids import SiloAddress
from grange.proto.inspection import ActivationDetail, CallRow, RequestRow, TimerRow
from grange.runtime.activations.activation import Activation
from grange.runtime.activations.recent_calls import WATCHED_FOR, RecentCalls
from grange.runtime.calls.wire_call import WireCall
from grange.runtime.requests.invocation import Invocation
from grange.runtime.requests.tick import Tick
from grange.silo.search import row_of
from grange.storage.states.facet import places_of

MOST_REQUESTS = 100
"""Requests of each kind that are listed; the row has the number of all."""

MOST_LINES = 40
"""Innermost lines of a stack that are shown."""

MOST_WATCHED = 100
"""Grains whose last calls are kept at a time."""


AwaitedBy = Callable[[Invocation], tuple[str, ...]]
"""The calls that a running turn waits for, as "type/key.method"."""


def detail_of(address: SiloAddress, activation: Activation, registered: str, awaited_by: AwaitedBy) -> ActivationDetail:
    """The detail of this activation. `registered`: the directory's entry. Its last calls are kept from now on."""
    now, hosted = activation.deps.gate.clock(), activation.hosted
    return ActivationDetail(
        address=address,
        row=row_of(activation, now),
        activation_id=f"{activation.activation_id:032x}",
        view=activation.version,
        placement=hosted.figures.placement,
        registered=registered,
        waiting=tuple(_request(call, now, call.arrived_at, ()) for call in islice(activation.waiting, MOST_REQUESTS)),
        running=tuple(
            _request(call, now, call.started_at, awaited_by(call)) for call in islice(activation.running, MOST_REQUESTS)
        ),
        timers=tuple(_timers(activation, now)),
        states=tuple(name for name, _ in places_of(hosted.cls)),
        calls=_watch(activation, now),
        ending="" if activation.reason is None else str(activation.reason),
    )


def _request(call: Invocation, now: float, since: float, awaits: tuple[str, ...]) -> RequestRow:
    left = -1.0 if call.deadline == math.inf else max(0.0, call.deadline - now)
    stack = () if call.task is None or not call.entered else tuple(waiting_stack(call.task).splitlines()[-MOST_LINES:])
    seconds = max(0.0, now - since) if since else 0.0
    return RequestRow(call.method, _caller(call), seconds, left, stack, awaits=awaits, identity=_identity(call))


def _identity(call: Invocation) -> str:
    identity = decode_identity(call.principal)
    return "" if identity is None else str(identity)


def _caller(call: Invocation) -> str:
    if isinstance(call, WireCall):
        return call.origin.peer
    return "a timer" if isinstance(call, Tick) else "this silo"


def _timers(activation: Activation, now: float) -> list[TimerRow]:
    return [
        TimerRow(
            timer.name,
            -1.0 if timer.period is None else timer.period,
            -1.0 if timer.due is None else max(0.0, timer.due - now),
        )
        for timer in activation.timers
        if not timer.stopped
    ]


def _watch(activation: Activation, now: float) -> tuple[CallRow, ...]:
    """Have the last calls of this grain kept for a while, and return those that are."""
    watched = activation.deps.watched
    for grain_id in [grain_id for grain_id, each in watched.items() if each.until < now]:
        del watched[grain_id]
    recent = watched.get(activation.grain_id)
    if recent is None and len(watched) < MOST_WATCHED:
        recent = watched[activation.grain_id] = RecentCalls(now)
    if recent is None:
        return ()
    recent.until = now + WATCHED_FOR
    return tuple(CallRow(each.method, now - each.ended, each.wait, each.seconds, each.error) for each in recent.calls)
