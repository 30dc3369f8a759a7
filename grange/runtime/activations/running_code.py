"""Finds the grain whose code a thread runs, by the frames of the thread. Any thread may ask."""

from __future__ import annotations

from grange.aio.stacks import Frames
from grange.proto.ids import GrainId
from grange.runtime.activations.activation import Activation
from grange.runtime.activations.invoker import run_turn
from grange.runtime.activations.lifecycle import activate, deactivate
from grange.runtime.requests.invocation import Invocation


def code_of_grain(frames: Frames) -> tuple[GrainId, str] | None:
    """The grain and its method, or "activate" or "deactivate" for its hooks; None if the innermost code is no grain's.

    Turns may start inside others; the innermost one runs.
    """
    for frame, _ in reversed(frames):
        code = frame.f_code
        if code is run_turn.__code__:
            call = frame.f_locals.get("call")
            return (call.grain_id, call.method) if isinstance(call, Invocation) else None
        if code in (activate.__code__, deactivate.__code__):
            activation = frame.f_locals.get("activation")
            return (activation.grain_id, code.co_name) if isinstance(activation, Activation) else None
    return None
