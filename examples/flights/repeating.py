"""After which errors is a call made again? Pure. It is safe, because these grains count a repeat only once."""

from __future__ import annotations

from examples.flights.flight import NotTold
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

PASSING = (CallNotExecuted, CallOutcomeUnknown, NotTold, StorageError, InconsistentStateError)
"""Not executed, outcome unknown, or executed and not finished: a repeat may succeed."""

MISTAKES = (InvalidCall, NoSuchGrain, NoSuchMethod, PayloadTooLarge)
"""Not executed either, but the program is wrong, and stays so however often it tries."""


def may_be_repeated(error: BaseException) -> bool:
    """Whether a repeated call may succeed after this error."""
    return isinstance(error, PASSING) and not isinstance(error, MISTAKES)
