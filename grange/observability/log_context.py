"""What a log line says beside its text: the trace, and the grain type of the turn that wrote it. And its rate limit.

Both are filters for handlers. `grange run` and the ring of log lines use them; a program may add them to its handlers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar

from grange.aio.rate_limit import RateLimit

AUDIT = "grange.audit"
"""The logger of the acts of operators."""

current_trace: ContextVar[tuple[str, str] | None] = ContextVar("current_trace", default=None)
"""Trace id and span id, in hexadecimal, of the turn or call that runs. Set by the tracing of grange."""


def no_grain() -> str:
    """The grain type where no turn is known."""
    return ""


class LogContext(logging.Filter):
    """Gives each record `trace_id`, `span_id` and `grain_type`, unless it has them; empty if there is none.

    `grain_type` returns the grain type of the turn that runs.
    """

    def __init__(self, grain_type: Callable[[], str] = no_grain) -> None:
        super().__init__()
        self._grain_type = grain_type

    def filter(self, record: logging.LogRecord) -> bool:
        """logging.Filter: add the attributes; let the record pass."""
        trace = current_trace.get()
        fields = vars(record)
        if "trace_id" not in fields:
            record.trace_id, record.span_id = trace or ("", "")
        if not fields.get("grain_type"):
            record.grain_type = self._grain_type()
        return True


class LimitedLines(logging.Filter):
    """Lets at most ten lines a key and minute of grange's own loggers pass.

    The key is the event with its grain type, or the logger with the template of the message. Lines of other loggers
    pass, because only their authors know which of them repeat. So does a line that was limited where it was made
    (`limited`), and each line of the audit: no act may hide behind others. A record that several handlers get is
    counted once: they all follow the first one. `suffix` becomes an attribute of the record, for formatters to add to
    the message.
    """

    def __init__(self) -> None:
        super().__init__()
        self._limit = RateLimit()

    @property
    def suppressed(self) -> int:
        """Number of lines left out."""
        return self._limit.suppressed

    def filter(self, record: logging.LogRecord) -> bool:
        """logging.Filter: decide, and note the decision in the record."""
        fields = vars(record)
        if "passes" not in fields:
            is_whole = record.name == AUDIT or not record.name.startswith("grange.")
            passes = fields.get("limited") or is_whole
            suffix = "" if passes else self._limit.suffix(self._key(record), record.created)
            record.passes, record.suffix = suffix is not None, suffix or ""
        return bool(fields["passes"])

    def _key(self, record: logging.LogRecord) -> tuple[str, str]:
        event = getattr(record, "event", "")
        return (event, getattr(record, "grain_type", "")) if event else (record.name, str(record.msg))
