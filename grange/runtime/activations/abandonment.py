"""Gives up activations whose code does not end, so that their grains serve again. `stuck_turns.py` runs the sweeps.

A turn is given up after `max_turn_time`, if it holds up other requests or the end of its activation. A beginning or an
end of an activation is given up if its code ignores the cancellation that follows its time-out.

The code may go on. So its states store nothing any more before a new activation may begin. Its callers are told that
the outcome is unknown.
"""

from __future__ import annotations

from itertools import islice, takewhile

from grange.aio.stacks import waiting_stack
from grange.grains.deactivation import DeactivationCode, DeactivationReason
from grange.observability.events import Events
from grange.observability.turn_events import ActivationAbandoned
from grange.runtime.activations.activation import Activation
from grange.runtime.activations.deps import ActivationDeps
from grange.runtime.activations.draining import CANCEL_TIMEOUT
from grange.runtime.activations.phase import Phase
from grange.runtime.activations.transitions import Transition
from grange.runtime.requests.invocation import Invocation

MAX_ABANDONED = 10
"""Most activations that one sweep gives up for each of the two causes, because a stack takes about a millisecond."""


class Abandonment:
    """The sweep of one silo."""

    def __init__(self, deps: ActivationDeps, events: Events) -> None:
        self._deps = deps
        self._events = events

    def sweep(self) -> None:
        """Give up the activations whose time is over."""
        now, most = self._deps.gate.clock(), self._deps.options.max_turn_time
        old = takewhile(lambda call: now - call.started_at >= most, self._deps.turns)
        for call in list(islice(filter(_holds_up, old), MAX_ABANDONED)):
            self._give_up_turn(call, now - call.started_at)
        for transition in list(islice((each for each in self._deps.transitions if _hangs(each, now)), MAX_ABANDONED)):
            del self._deps.transitions[transition]
            self._give_up_transition(transition, now - transition.began)

    def _give_up_turn(self, call: Invocation, seconds: float) -> None:
        activation = call.holder
        if not isinstance(activation, Activation) or activation.phase >= Phase.ENDING:
            return  # another turn of it was given up in this sweep
        self._publish(call, f"a turn of {call.method}", seconds, len(activation.waiting))
        text = f"{call.method} has run for {seconds:.0f} s, longer than max_turn_time"
        activation.abandon(DeactivationReason(DeactivationCode.UNRESPONSIVE, text))

    def _give_up_transition(self, transition: Transition, seconds: float) -> None:
        self._publish(transition, transition.verb, seconds, 0)
        transition.leave(transition)

    def _publish(self, hung: Invocation | Transition, work: str, seconds: float, waiting: int) -> None:
        stack = "" if hung.task is None else waiting_stack(hung.task)
        grain_id = hung.grain_id
        self._events.publish(ActivationAbandoned(grain_id.type, str(grain_id), work, seconds, waiting, stack))


def _holds_up(call: Invocation) -> bool:
    """Whether other requests, or the end of its activation, wait for this turn."""
    activation = call.holder
    if not (isinstance(activation, Activation) and call.entered):
        return False  # it waits at the gate of a fenced silo
    if activation.phase is Phase.CLOSING:
        return True
    beside = call.always_interleave or call.interleaves
    return activation.phase is Phase.ACTIVE and bool(activation.waiting) and not beside


def _hangs(transition: Transition, now: float) -> bool:
    """Whether this task has been cancelled, and has had time to end."""
    return now - transition.began >= transition.limit + CANCEL_TIMEOUT
