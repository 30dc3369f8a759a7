"""Reports turns that run for too long, with the stack at which they wait. It costs the calls nothing.

`ActivationDeps.turns` holds the turns that have been suspended, in the order of their starts. So a sweep looks only at
those that are too old, and one more.
"""

from __future__ import annotations

import asyncio
from itertools import takewhile

from grange.aio.stacks import waiting_stack
from grange.observability.events import Events
from grange.observability.turn_events import TurnStuck
from grange.runtime.activations.abandonment import Abandonment
from grange.runtime.activations.activation import Activation
from grange.runtime.activations.deps import ActivationDeps
from grange.runtime.requests.invocation import Invocation

PERIOD = 5.0
"""Seconds between two sweeps."""

LATE = 1.0
"""Seconds by which a sweep may be late. Beyond, the process stood still or a turn held the loop: the time of the turns
says nothing then, so the next sweep decides."""

MAX_REPORTED = 10
"""Most turns that one sweep reports, because a stack takes about a millisecond; the next sweep reports the others."""


class StuckTurns:
    """One silo's sweep, and that of `abandonment.py`. `run` is their task. Each stuck turn is one event, once."""

    def __init__(self, deps: ActivationDeps, events: Events) -> None:
        self._deps = deps
        self._events = events
        self._reported: set[Invocation] = set()
        self._abandonment = Abandonment(deps, events)

    async def run(self) -> None:
        """Sweep once per period, for the life of the silo."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + PERIOD
            await asyncio.sleep(PERIOD)
            if loop.time() - due < LATE:
                self.sweep()
                self._abandonment.sweep()

    def sweep(self) -> None:
        """Report the turns that have become stuck."""
        clock, after = self._deps.gate.clock, self._deps.options.stuck_after
        limit = clock() - after
        old = takewhile(lambda call: call.started_at <= limit, self._deps.turns)
        stuck = [call for call in old if call.entered]  # the others wait at the gate of a fenced silo
        self._reported.intersection_update(stuck)
        new = [call for call in stuck if call not in self._reported][:MAX_REPORTED]
        for call in new:
            self._events.publish(self._event(call, clock() - call.started_at, len(stuck)))
        self._reported.update(new)

    def _event(self, call: Invocation, seconds: float, stuck: int) -> TurnStuck:
        return TurnStuck(
            grain_type=call.grain_id.type,
            grain=str(call.grain_id),
            method=call.method,
            seconds=round(seconds, 1),
            waiting=len(call.holder.waiting) if isinstance(call.holder, Activation) else 0,
            stuck=stuck,
            stack="" if call.task is None else waiting_stack(call.task),
        )
