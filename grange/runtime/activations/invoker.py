"""Runs one request as one turn: contexts, arguments, the method, its outcome. `activation.py` calls it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from grange.aio.interrupts import is_ctrl_c
from grange.errors import InvalidCall
from grange.grains.context import context_values, current_activation
from grange.proto.message import Reason
from grange.runtime.gate import Gate
from grange.runtime.requests.invocation import Invocation, expired
from grange.runtime.requests.plan import MethodPlan
from grange.runtime.requests.refusal import Refused


class TurnOwner(Protocol):
    """The activation whose turn runs."""

    def check_saved(self) -> None:
        """Raise StorageError if memory holds changes that an earlier turn failed to store."""
        ...


async def run_turn(
    call: Invocation,
    activation: TurnOwner,
    grain: Any,
    plan: MethodPlan | None,
    ended: Callable[[Invocation, BaseException | None], None],
    gate: Gate,
) -> None:
    """Run one turn once the gate lets it start, and report its outcome to `call`.

    Calls `ended(call, error)` exactly once. `error` is the error that left the turn, or None.
    """
    current_activation.set(activation)
    if call.context:
        context_values.set(call.context)
    raised: BaseException | None = None
    try:
        # Check the gate here, not before the task is made: no suspension can come between this check and the turn.
        now = call.started_at = gate.clock()
        may_start = now <= gate.until and now < call.deadline
        if (may_start or await _pass_gate(call, gate)) and not call.held_back():
            running = _begin(call, grain, plan)
            if running is not None:
                value = await running
                activation.check_saved()
                call.succeed(plan, value)
    except BaseException as error:
        raised = error
        call.fail(error)
        if is_ctrl_c(error):
            raise
    finally:
        ended(call, raised)


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
    call.started_at = now
    return True


def _begin(call: Invocation, grain: Any, plan: MethodPlan | None) -> Awaitable[Any] | None:
    """Start the grain's code. None: the arguments do not fit; the request was refused and the code did not run."""
    call.entered = True
    try:
        running = call.invoke(grain, plan)
    except InvalidCall as error:
        call.refuse(Refused(Reason.INVALID_CALL, str(error)))
        return None
    call.started()
    return running
