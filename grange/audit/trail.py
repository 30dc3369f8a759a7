"""The rows of one silo: numbered, in a ring, on the logger `grange.audit`, and in the table if there is one.

The outcome of each act is also an event, `action_taken`, so the charts and the timeline of a silo show it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime
from itertools import chain

import msgspec

from grange.audit.writer import NotWritten, TableWriter
from grange.observability.catalogue import ActionTaken
from grange.observability.events import Events
from grange.observability.log_context import AUDIT, current_trace
from grange.printable import printable
from grange.proto.acts import ACT_ROW, CALL_ROW, KINDS, Act, Audit, AuditRow, Level, Outcome
from grange.proto.ids import SiloAddress
from grange.proto.journal import After

log = logging.getLogger(AUDIT)

KEPT = 1000
"""Rows of each kind that a silo keeps: refused callers cannot push the acts out. The log has all rows, if the program
logs this logger from INFO on, as `grange run` does."""

MOST_ROWS = 200
"""Most rows in one answer."""

BEGUN = "begun"
"""The outcome in the row before an act or call. Such a row without one after it: the process ended in between."""

LONGEST = 300
"""Characters of a name, target, reason or text in a row."""


class AuditTrail:
    """Writes the rows. `now` is the wall clock: people read the times.

    `writer` puts them into the table; `required`: an act or a call begins only when the row before it is there.
    """

    def __init__(
        self,
        address: SiloAddress,
        now: Callable[[], datetime],
        events: Events,
        writer: TableWriter | None = None,
        required: bool = False,
    ) -> None:
        self._address = address
        self._now = now
        self._events = events
        self._number = 0
        self._rows: dict[str, deque[AuditRow]] = {kind: deque(maxlen=KEPT) for kind in KINDS}
        self.writer = writer
        self.waits = required and writer is not None
        self.counts: Counter[str] = Counter()

    def write(self, act: Act, actor: str, level: Level, outcome: Outcome | str, text: str, *, begun: int = 0) -> int:
        """Add a row about an act; returns its number. The values of an act are left out: arguments may hold secrets."""
        return self.add(act_row(act, actor, level, outcome, text, begun))

    def add(self, row: AuditRow) -> int:
        """Give a row its number and time, keep and log it, and have it put into the table. Returns the number."""
        row = self._kept(row)
        if self.writer is not None:
            self.writer.put(row)
        return row.number

    async def begin(self, row: AuditRow) -> int:
        """Add the row before an act or call; returns its number. If the table is required, wait until it is there.

        Raises NotWritten: then the act or call must not begin.
        """
        if self.writer is None or not self.waits:
            return self.add(row)
        row = self._kept(row)
        try:
            await self.writer.write(row)
        except NotWritten as error:
            error.number = row.number
            raise
        except asyncio.CancelledError:  # without this row it would look as if the process had ended
            text = "it was cancelled before it began"
            self.add(msgspec.structs.replace(row, outcome=str(Outcome.REFUSED), text=text, begun=row.number))
            raise
        return row.number

    def _kept(self, row: AuditRow) -> AuditRow:
        self._number += 1
        self.counts[row.kind] += 1
        trace = row.trace or (current_trace.get() or ("",))[0]
        row = msgspec.structs.replace(
            row, number=self._number, trace=trace, time=self._now().timestamp(), actor=_short(row.actor),
            via=_short(row.via), action=_short(row.action), target=_short(row.target), reason=_short(row.reason),
            text=_short(row.text),
        )  # fmt: skip
        self._rows[row.kind].append(row)
        _log(row)
        if row.kind == ACT_ROW and row.outcome != BEGUN:
            self._events.publish(ActionTaken(row.action, row.target or "this silo", row.actor, row.reason, row.outcome))
        return row

    def after(self, question: After) -> Audit:
        """The oldest rows numbered after the one asked for; -n asks for the newest n."""
        number = question.number if question.number >= 0 else max(0, self._number + question.number)
        most = max(0, min(question.limit, MOST_ROWS))
        rows = [row for row in chain.from_iterable(self._rows.values()) if row.number > number]
        rows = sorted(rows, key=lambda row: row.number)[:most]
        last = rows[-1].number if rows else self._number
        return Audit(self._address, tuple(rows), max(0, last - number - len(rows)))


def act_row(act: Act, actor: str, level: Level, outcome: Outcome | str, text: str, begun: int = 0) -> AuditRow:
    """A row about an act, without its number and time."""
    return AuditRow(0, 0.0, actor, level, str(act.action), act.target, act.reason, str(outcome), text, begun=begun)


def _log(row: AuditRow) -> None:
    role = f" ({row.level.name.lower()})" if row.level else ""
    via = f" by {row.via}" if row.via else ""
    log.info(
        "%s: %s %s by %s%s%s, because: %s%s",
        row.outcome, row.action, row.target or "this silo", row.actor or "an unknown caller", via, role,
        row.reason or "-", f"; {row.text}" if row.text else "",
        extra={
            "event": "act_audited" if row.kind == ACT_ROW else "call_audited" if row.kind == CALL_ROW
            else "denial_audited",
            "action": row.action, "target": row.target, "actor": row.actor, "via": row.via, "reason": row.reason,
            "outcome": row.outcome, "audit_number": row.number, "trace_id": row.trace, "span_id": "",
        },
    )  # fmt: skip


def _short(text: str) -> str:
    """At most `LONGEST` printable characters: callers choose names and keys, and databases refuse some characters."""
    text = printable(text[: LONGEST + 1])
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
