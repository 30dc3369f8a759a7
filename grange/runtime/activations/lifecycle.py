"""The start and the end of an activation, step by step. Each is one task, which the activation's owner starts.

`activate`: claim, construct, load state, `on_activate`, serve. Only the winner of the claim runs user code.
`deactivate`: stop timers, `on_deactivate`, close state, release the claim, leave the catalog.
"""

from __future__ import annotations

import asyncio
import logging

from grange.aio.interrupts import is_ctrl_c
from grange.errors import CallNotExecuted
from grange.grains.context import current_activation
from grange.observability.spans import Sampled, Span
from grange.observability.steps import part
from grange.proto.keys import decode_key, kind_name
from grange.proto.message import Reason
from grange.runtime.activations.activation import Activation
from grange.runtime.activations.hosted import Built
from grange.runtime.activations.phase import SELF_DEACTIVATED
from grange.runtime.requests.refusal import Refused

log = logging.getLogger("grange.runtime")


async def activate(activation: Activation) -> None:
    """Activate: from the claim to serving. An error refuses all waiting requests and releases the claim.

    In the usual case no step waits: the claim is decided here, the gate is open, and the class only has to be
    constructed. A time-out is made only for an activation that may wait.
    """
    current_activation.set(activation)
    deps, hosted = activation.owner.deps, activation.hosted
    began = deps.gate.clock()
    span = _enter_trace(activation)
    timeout: asyncio.Timeout | None = None
    built: Built | None = None
    try:
        _check_key(activation)
        crowded = deps.pace.spent()
        if not crowded:
            _claim_now(activation)
        if activation.claimed and hosted.waits_for_nothing and began <= deps.gate.until:
            built = hosted.build_now(activation)
        else:
            timeout = asyncio.timeout(deps.options.activation_timeout)
            async with timeout:
                await _begin(activation, crowded)
                built = await hosted.build(activation, activation.grain_id, activation.check_turn)
                await built.load()
                await _on_activate(activation, built)
        _check_not_ended(activation)
    except BaseException as error:
        refused = _refusal(activation, error, timed_out=timeout is not None and timeout.expired())
        hosted.figures.failed += refused.reason is Reason.ACTIVATION_FAILED
        try:
            await _tear_down(activation, built, refused)
        finally:
            _end_span(span, error)
        if isinstance(error, asyncio.CancelledError) or is_ctrl_c(error):
            raise
    else:
        hosted.figures.activation.observe(deps.gate.clock() - began)
        _end_span(span)
        activation.on_activated(built)


def _check_not_ended(activation: Activation) -> None:
    """Refuse the waiting requests if the activation was told to end while it was activating."""
    if activation.reason:
        # Any other reason, such as the silo's stop, ends only this activation: the callers repeat the call.
        code = Reason.ACTIVATION_FAILED if activation.reason == SELF_DEACTIVATED else Reason.NOT_HERE
        raise Refused(code, f"the activation ended while activating: {activation.reason}")


async def deactivate(activation: Activation) -> None:
    """Deactivate after the last turn. Errors of user code are logged and do not stop it."""
    current_activation.set(activation)
    built = activation.built
    for timer in activation.timers:
        timer.stop()
    try:
        async with asyncio.timeout(activation.owner.deps.options.deactivation_timeout):
            if activation.hosted.has_on_deactivate and built is not None:
                await built.grain.on_deactivate(activation.reason)
    except BaseException as error:
        _log("on_deactivate failed", activation, error)
        if is_ctrl_c(error) or _is_cancelled():
            raise
    finally:
        await _tear_down(activation, built, Refused(Reason.NOT_HERE, f"the activation ended: {activation.reason}"))


def _enter_trace(activation: Activation) -> Span | None:
    """Activate in the trace of the request that waits for it. Returns the span, if that trace is sampled."""
    trace = activation.first.trace if activation.first is not None else None
    if isinstance(trace, Sampled):
        trace = trace.child("activation", f"activate {activation.hosted.name}", {"grange.type": activation.hosted.name})
    if trace is not None:
        trace.enter()
    return trace if isinstance(trace, Span) else None


def _end_span(span: Span | None, error: BaseException | None = None) -> None:
    if span is not None:
        span.end(error)


def _check_key(activation: Activation) -> None:
    kind = activation.hosted.options.key
    try:
        decode_key(kind, activation.grain_id.key)
    except ValueError as error:
        text = f"{activation.hosted.name!r} has keys of kind {kind_name(kind)}: {error}"
        raise Refused(Reason.INVALID_CALL, text) from None


async def _begin(activation: Activation, crowded: bool) -> None:
    """Wait for all that must come before user code: a later iteration of the loop if it is crowded, claim and gate."""
    if crowded:
        await activation.owner.deps.pace.turn()
    if not activation.claimed:
        await _claim(activation)
    await _pass_gate(activation)


def _claim_now(activation: Activation) -> None:
    """Claim the grain if that needs no wait and this activation wins; else do nothing: `_claim` must follow."""
    winner = activation.owner.claims.claim_now(activation.address)
    if winner is not None:
        activation.version = winner.version
        activation.claimed = True


async def _claim(activation: Activation) -> None:
    """Claim the grain in the directory. If another activation has it, raises Refused with that silo as the hint."""
    address = activation.address
    try:
        with part("directory", "register"):
            winner = await activation.owner.claims.claim(address)
        if winner.silo == address.silo and not winner.same_activation(address):
            # The winner is a stale entry of this silo: the catalog holds one activation per grain, and it is this one.
            winner = await activation.owner.claims.claim(address, winner)
    except CallNotExecuted as error:
        raise Refused(Reason.NOT_READY, str(error)) from error
    if not winner.same_activation(address):
        raise Refused(Reason.NOT_HERE, f"the grain is active on {winner.silo}", hint=winner.silo)
    activation.version = winner.version
    activation.claimed = True


async def _pass_gate(activation: Activation) -> None:
    """Wait at the gate before user code. Raises Refused if this silo must not start any."""
    gate = activation.owner.deps.gate
    if gate.clock() > gate.until and (refused := await gate.passage()) is not None:
        raise refused


async def _tear_down(activation: Activation, built: Built | None, refused: Refused) -> None:
    """Free all resources in reverse order. The mailbox comes last, so that a repeated call can claim the grain."""
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
        try:
            if activation.claimed:
                activation.claimed = False
                await activation.owner.claims.release(activation.address)
        finally:
            if refused.reason is Reason.NOT_HERE and refused.hint is None:
                refused.hint = activation.owner.next_silo(activation.grain_id)
            activation.close(refused)


async def _on_activate(activation: Activation, built: Built) -> None:
    if activation.hosted.has_on_activate:
        await _pass_gate(activation)
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
    error.add_note(f"raised while activating {activation.grain_id}; the method that was called did not run")
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
