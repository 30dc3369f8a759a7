"""The errors after which a call is repeated. Pure. Repeating is safe: these grains count a repeat only once."""

from __future__ import annotations

from examples.flights.flight import NotAcknowledged
from grange import (
    CallNotExecuted,
    CallOutcomeUnknown,
    InconsistentStateError,
    InvalidCall,
    NoSuchGrain,
    NoSuchMethod,
    PayloadTooLarge,
    StorageError,
)

PASSING = (CallNotExecuted, CallOutcomeUnknown, NotAcknowledged, StorageError, InconsistentStateError)
"""Not executed, outcome unknown, or executed and not finished: a repeat may succeed."""

MISTAKES = (InvalidCall, NoSuchGrain, NoSuchMethod, PayloadTooLarge)
"""Not executed either, but the cause is an error in the program, so a repeat never succeeds."""


def may_be_repeated(error: BaseException) -> bool:
    """Whether a repeated call may succeed after this error."""
    return isinstance(error, PASSING) and not isinstance(error, MISTAKES)
