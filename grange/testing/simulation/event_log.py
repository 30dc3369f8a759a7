"""The event log of a simulation: one line per event, hashed, and counted by kind."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager

from grange.membership.model.evidence import Evidence

DEATHS = {
    Evidence.REFUSED: "death_by_refusal",
    Evidence.GONE: "death_proven_on_host",
    Evidence.SILENT: "death_by_silence",
}
"""The event that is counted for a `silo_declared_dead`, by the evidence in its reason."""

ROOT = logging.getLogger("grange")


class EventLog:
    """All events in order. `counts` holds the number of events of each kind.

    `now` returns the virtual time in seconds, `process_name` the name of the running process.
    """

    def __init__(self, now: Callable[[], float], process_name: Callable[[], str]) -> None:
        self.now = now
        self._process_name = process_name
        self.lines: list[str] = []
        self.counts: Counter[str] = Counter()

    def record(self, kind: str, text: str = "") -> None:
        """Record one event of the running process."""
        self.counts[kind] += 1
        self.lines.append(f"{self.now():.6f} {self._process_name()} {kind} {text}".rstrip())

    @property
    def hash(self) -> str:
        """SHA-256 of all lines: equal for the same seed and commit."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()

    @contextmanager
    def capture_logging(self) -> Generator[None]:
        """Record grange's log records here only. The kind of a record is its `event`, or its level if it has none."""
        handler = _LogRecorder(self)
        level, propagate, handlers = ROOT.level, ROOT.propagate, ROOT.handlers[:]
        ROOT.setLevel(logging.INFO)
        ROOT.propagate = False
        ROOT.handlers[:] = [handler]
        try:
            yield
        finally:
            ROOT.setLevel(level)
            ROOT.propagate = propagate
            ROOT.handlers[:] = handlers


class _LogRecorder(logging.Handler):
    """Writes log records to an event log."""

    def __init__(self, event_log: EventLog) -> None:
        super().__init__()
        self._event_log = event_log

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        event = getattr(record, "event", None)
        kind = f"log:{event}" if event else f"log:{record.levelname.lower()}"
        error = f" {record.exc_info[1]!r}" if record.exc_info and record.exc_info[1] else ""
        text = record.getMessage()
        self._event_log.record(kind, text + error)
        if event == "silo_declared_dead":
            self._event_log.record(next((DEATHS[found] for found in DEATHS if found in text), DEATHS[Evidence.SILENT]))
