"""The newest log lines of a process, kept for `grange logs` and the dashboard. A handler, attached on request only."""

from __future__ import annotations

import logging
import threading
import traceback
from collections import Counter
from collections.abc import Callable

from grange.observability.log_context import LimitedLines, LogContext, no_grain
from grange.observability.ring import Ring
from grange.printable import printable_lines
from grange.proto.journal import LogRow, ReadLogs

RING_SIZE = 2000
"""Lines that one process keeps."""

MAX_TEXT = 4000
"""Most characters of a message; the rest is cut off."""

MAX_ERROR = 16_000
"""Most characters of a traceback: its end is kept, which names the error."""

MAX_FACTS = 32
"""Most extra fields of a line."""

MAX_FACT = 500
"""Most characters of one of them."""

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message", "asctime", "event", "facts", "grain_type", "limited", "passes", "suffix", "trace_id", "span_id",
}  # fmt: skip
"""Attributes of a record that are no extra fields of the line."""


class LogRing(logging.Handler):
    """Keeps the newest lines, numbered. `counts` has all lines by level, also those left out by the rate limit."""

    def __init__(self, grain_type: Callable[[], str] = no_grain) -> None:
        super().__init__()
        self._ring: Ring[LogRow] = Ring(RING_SIZE)
        # Reentrant: while it is held, the garbage collector may end a task or a file, which logs in this thread.
        self._rows = threading.RLock()
        self.counts: Counter[str] = Counter()
        self.addFilter(LogContext(grain_type))
        self.addFilter(LimitedLines())

    def handle(self, record: logging.LogRecord) -> bool:  # type: ignore[override,unused-ignore]
        """logging.Handler: count the line, and keep it if it passes the filters."""
        with self._rows:
            self.counts[record.levelname.lower()] += 1
        return bool(super().handle(record))

    def emit(self, record: logging.LogRecord) -> None:
        """logging.Handler: keep the line. A record that cannot be formatted is reported by `handleError`."""
        try:
            row = row_of(record)
            with self._rows:
                self._ring.append(lambda number: LogRow(number, *row))
        except Exception:
            self.handleError(record)

    def after(self, question: ReadLogs, limit: int) -> tuple[list[LogRow], int, int]:
        """The matching lines, how many lines after the number are lost, and the number to ask after next."""
        with self._rows:
            rows, lost = self._ring.after(max(question.number, 0))
            last = self._ring.last
        found = [row for row in rows if _matches(row, question)]
        if question.number < 0:
            return found[max(0, len(found) + question.number) :][-limit:], 0, last
        if len(found) > limit:
            found = found[:limit]
            last = found[-1].number
        return found, lost, last


def row_of(record: logging.LogRecord) -> tuple[float, int, str, str, str, str, dict[str, str], str]:
    """A record as the fields of a `LogRow`, without its number. Each is bounded."""
    fields = vars(record)
    facts = {**{name: value for name, value in fields.items() if name not in STANDARD}, **fields.get("facts", {})}
    if grain_type := fields.get("grain_type"):
        facts["grain_type"] = grain_type
    shown = {str(name)[:MAX_FACT]: str(value)[:MAX_FACT] for name, value in list(facts.items())[:MAX_FACTS]}
    text = record.getMessage() + fields.get("suffix", "")
    text = text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text)} characters)"
    return (
        record.created,
        record.levelno,
        record.name,
        "\n".join(printable_lines(text)),
        str(fields.get("event", "")),
        str(fields.get("trace_id", "")),
        shown,
        _error_of(record)[-MAX_ERROR:],
    )


def _error_of(record: logging.LogRecord) -> str:
    if record.exc_text:
        return record.exc_text
    error = record.exc_info[1] if record.exc_info else None
    return "" if error is None else "\n".join(printable_lines("".join(traceback.format_exception(error))))


def _matches(row: LogRow, question: ReadLogs) -> bool:
    return (
        row.level >= question.level
        and (not question.event or row.event == question.event)
        and (not question.trace or row.trace == question.trace)
        and (not question.grain_type or row.facts.get("grain_type") == question.grain_type)
        and (not question.contains or question.contains in row.text or question.contains in row.error)
    )
