"""Log lines of a silo process, for people or as JSON. Only the command line configures logging; the library never does.

A JSON line has `time`, `level`, `logger`, `message` and the fields of `extra=`. One of them is `event`, a word that
stays the same when a message is reworded. An error adds its type, message and traceback.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from grange.printable import printable_json, printable_lines

LEVELS = ("debug", "info", "warning", "error")

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class TextLines(logging.Formatter):
    """Formats a record as one line of text, and a traceback below it.

    Only the first line of a record begins at the left: text from elsewhere cannot forge a line, nor steer a terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        """logging.Formatter: the lines."""
        first, *rest = printable_lines(super().format(record))
        return "\n".join((first, *(line if line.startswith("  ") else f"  {line}" for line in rest)))


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object. `fields` are added to every line: cluster and silo."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__()
        self._fields = {name: value for name, value in fields.items() if value}
        self._encoder = msgspec.json.Encoder(enc_hook=str)

    def format(self, record: logging.LogRecord) -> str:
        """logging.Formatter: the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._fields,
        }
        line.update({name: value for name, value in vars(record).items() if name not in _STANDARD})
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            line["error"] = {
                "type": type(error).__qualname__,
                "message": str(error),
                "traceback": "".join(traceback.format_exception(error)),
            }
        return self._encode(line)

    def _encode(self, line: dict[str, Any]) -> str:
        try:
            return printable_json(self._encoder.encode(line).decode())
        except (TypeError, ValueError, RecursionError):  # a value in `extra=` that JSON cannot represent
            texts = {name: _encodable(value) for name, value in line.items()}
            return printable_json(self._encoder.encode(texts).decode())


def _encodable(value: object) -> str:
    try:
        text = str(value)
    except Exception as error:  # the application's `__str__` may raise anything
        text = f"<no text: {type(error).__name__} in __str__>"
    return text.encode("utf-8", "backslashreplace").decode()


def write_logs(level: str, as_json: bool, fields: Mapping[str, str]) -> None:
    """Send the logs of the whole process, including the application's, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(fields) if as_json else TextLines(_TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
