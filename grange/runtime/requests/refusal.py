"""A refusal: the internal form of "certainly not executed", and the error that a caller gets for it."""

from __future__ import annotations

from grange.errors import (
    ActivationFailed,
    CallNotExecuted,
    InvalidCall,
    NoSuchGrain,
    NoSuchMethod,
    ObserverGone,
    Overloaded,
    PayloadTooLarge,
    SiloUnavailable,
    Unauthorized,
)
from grange.proto.clients import CLIENT_TYPE
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.message import Reason

REPEATED = frozenset({Reason.NOT_HERE, Reason.NOT_READY})
"""Reasons of a refusal after which the caller's retry loop tries again, perhaps at another silo."""

_ERRORS: dict[Reason, type[CallNotExecuted]] = {
    Reason.NOT_HERE: SiloUnavailable,
    Reason.NOT_READY: SiloUnavailable,
    Reason.NO_SUCH_GRAIN: NoSuchGrain,
    Reason.NO_SUCH_METHOD: NoSuchMethod,
    Reason.INVALID_CALL: InvalidCall,
    Reason.PAYLOAD_TOO_LARGE: PayloadTooLarge,
    Reason.UNAUTHORIZED: Unauthorized,
}


def not_activated(grain_id: GrainId) -> str:
    """The note on an error of user code, or of the store, that kept this grain from being activated."""
    return f"raised while activating {grain_id}; the method that was called did not run"


class Refused(Exception):
    """A silo refused a request before user code ran. `cause` is the user code's error if activation failed.

    `counted`: the name in figures, if it tells more than the reason.
    """

    def __init__(
        self,
        reason: Reason,
        message: str = "",
        hint: SiloAddress | None = None,
        retry_after: float = 0.0,
        cause: BaseException | None = None,
        counted: str = "",
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.hint = hint
        self.retry_after = retry_after
        self.cause = cause
        self.counted = counted or reason.name.lower()

    def error(self, grain_id: GrainId) -> BaseException:
        """The error that the caller of the grain gets."""
        if self.cause is not None:
            return self.cause
        text = f"call to {grain_id} was not executed: {self.message}"
        if self.reason is Reason.OVERLOADED:
            return Overloaded(text, self.retry_after)
        if self.reason is Reason.NO_SUCH_GRAIN and grain_id.type == CLIENT_TYPE:
            return ObserverGone(text)
        if self.reason is Reason.ACTIVATION_FAILED:
            return ActivationFailed(text, self.retry_after)
        return _ERRORS.get(self.reason, CallNotExecuted)(text)
