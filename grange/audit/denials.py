"""Refused callers: a row for each of the first ten of one identity in a minute; all of them are counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec

from grange.aio.rate_limit import RateLimit
from grange.audit.trail import AuditTrail
from grange.proto.acts import DENIAL_ROW, AuditRow, Denial, Level, Outcome
from grange.proto.identity import Identity

WOULD_REFUSE = "would refuse"
"""The outcome of a call that ran only because the option `authorization` is `audit`."""


class Denials:
    """Notes refused callers of one silo. `time` is that of the loop.

    It tells 1,000 identities apart; further ones share one limit until others have been quiet for a minute. So a
    flood of names fills neither memory nor the audit.
    """

    def __init__(self, trail: AuditTrail, time: Callable[[], float]) -> None:
        self._trail = trail
        self._time = time
        self._limit = RateLimit()
        self.counts: Counter[str] = Counter()

    @property
    def suppressed(self) -> int:
        """Denials without a row of their own."""
        return self._limit.suppressed

    def note(self, identity: Identity | None, denial: Denial) -> None:
        """Note a refusal. `identity` is that of the caller, if it is known. Never waits, never raises."""
        self.counts[denial.kind] += 1
        actor = denial.name if identity is None else identity.subject
        suffix = self._limit.suffix((identity is None, actor), self._time())
        if suffix is None:
            return
        outcome = str(Outcome.REFUSED) if denial.refused else WOULD_REFUSE
        via = "" if identity is None else identity.via
        action, target, reason = denial.action, denial.target, denial.reason
        row = AuditRow(0, 0.0, actor, Level.NONE, action, target, reason, outcome, suffix.strip(), DENIAL_ROW)
        self._trail.add(msgspec.structs.replace(row, via=via, trace=denial.trace))
