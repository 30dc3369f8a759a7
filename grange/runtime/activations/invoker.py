"""Runs one request as one turn: contexts, arguments, the method, its outcome. Called by `activation.py`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any

from grange.errors import InconsistentStateError, InvalidCall, WriteOutcomeUnknown
from grange.grains.context import context_values, current_activation
from grange.proto.message import Reason
from grange.runtime.gate import Gate
from grange.runtime.requests.invocation import Invocation, expired
from grange.runtime.requests.plan import MethodPlan
from grange.runtime.requests.refusal import Refused

MAX_EAGER_DEPTH = 24
"""Turns nested in one stack by eager starts; beyond, a turn starts in the next round of the loop instead."""


class Invoker:
    """Starts turns. One per silo; it bounds how deep eager starts may nest."""

    __slots__ = ("_depth", "_loop")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._depth = 0

    def start(self, turn: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a turn in a task and context of its own; on Python 3.12+ its first step runs right here."""
        if sys.version_info < (3, 12) or self._depth >= MAX_EAGER_DEPTH:
            return self._loop.create_task(turn, context=Context())
        self._depth += 1
        try:
            return asyncio.Task(turn, loop=self._loop, name="turn", context=Context(), eager_start=True)
        finally:
            self._depth -= 1


async def run_turn(
    call: Invocation,
    activation: object,
    grain: Any,
    plan: MethodPlan | None,
    ended: Callable[[Invocation, bool], None],
    gate: Gate,
) -> None:
    """One turn, once the gate lets it start. `ended(call, conflict)` is called exactly once, whatever happens.

    `conflict` ends the activation.
    """
    current_activation.set(activation)
    if call.context:
        context_values.set(call.context)
    conflict = False
    try:
        # Here and not before the task was made: only from here on nothing lies between the look and the turn.
        if gate.clock() <= gate.until or await _admitted(call, gate):
            running = _begin(call, grain, plan)
            if running is not None:
                call.succeed(plan, await running)
    except (InconsistentStateError, WriteOutcomeUnknown) as error:
        conflict = True
        call.fail(error)
    except BaseException as error:
        call.fail(error)
        if isinstance(error, KeyboardInterrupt):
            raise
    finally:
        ended(call, conflict)


async def _admitted(call: Invocation, gate: Gate) -> bool:
    """Wait at the closed gate. False: the request was refused."""
    try:
        refused = await gate.passage()
    except asyncio.CancelledError:
        if call.gone:
            return False  # `cancel_turns` has told its caller
        refused = Refused(Reason.NOT_READY, "the silo ended before it could start")
    now = gate.clock()
    refused = refused or expired(call, now)
    if refused is not None:
        call.refuse(refused)
        return False
    call.began = now
    return True


def _begin(call: Invocation, grain: Any, plan: MethodPlan | None) -> Awaitable[Any] | None:
    """Start the grain's code, or refuse arguments that do not fit: those never reached it."""
    call.entered = True
    try:
        running = call.invoke(grain, plan)
    except InvalidCall as error:
        call.refuse(Refused(Reason.INVALID_CALL, str(error)))
        return None
    call.started()
    return running
