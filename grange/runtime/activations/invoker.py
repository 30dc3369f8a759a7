"""Runs one request as one turn: contexts, arguments, the method, its outcome. `activation.py` calls it."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

from grange.aio.interrupts import is_ctrl_c
from grange.errors import InvalidCall
from grange.grains.context import IDEMPOTENCY, Scalar, context_values, current_turn, of_turn
from grange.grains.deactivation import DeactivationReason
from grange.observability.counters import MethodFigures, TypeFigures
from grange.observability.histogram import BOUNDS, SHORT
from grange.proto.message import Reason
from grange.runtime.gate import Gate
from grange.runtime.requests.invocation import Invocation, expired, log_cancelled_failure
from grange.runtime.requests.plan import MethodPlan
from grange.runtime.requests.refusal import Refused


class TurnOwner(Protocol):
    """The activation whose turn runs. `reason`: it ends for this reason; None: it does not."""

    reason: DeactivationReason | None

    @property
    def figures(self) -> TypeFigures:
        """The figures of its grain type."""
        ...

    def check_saved(self) -> None:
        """Raise StorageError if memory holds changes that an earlier turn failed to store."""
        ...

    def end(self, call: Invocation, error: BaseException | None, now: float) -> None:
        """The turn of this request has ended `now`, with the error that left it."""
        ...


async def run_turn(call: Invocation, plan: MethodPlan | None, activation: TurnOwner, grain: Any, gate: Gate) -> None:
    """Run one turn once the gate lets it start, report its outcome to `call`, and call `activation.end` once."""
    current_turn.set(call)
    if call.context and not _enter_context(call, call.context, plan):
        activation.end(call, None, gate.clock())
        return
    if (trace := call.trace) is not None:
        trace.enter()
    raised: BaseException | None = None
    running: Awaitable[Any] | None = None
    try:
        # Check the gate here, not before the task is made: no suspension can come between this check and the turn.
        now = call.started_at = gate.clock()
        may_start = now <= gate.until and now < call.deadline and not call.caller_gone
        if (may_start or await _pass_gate(call, gate)) and not (call.watched and call.held_back()):
            call.entered = True
            running = call.invoke(grain, plan)
            if call.watched:
                call.started()
            value = await running
            if activation.reason is not None:
                activation.check_saved()
            call.succeed(plan, value)
    except BaseException as error:
        raised = _report_error(call, error, running is not None)
        if is_ctrl_c(error):
            raise
    finally:
        now = gate.clock()
        if call.entered:  # else it was refused, and the grain's code has not run
            figures = plan.figures if plan is not None else activation.figures.ticks
            turns, took = figures.turns, now - call.started_at
            turns.cells[0 if took <= SHORT else bisect_left(BOUNDS, took)] += 1
            turns.total += took
            if raised is not None or call.arrived_at or trace is not None:
                _note_details(call, figures, raised, now)
        activation.end(call, raised, now)
        raised = None  # else the error and this frame form a cycle


def _enter_context(call: Invocation, context: Mapping[str, Scalar], plan: MethodPlan | None) -> bool:
    """Give the turn its request context. False: the request was refused, because its idempotency key has no effect."""
    context_values.set(of_turn(context))
    if IDEMPOTENCY in context and (plan is None or plan.method.options.keep is None):
        text = f"{call.method} is not @idempotent, so the idempotency key of the call would have no effect"
        call.refuse(Refused(Reason.INVALID_CALL, text))
        return False
    return True


def _note_details(call: Invocation, figures: MethodFigures, raised: BaseException | None, now: float) -> None:
    """Note a turn that has failed, has waited before, or is in a trace."""
    figures.failed += raised is not None
    if call.arrived_at:
        figures.waited(call.started_at - call.arrived_at, now - call.started_at)
    trace, began = call.trace, call.arrived_at or call.started_at
    if trace is not None and (trace.sampled or raised is not None or now - began > figures.slow_from):
        trace.leave(call.grain_id, call.method, began, call.started_at, raised)


def _report_error(call: Invocation, error: BaseException, has_begun: bool) -> BaseException | None:
    """Report an error to the caller, and return it. None: the grain's code did not run.

    The arguments do not fit, or a blocking method waited for a thread until its time was over.
    """
    if not has_begun and isinstance(error, InvalidCall):
        error = Refused(Reason.INVALID_CALL, str(error))
    if isinstance(error, Refused):
        call.entered = False
        call.refuse(error)
        return None
    if call.interrupted and not isinstance(error, asyncio.CancelledError):
        log_cancelled_failure(call.grain_id, call.method, error)
    call.fail(error)
    return error


async def _pass_gate(call: Invocation, gate: Gate) -> bool:
    """Wait until the closed gate opens. False: the request was refused, perhaps because its time is over."""
    try:
        refused = await gate.passage()
    except asyncio.CancelledError:
        if call.caller_gone:
            return False  # `cancel_running` has refused it
        refused = Refused(Reason.NOT_READY, "the silo ended before it could start")
    now = gate.clock()
    refused = refused or expired(call, now)
    if refused is not None:
        call.refuse(refused)
        return False
    call.arrived_at = call.arrived_at or call.started_at
    call.started_at = now
    call.watched = True  # its connection may be full by now
    return True
