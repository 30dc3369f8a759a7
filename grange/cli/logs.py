"""Log lines of a silo process, for people or as JSON. Only the command line configures logging; the library never does.

A JSON line has `ts`, `level`, `logger`, `msg`, and if they are known `cluster`, `silo`, `generation`, `event`,
`grain_type`, `trace_id`, `span_id`, `facts` and the further fields of `extra=`. `event` is a word that stays the same
when a message is reworded. An error adds `err`: its type, message and stack.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from grange.grains.context import running_grain_type
from grange.observability.log_context import AUDIT, LimitedLines, LogContext
from grange.observability.log_ring import STANDARD
from grange.printable import printable_json, printable_lines
from grange.security.known import HiddenError, HideSecrets, KnownSecrets

LEVELS = ("debug", "info", "warning", "error")

_CONTEXT = ("event", "grain_type", "trace_id", "span_id", "facts")
_TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class TextLines(logging.Formatter):
    """Formats a record as one line of text, and a traceback below it.

    Only the first line of a record begins at the left: text from elsewhere cannot forge a line, nor steer a terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        """logging.Formatter: the lines."""
        first, *rest = printable_lines(super().format(record))
        return "\n".join((first, *(line if line.startswith("  ") else f"  {line}" for line in rest)))

    def formatMessage(self, record: logging.LogRecord) -> str:
        """logging.Formatter: the line, with the end that the rate limit adds."""
        return super().formatMessage(record) + getattr(record, "suffix", "")


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object. `fields` are added to every line: cluster, silo, generation."""

    def __init__(self, fields: Mapping[str, str | int]) -> None:
        super().__init__()
        self._fields = fields
        self._encoder = msgspec.json.Encoder(enc_hook=str)

    def format(self, record: logging.LogRecord) -> str:
        """logging.Formatter: the line."""
        known = vars(record)
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage() + known.get("suffix", ""),
            **{name: value for name, value in self._fields.items() if value},
        }
        line.update({name: known[name] for name in _CONTEXT if known.get(name)})
        line.update({name: value for name, value in known.items() if name not in STANDARD})
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            line["err"] = {
                "type": type(error).__qualname__,
                "msg": str(error),
                "stack": _stack(record, error),
            }
        return self._encode(line)

    def _encode(self, line: dict[str, Any]) -> str:
        try:
            return printable_json(self._encoder.encode(line).decode())
        except (TypeError, ValueError, RecursionError):  # a value in `extra=` that JSON cannot represent
            texts = {name: _encodable(value) for name, value in line.items()}
            return printable_json(self._encoder.encode(texts).decode())


def _stack(record: logging.LogRecord, error: BaseException) -> str:
    """The traceback; of an error that shows a secret, the one without it."""
    if isinstance(error, HiddenError) and record.exc_text:
        return record.exc_text
    return "".join(traceback.format_exception(error))


def _encodable(value: object) -> str:
    try:
        text = str(value)
    except Exception as error:  # the application's `__str__` may raise anything
        text = f"<no text: {type(error).__name__} in __str__>"
    return text.encode("utf-8", "backslashreplace").decode()


def write_logs(level: str, as_json: bool, fields: Mapping[str, str | int], known: KnownSecrets) -> None:
    """Send the logs of the whole process, including the application's, to standard error.

    `fields` are those of `JsonLines`; they may change later. What is `known` as a secret is written as `***`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(fields) if as_json else TextLines(_TEXT))
    handler.addFilter(LogContext(running_grain_type))
    handler.addFilter(LimitedLines())
    handler.addFilter(HideSecrets(known))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger(AUDIT).setLevel(logging.INFO)  # the acts of operators are in the log at each level
    logging.captureWarnings(True)
