"""The start and the end of an activation, step by step. Each is one task, which the activation's owner starts.

`activate`: claim, construct, load state, `rehydrate`, `on_activate`, serve. Only the winner of a claim runs user code.
`deactivate`: stop timers, `on_deactivate`, `dehydrate`, close state, move or release the claim, leave the catalog.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from grange.aio.interrupts import is_ctrl_c
from grange.errors import CallNotExecuted, StorageUnavailable, TurnAbandoned
from grange.grains.context import current_turn
from grange.grains.deactivation import DeactivationCode, DeactivationReason
from grange.grains.items import HIDDEN
from grange.observability.spans import Sampled, Span
from grange.observability.steps import part
from grange.proto.ids import GrainAddress
from grange.proto.keys import decode_key, kind_name
from grange.proto.message import Reason
from grange.runtime.activations.activation import Activation
from grange.runtime.activations.draining import end_turn, wait_cancelled
from grange.runtime.activations.held_grains import hold
from grange.runtime.activations.hosted import Built
from grange.runtime.activations.migration import dehydrated, depart, departure_of, rehydrate
from grange.runtime.activations.moves import Arrival, Departure, Landed
from grange.runtime.activations.phase import SELF_DEACTIVATED, Phase, is_abandoned
from grange.runtime.activations.transitions import Transition
from grange.runtime.requests.refusal import Refused, not_activated

log = logging.getLogger("grange.runtime")


async def activate(activation: Activation) -> None:
    """Activate: from the claim to serving. An error refuses all waiting requests and releases the claim.

    In the usual case no step waits: the claim is decided here, the gate is open, and the class only has to be
    constructed. A time-out is made only for an activation that may wait.
    """
    current_turn.set(activation)
    deps, hosted = activation.owner.deps, activation.hosted
    began = deps.gate.clock()
    span, arrival = _enter_trace(activation), deps.moves.arrivals.get(activation.activation_id)
    transition: Transition | None = None
    built: Built | None = None
    try:
        _check_key(activation)
        crowded = deps.pace.spent()
        if not crowded and arrival is None:
            _claim_now(activation)
        if activation.claimed and hosted.waits_for_nothing and began <= deps.gate.until:
            built = hosted.build_now(activation)
        else:
            transition = _enter(activation, "activating", began, deps.options.activation_timeout)
            async with transition.timeout:
                await _begin(activation, crowded, arrival)
                built = transition.built = await hosted.build(activation)
                await built.load()
                await _on_activate(activation, built, arrival)
        _check_not_ended(activation)
    except BaseException as error:
        if span is not None:
            span.end(error)
        await _fail(activation, built, transition, error)
        if isinstance(error, asyncio.CancelledError) or is_ctrl_c(error):
            raise
    else:
        if span is not None:
            span.end()
        _serve(activation, built, began, arrival)
    finally:
        if transition is not None:
            deps.transitions.pop(transition, None)  # else `abandonment.py` has given it up


def _serve(activation: Activation, built: Built, began: float, arrival: Arrival | None) -> None:
    """The activation, which began then, has succeeded."""
    deps = activation.owner.deps
    if deps.holds.failing:
        deps.holds.succeeded(activation.grain_id)
    activation.hosted.figures.activation.observe(deps.gate.clock() - began)
    if arrival is not None:
        deps.moves.arrivals.pop(activation.activation_id, None)
        arrival.settle(Landed(deps.address))
    activation.on_activated(built)


async def _fail(
    activation: Activation, built: Built | None, transition: Transition | None, error: BaseException
) -> None:
    """Refuse the waiting requests after an error, and free what exists of the activation."""
    refused = _refusal(activation, error, timed_out=transition is not None and transition.timeout.expired())
    if refused.reason is Reason.ACTIVATION_FAILED:
        activation.figures.failed += 1
        if not isinstance(refused.cause, StorageUnavailable):  # a store that is away refuses at once, and comes back
            hold(activation.owner.deps, activation.grain_id, refused)
    if transition is not None:
        transition.began = activation.owner.deps.gate.clock()  # a step with a time-out of its own follows
        transition.limit = activation.owner.deps.options.deactivation_timeout
    await _tear_down(activation, built, refused)


def _check_not_ended(activation: Activation) -> None:
    """Refuse the waiting requests if the activation was told to end while it was activating."""
    if activation.reason is not None:
        # Any other reason, such as the silo's stop, ends only this activation: the callers repeat the call.
        code = Reason.ACTIVATION_FAILED if activation.reason is SELF_DEACTIVATED else Reason.NOT_HERE
        raise Refused(code, f"the activation ended while activating: {activation.reason}")


async def deactivate(activation: Activation) -> None:
    """Deactivate after the last turn. Errors of user code are logged and do not stop it."""
    current_turn.set(activation)
    deps, built = activation.owner.deps, activation.built
    transition = _enter(activation, "deactivating", deps.gate.clock(), deps.options.deactivation_timeout)
    transition.built = built
    for timer in activation.timers:
        timer.stop()
    departing: Departing | None = None
    try:
        async with transition.timeout:
            if is_abandoned(activation.reason):
                await _leave_turns(activation)
            else:
                await deps.enumerations.ended(activation)
                await _on_deactivate(activation, built)
            departing = await _departing(activation, built)
    except BaseException as error:
        _log("on_deactivate failed", activation, error)
        if is_ctrl_c(error) or _is_cancelled():
            raise
    finally:
        refused = Refused(Reason.NOT_HERE, f"the activation ended: {activation.reason}")
        transition.began = deps.gate.clock()  # steps with time-outs of their own follow
        transition.limit += deps.options.move_timeout
        try:
            await _tear_down(activation, built, refused, departing)
        finally:
            deps.transitions.pop(transition, None)  # else `abandonment.py` has given it up


Departing = tuple[Departure, bytes]
"""A move that begins, and what the activation takes along."""


async def _on_deactivate(activation: Activation, built: Built | None) -> None:
    if not activation.hosted.has_on_deactivate or built is None or activation.reason is None:
        return
    try:
        await built.grain.on_deactivate(activation.reason)
    except Exception as error:  # it moves all the same
        _log("on_deactivate failed", activation, error)


async def _departing(activation: Activation, built: Built | None) -> Departing | None:
    """The move of a deactivating activation. None: it ends here, also because it could not take its memory along."""
    departure = departure_of(activation)
    if departure is None or built is None:
        return None
    try:
        return departure, await dehydrated(activation, built)
    except BaseException as error:
        activation.figures.moves_failed += 1
        departure.settle(Landed(None, f"dehydrate raised {type(error).__qualname__}"))
        if not isinstance(error, Exception):
            raise
        _log("dehydrate failed", activation, error)
        return None


async def _leave_turns(activation: Activation) -> None:
    """Cancel the turns of an abandoned activation and wait for their ends. Those that go on are left to the silo."""
    deps, turns = activation.owner.deps, list(activation.running)
    refused = Refused(Reason.NOT_HERE, f"the activation ended: {activation.reason}")
    for call in turns:
        text = f"{call.grain_id}.{call.method} was abandoned, and its outcome is unknown: {activation.reason}"
        end_turn(call, refused, TurnAbandoned(text))
    await wait_cancelled(turns, deps.address)
    for call in turns:
        if call.task is not None:
            deps.tasks.adopt(call.task)


def _enter(activation: Activation, verb: str, began: float, limit: float) -> Transition:
    """Have `abandonment.py` watch this task."""
    transition = Transition(activation, verb, began, limit, partial(_leave_behind, activation))
    activation.owner.deps.transitions[transition] = None
    return transition


def _leave_behind(activation: Activation, transition: Transition) -> None:
    """End an activation without the task that begins or ends it: its code ignores the cancellation of that task.

    When that task comes back, it finds the activation gone, and closes its state and its services.
    """
    text = f"{transition.verb} took longer than {transition.limit:g} s, and ignores its cancellation"
    is_new = activation.phase is Phase.ACTIVATING
    activation.reason = DeactivationReason(DeactivationCode.UNRESPONSIVE, text)
    if transition.built is not None:
        transition.built.give_up(text)
    refused = Refused(Reason.ACTIVATION_FAILED if is_new else Reason.NOT_HERE, text)
    if is_new:
        activation.figures.failed += 1
        hold(activation.owner.deps, activation.grain_id, refused)
    activation.owner.deps.tasks.start(_release(activation, refused))


def _enter_trace(activation: Activation) -> Span | None:
    """Activate in the trace of the request that waits for it. Returns the span, if that trace is sampled."""
    trace = activation.first.trace if activation.first is not None else None
    if isinstance(trace, Sampled):
        trace = trace.child("activation", f"activate {activation.hosted.name}", {"grange.type": activation.hosted.name})
    if trace is not None:
        trace.enter()
    return trace if isinstance(trace, Span) else None


def _check_key(activation: Activation) -> None:
    kind = activation.hosted.options.key
    try:
        decode_key(kind, activation.grain_id.key)
    except ValueError as error:
        text = f"{activation.hosted.name!r} has keys of kind {kind_name(kind)}: {error}"
        raise Refused(Reason.INVALID_CALL, text) from None


async def _begin(activation: Activation, crowded: bool, arrival: Arrival | None) -> None:
    """Wait for all that must come before user code: a later iteration of the loop if it is crowded, claim and gate."""
    if crowded:
        await activation.owner.deps.pace.turn()
    if not activation.claimed:
        await _claim(activation, None if arrival is None else arrival.previous)
    await _pass_gate(activation)


def _claim_now(activation: Activation) -> None:
    """Claim the grain if that needs no wait and this activation wins; else do nothing: `_claim` must follow."""
    winner = activation.owner.claims.claim_now(activation.address)
    if winner is not None:
        _won(activation, winner, continues=False)


async def _claim(activation: Activation, previous: GrainAddress | None) -> None:
    """Claim the grain in the directory. If another activation has it, raises Refused with that silo as the hint.

    `previous`: the activation that this one continues, whose entry it replaces.
    """
    address = activation.address
    try:
        with part("directory", "register"):
            winner = await activation.owner.claims.claim(address, previous)
        if winner.silo == address.silo and not winner.same_activation(address):
            # The winner is a stale entry of this silo: the catalog holds one activation per grain, and it is this one.
            winner = await activation.owner.claims.claim(address, winner)
    except CallNotExecuted as error:
        raise Refused(Reason.NOT_READY, str(error)) from error
    if not winner.same_activation(address):
        raise Refused(Reason.NOT_HERE, f"the grain is active on {winner.silo}", hint=winner.silo)
    _won(activation, winner, continues=previous is not None)


def _won(activation: Activation, winner: GrainAddress, continues: bool) -> None:
    """This activation has the claim. Fetches of streamed results that wait for it were for an earlier one: refuse them.

    Raises Refused if no other request waits: then no activation is needed, unless it `continues` another one.
    """
    activation.version = winner.version
    activation.claimed = True
    if not activation.hosted.streams or not any(call.method.startswith(HIDDEN) for call in activation.waiting):
        return
    for call in activation.take_waiting():
        if call.method.startswith(HIDDEN):
            call.refuse(Refused(Reason.EXPIRED, "the activation that held the enumeration has ended"))
        else:
            activation.receive(call)
    if not activation.waiting and not continues:
        raise Refused(Reason.NOT_HERE, "no request needs it")


async def _pass_gate(activation: Activation) -> None:
    """Wait at the gate before user code. Raises Refused if this silo must not start any."""
    gate = activation.owner.deps.gate
    if gate.clock() > gate.until and (refused := await gate.passage()) is not None:
        raise refused


async def _tear_down(
    activation: Activation, built: Built | None, refused: Refused, departing: Departing | None = None
) -> None:
    """Free all resources in reverse order. The mailbox comes last, so that a repeated call can claim the grain.

    An activation that moves has then moved: its waiting requests follow it.
    """
    for timer in activation.timers:
        timer.stop()
    try:
        async with asyncio.timeout(activation.owner.deps.options.deactivation_timeout):
            if built is not None:
                await built.close()
    except BaseException as error:
        if _is_cancelled():
            raise
        _log("closing the state failed", activation, error)
        if is_ctrl_c(error):
            raise
    finally:
        await _release(activation, refused, departing)


async def _release(activation: Activation, refused: Refused, departing: Departing | None = None) -> None:
    """Move, or release the claim; then leave the catalog."""
    try:
        if departing is not None and activation.phase is not Phase.GONE:
            refused.hint = (await depart(activation, *departing)).silo
        if activation.claimed:
            activation.claimed = False
            await activation.owner.claims.release(activation.address)
    finally:
        if refused.reason is Reason.NOT_HERE and refused.hint is None:
            refused.hint = activation.owner.next_silo(activation.grain_id)
        activation.close(refused)


async def _on_activate(activation: Activation, built: Built, arrival: Arrival | None) -> None:
    if arrival is not None:
        await _pass_gate(activation)
        await rehydrate(activation, built, arrival)
    if activation.hosted.has_on_activate:
        await _pass_gate(activation)
        _check_not_ended(activation)  # a constructor that ignored its cancellation may have come back
        await built.grain.on_activate()


def _refusal(activation: Activation, error: BaseException, timed_out: bool) -> Refused:
    if isinstance(error, Refused):
        return error
    if isinstance(error, TimeoutError) and timed_out:
        seconds = activation.owner.deps.options.activation_timeout
        return Refused(Reason.ACTIVATION_FAILED, f"activating took longer than {seconds:g} s")
    if isinstance(error, asyncio.CancelledError) and _is_cancelled():
        return Refused(Reason.NOT_READY, "the silo is stopping")
    if not isinstance(error, Exception):
        return Refused(Reason.ACTIVATION_FAILED, f"activating raised {error!r}")
    error.add_note(not_activated(activation.grain_id))
    cause = activation.owner.deps.faults.local(error)
    return Refused(Reason.ACTIVATION_FAILED, f"activating raised {type(error).__qualname__}", cause=cause)


def _is_cancelled() -> bool:
    """Whether this task was cancelled. User code may also raise CancelledError without a cancellation."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _log(text: str, activation: Activation, error: BaseException) -> None:
    log.error(
        "%s: %s", activation.grain_id, text, exc_info=error,
        extra={"event": "lifecycle_failed", "grain_type": activation.grain_id.type},
    )  # fmt: skip
