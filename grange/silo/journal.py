"""The system targets that answer what happened in this silo: its events and log lines.

`proto/journal.py` has the messages.
"""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack

import msgspec

from grange.grains.context import running_grain_type
from grange.observability.events import Events
from grange.observability.log_ring import LogRing
from grange.proto import journal
from grange.proto.ids import SiloAddress
from grange.proto.journal import MAX_ROWS, After, Logs, ReadLogs
from grange.proto.management import encode
from grange.runtime.system_target import SystemTargets


class Journal:
    """The answers of one silo, from its rings. `logs` is None if this silo keeps no log lines."""

    def __init__(self, address: SiloAddress, events: Events, logs: LogRing | None) -> None:
        self._address = address
        self._events = events
        self._logs = logs

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system targets."""
        targets.serve(journal.EVENTS, self._answer_events)
        targets.serve(journal.LOGS, self._answer_logs)

    def events(self, question: After) -> journal.Events:
        """The events after a number."""
        rows, lost = self._events.after(question.number, _bounded(question.limit))
        last = rows[-1].number if rows else max(0, question.number)
        return journal.Events(self._address, tuple(rows), last, lost, dict(self._events.counts))

    def logs(self, question: ReadLogs) -> Logs:
        """The matching log lines after a number."""
        if self._logs is None:
            return Logs(self._address, (), 0, kept=False)
        rows, lost, last = self._logs.after(question, _bounded(question.limit))
        return Logs(self._address, tuple(rows), last, lost, counts=dict(self._logs.counts))

    async def _answer_events(self, question: bytes) -> bytes:
        return encode(self.events(msgspec.msgpack.decode(question, type=After)))

    async def _answer_logs(self, question: bytes) -> bytes:
        return encode(self.logs(msgspec.msgpack.decode(question, type=ReadLogs)))


def keep_log_lines(parts: AsyncExitStack) -> LogRing:
    """Keep the log lines of this process until the silo has stopped. It changes no level of any logger."""
    ring, root = LogRing(running_grain_type), logging.getLogger()
    root.addHandler(ring)
    parts.callback(root.removeHandler, ring)
    return ring


def _bounded(limit: int) -> int:
    return max(1, min(limit, MAX_ROWS))
