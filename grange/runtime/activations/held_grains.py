"""Holds down grains that cannot be activated: `hold_down.py` decides, this keeps their errors and tells people."""

from __future__ import annotations

from grange.counted import counted
from grange.observability.turn_events import ActivationHeld
from grange.proto.ids import GrainId
from grange.runtime.activations.deps import ActivationDeps
from grange.runtime.requests.refusal import Refused

LONGEST_TEXT = 200
"""Characters of an error in an event."""


def hold(deps: ActivationDeps, grain_id: GrainId, refused: Refused) -> None:
    """An activation failed with this refusal: hold its grain down, unless it is the first time."""
    cause = None if refused.cause is None else _bare(deps.faults.local(refused.cause))
    kept = Refused(refused.reason, refused.message, cause=cause)
    now = deps.gate.clock()
    failing = deps.holds.failed(grain_id, now, deps.options.hold_down, kept)
    if failing.until > now and deps.events is not None:
        seconds, error = failing.until - now, kept.message[:LONGEST_TEXT]
        deps.events.publish(ActivationHeld(grain_id.type, str(grain_id), failing.failures, seconds, error))


def held(deps: ActivationDeps, grain_id: GrainId) -> Refused | None:
    """The refusal of a request for a grain that is held down, with a copy of the error of its last activation."""
    now = deps.gate.clock()
    failing = deps.holds.held(grain_id, now)
    if failing is None:
        return None
    kept, left = failing.refused, failing.until - now
    failures = counted(failing.failures, "activation")
    text = f"{failures} of {grain_id} failed in a row; the next one may begin in {left:.1f} s"
    if kept.cause is None:
        return Refused(kept.reason, f"{kept.message}; {text}", retry_after=left)
    cause = deps.faults.local(kept.cause)
    notes = [*getattr(cause, "__notes__", ()), text]
    object.__setattr__(cause, "__notes__", notes)  # not by add_note: a frozen class refuses it
    return Refused(kept.reason, kept.message, retry_after=left, cause=cause)


def _bare(error: BaseException) -> BaseException:
    """The error without the frames and the other errors that it refers to: it is kept for a while."""
    for name in ("__cause__", "__context__", "__traceback__"):
        object.__setattr__(error, name, None)
    return error
