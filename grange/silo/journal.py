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
from grange.proto.acts import Level
from grange.proto.ids import SiloAddress
from grange.proto.journal import MAX_ROWS, After, Logs, ReadLogs
from grange.proto.management import encode
from grange.runtime.system_target import SystemTargets
from grange.security.known import HideSecrets, KnownSecrets
from grange.silo.config import SiloConfig


class Journal:
    """The answers of one silo, from its rings. `logs` is None if this silo keeps no log lines."""

    def __init__(self, address: SiloAddress, events: Events, logs: LogRing | None) -> None:
        self._address = address
        self._events = events
        self._logs = logs

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system targets."""
        targets.serve(journal.EVENTS, self._answer_events, Level.VIEWER)
        targets.serve(journal.LOGS, self._answer_logs, Level.VIEWER)

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


def keep_log_lines(parts: AsyncExitStack, config: SiloConfig, known: KnownSecrets | None) -> LogRing | None:
    """Keep the log lines of this process until the silo has stopped, if an option asks for it. No level changes.

    `http` asks for it too, because its pages show the lines. What is `known` as a secret is kept as `***`.
    """
    if not config.keep_logs and config.http == "off":
        return None
    ring, root = LogRing(running_grain_type), logging.getLogger()
    if known is not None:
        ring.addFilter(HideSecrets(known))
    root.addHandler(ring)
    parts.callback(root.removeHandler, ring)
    return ring


def _bounded(limit: int) -> int:
    return max(1, min(limit, MAX_ROWS))
