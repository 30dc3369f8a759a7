"""The events about who may what, one declaration each; see `catalogue.py`."""

from __future__ import annotations

from logging import ERROR, INFO, WARNING

from grange.observability.events import Event


class AuthorizationInForce(Event, frozen=True):
    """What decides whether a caller may make a call; said once, at the start of a silo."""

    NAME, LEVEL, LOGGER = "authorization_in_force", INFO, "silo"
    SENTENCE = "silo {me}: {by}"
    mode: str
    by: str


class AuthorizationWouldRefuse(Event, frozen=True):
    """A call was not allowed, and ran all the same, because the option `authorization` is `audit`."""

    NAME, LEVEL, LOGGER = "authorization_would_refuse", WARNING, "silo"
    SENTENCE = "authorization is in audit mode, so this call was not refused: {reason}"
    KEY = ("caller",)
    caller: str
    grain_type: str
    method: str
    reason: str


class AuthorizationFailed(Event, frozen=True):
    """The policy function of the silo, `authorize=`, raised an error; the call was refused, unless in audit mode."""

    NAME, LEVEL, LOGGER = "authorization_failed", ERROR, "silo"
    SENTENCE = "the policy function of silo {me} failed for the call {call} of {caller}: {error}"
    KEY = ("call",)
    call: str
    caller: str
    error: str


class AuditTableAway(Event, frozen=True):
    """The table of the audit does not take rows; they wait in memory, or are refused with `audit_required`."""

    NAME, LEVEL, LOGGER = "audit_table_away", WARNING, "silo"
    SENTENCE = "silo {me} cannot write to the table of its audit, and tries again: {problem}"
    problem: str


class AuditTableBack(Event, frozen=True):
    """The table of the audit takes rows again."""

    NAME, LEVEL, LOGGER = "audit_table_back", INFO, "silo"
    SENTENCE = "silo {me} writes to the table of its audit again; {waiting:row/} still waits"
    waiting: int


class AuditRowsLost(Event, frozen=True):
    """Rows of the audit are not in its table, and will not come there: it was away for too long. The log has them."""

    NAME, LEVEL, LOGGER = "audit_rows_lost", ERROR, "silo"
    SENTENCE = "silo {me} has lost {rows:row/} for the table of its audit, {total} since its start; the log has them"
    rows: int
    total: int
