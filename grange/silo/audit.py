"""The audit of one silo: what operators did here, before and after each act, in a ring and on the logger of its own.

The outcome of each act is also an event, `action_taken`, so the charts and the timeline of a silo show it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from datetime import datetime

from grange.observability.catalogue import ActionTaken
from grange.observability.events import Events
from grange.observability.log_context import AUDIT
from grange.proto.acts import Act, Audit, AuditRow, Level, Outcome
from grange.proto.ids import SiloAddress
from grange.proto.journal import After

log = logging.getLogger(AUDIT)

KEPT = 1000
"""Rows that a silo keeps. The log has all, if the program logs this logger from INFO on, as `grange run` does."""

MOST_ROWS = 200
"""Most rows in one answer."""

BEGUN = "begun"
"""The outcome in the row before an act. Such a row without one after it: the process ended in between."""

LONGEST = 300
"""Characters of a target, reason or text in a row."""


class AuditTrail:
    """Writes the rows. `now` is the wall clock: people read the times."""

    def __init__(self, address: SiloAddress, now: Callable[[], datetime], events: Events) -> None:
        self._address = address
        self._now = now
        self._events = events
        self._number = 0
        self._rows: deque[AuditRow] = deque(maxlen=KEPT)

    def write(self, act: Act, actor: str, level: Level, outcome: Outcome | str, text: str) -> None:
        """Add a row, and log it. The values of an act are left out: arguments may hold what no log may show."""
        self._number += 1
        row = AuditRow(
            number=self._number,
            time=self._now().timestamp(),
            actor=_short(actor),
            level=level,
            action=str(act.action),
            target=_short(act.target),
            reason=_short(act.reason),
            outcome=str(outcome),
            text=_short(text),
        )
        self._rows.append(row)
        log.info(
            "%s: %s %s by %s (%s), because: %s; %s",
            row.outcome, row.action, row.target or "this silo", row.actor, level.name.lower(), row.reason or "-",
            row.text,
            extra={"event": "act", "action": row.action, "target": row.target, "actor": row.actor,
                   "reason": row.reason, "outcome": row.outcome},
        )  # fmt: skip
        if row.outcome != BEGUN:
            self._events.publish(ActionTaken(row.action, row.target or "this silo", row.actor, row.reason, row.outcome))

    def after(self, question: After) -> Audit:
        """The oldest rows numbered after the one asked for; -n asks for the newest n."""
        number = question.number if question.number >= 0 else max(0, self._number + question.number)
        rows = [row for row in self._rows if row.number > number]
        oldest = self._rows[0].number if self._rows else self._number + 1
        most = max(0, min(question.limit, MOST_ROWS))
        return Audit(self._address, tuple(rows[:most]), max(0, oldest - 1 - number))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
