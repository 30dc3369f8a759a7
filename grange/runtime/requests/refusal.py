"""A refusal: the internal form of "certainly not executed", and what it becomes for callers and on the wire."""

from __future__ import annotations

from grange.errors import (
    ActivationFailed,
    CallNotExecuted,
    InvalidCall,
    NoSuchGrain,
    NoSuchMethod,
    Overloaded,
    PayloadTooLarge,
    SiloUnavailable,
)
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.message import Reason

REPEATED = frozenset({Reason.NOT_HERE, Reason.NOT_READY})
"""Refusals that the caller's loop answers by trying again, perhaps elsewhere."""

_ERRORS: dict[Reason, type[CallNotExecuted]] = {
    Reason.NOT_HERE: SiloUnavailable,
    Reason.NOT_READY: SiloUnavailable,
    Reason.NO_SUCH_GRAIN: NoSuchGrain,
    Reason.NO_SUCH_METHOD: NoSuchMethod,
    Reason.INVALID_CALL: InvalidCall,
    Reason.PAYLOAD_TOO_LARGE: PayloadTooLarge,
    Reason.ACTIVATION_FAILED: ActivationFailed,
}


class Refused(Exception):
    """A silo refused a request before user code ran. `cause` is the user's error when activation failed."""

    def __init__(
        self,
        reason: Reason,
        message: str = "",
        hint: SiloAddress | None = None,
        retry_after: float = 0.0,
        cause: BaseException | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.hint = hint
        self.retry_after = retry_after
        self.cause = cause

    def error(self, grain_id: GrainId) -> BaseException:
        """What the caller of the grain receives."""
        if self.cause is not None:
            return self.cause
        text = f"call to {grain_id} was not executed: {self.message}"
        if self.reason is Reason.OVERLOADED:
            return Overloaded(text, self.retry_after)
        return _ERRORS.get(self.reason, CallNotExecuted)(text)
