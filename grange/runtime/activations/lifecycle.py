"""How an activation begins and ends, step by step. Each function is one task, started by the activation's home.

Begin: claim, construct, load state, `on_activate`, serve. Only the winner of the claim runs user code.
End: stop timers, `on_deactivate`, close state, release the claim, leave the catalog.
"""

from __future__ import annotations

import asyncio
import logging

from grange.errors import CallNotExecuted
from grange.grains.context import current_activation
from grange.proto.keys import decode_key, kind_name
from grange.proto.message import Reason
from grange.runtime.activations.activation import OWN_WISH, Activation
from grange.runtime.activations.hosted import Built
from grange.runtime.requests.refusal import Refused

log = logging.getLogger("grange.runtime")


async def activate(activation: Activation) -> None:
    """From claim to service. Whatever goes wrong is told to every waiting caller, and the claim is given back."""
    current_activation.set(activation)
    timeout = asyncio.timeout(activation.home.deps.options.activation_timeout)
    built: Built | None = None
    try:
        async with timeout:
            _check_key(activation)
            await _claim(activation)
            await _pass_gate(activation)
            built = await activation.hosted.build(activation, activation.grain_id, activation.guard)
            await built.load()
            if activation.hosted.has_on_activate:
                await _pass_gate(activation)
                await built.grain.on_activate()
            if activation.reason:
                # Whatever else ends it here, the silo's stop for one, does not end the grain: it answers elsewhere.
                why = Reason.ACTIVATION_FAILED if activation.reason == OWN_WISH else Reason.NOT_HERE
                raise Refused(why, f"it ended while activating: {activation.reason}")
    except BaseException as error:
        refused = _refusal(activation, error, timed_out=timeout.expired())
        await _undo(activation, built, refused)
        if isinstance(error, asyncio.CancelledError | KeyboardInterrupt):
            raise
    else:
        activation.opened(built)


async def deactivate(activation: Activation) -> None:
    """From the last turn to the end of the activation. Errors of user code are logged; nothing stops the end."""
    current_activation.set(activation)
    built = activation.built
    for timer in activation.timers:
        timer.stop()
    try:
        async with asyncio.timeout(activation.home.deps.options.deactivation_timeout):
            if activation.hosted.has_on_deactivate and built is not None:
                await built.grain.on_deactivate(activation.reason)
    except BaseException as error:
        _log("on_deactivate failed", activation, error)
        if isinstance(error, KeyboardInterrupt) or _is_cancelled():
            raise
    finally:
        await _undo(activation, built, Refused(Reason.NOT_HERE, f"the activation ended: {activation.reason}"))


def _check_key(activation: Activation) -> None:
    kind = activation.hosted.options.key
    try:
        decode_key(kind, activation.grain_id.key)
    except ValueError as error:
        text = f"{activation.hosted.name!r} has keys of kind {kind_name(kind)}: {error}"
        raise Refused(Reason.INVALID_CALL, text) from None


async def _claim(activation: Activation) -> None:
    """Become the grain's one activation. Raises Refused with the winner's silo when another one is."""
    address = activation.address
    try:
        winner = await activation.home.claims.claim(address)
        if winner.silo == address.silo and not winner.same_activation(address):
            # A leftover of ours: the catalog holds no other activation of this grain, or this one would not exist.
            winner = await activation.home.claims.claim(address, winner)
    except CallNotExecuted as error:
        raise Refused(Reason.NOT_READY, str(error)) from error
    if not winner.same_activation(address):
        raise Refused(Reason.NOT_HERE, f"the grain is active on {winner.silo}", hint=winner.silo)
    activation.version = winner.version
    activation.claimed = True


async def _pass_gate(activation: Activation) -> None:
    """What comes now is user code. Raises Refused when this silo must start none."""
    gate = activation.home.deps.gate
    if gate.clock() > gate.until and (refused := await gate.passage()) is not None:
        raise refused


async def _undo(activation: Activation, built: Built | None, refused: Refused) -> None:
    """Give back what was taken, in reverse. The mailbox is refused last, so that a repeated call finds the way free."""
    for timer in activation.timers:
        timer.stop()
    try:
        async with asyncio.timeout(activation.home.deps.options.deactivation_timeout):
            if built is not None:
                await built.close()
    except Exception as error:
        _log("closing the state failed", activation, error)
    finally:
        try:
            if activation.claimed:
                activation.claimed = False
                await activation.home.claims.release(activation.address)
        finally:
            if refused.reason is Reason.NOT_HERE and refused.hint is None:
                refused.hint = activation.home.elsewhere(activation.grain_id)
            activation.gone(refused)


def _refusal(activation: Activation, error: BaseException, timed_out: bool) -> Refused:
    if isinstance(error, Refused):
        return error
    if isinstance(error, TimeoutError) and timed_out:
        seconds = activation.home.deps.options.activation_timeout
        return Refused(Reason.ACTIVATION_FAILED, f"activating took longer than {seconds:g} s")
    if isinstance(error, asyncio.CancelledError) and _is_cancelled():
        return Refused(Reason.NOT_READY, "the silo is stopping")
    if not isinstance(error, Exception):
        return Refused(Reason.ACTIVATION_FAILED, f"activating raised {error!r}")
    error.add_note(f"raised while activating {activation.grain_id}; the method that was called did not run")
    cause = activation.home.deps.faults.local(error)
    return Refused(Reason.ACTIVATION_FAILED, f"activating raised {type(error).__qualname__}", cause=cause)


def _is_cancelled() -> bool:
    """Whether somebody cancelled this task; user code may raise CancelledError all by itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _log(text: str, activation: Activation, error: BaseException) -> None:
    log.error(
        "%s: %s", activation.grain_id, text, exc_info=error,
        extra={"event": "lifecycle_failed", "grain_type": activation.grain_id.type},
    )  # fmt: skip
