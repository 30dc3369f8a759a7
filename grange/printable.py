"""Text from elsewhere, made safe for terminals and logs: keys, names and errors may hold control characters.

A control sequence can rewrite what a terminal shows, a line break can forge a log line, and a bidirectional override
can make a text look like another. The edges call `printable`: the command line for all that it shows, and the loggers
of grange for all that they interpolate.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable
from typing import Any

_CONTROL = re.compile(
    # C0, DEL and C1; marks and overrides of direction; line and paragraph separators; lone surrogates; the BOM
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)

LOGGERS = (
    *("audit", "client", "directory", "membership", "reminders", "runtime", "security", "silo", "storage"),
    "telemetry",
    "transport",
)
"""The loggers of grange, below `grange`."""


def printable(text: str) -> str:
    """The text with each control character, also a line break, as its escape: `\\x1b`, `\\n`, `\\u202e`."""
    return _CONTROL.sub(_escape, text)


def printable_lines(text: str) -> list[str]:
    """The lines of a text, such as a traceback, each printable."""
    return [printable(line) for line in text.rstrip("\n").split("\n")]


def indented(text: str) -> str:
    """A text of several lines, each printable and indented by two spaces."""
    return "\n".join(f"  {line}" for line in printable_lines(text))


def printable_json(text: str) -> str:
    """JSON with the control characters escaped that JSON leaves as they are. Its line breaks are layout and stay."""
    return _CONTROL.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)


class PrintableArguments(logging.Filter):
    """Makes the arguments of log messages and their tracebacks printable, with any formatter of the application."""

    def filter(self, record: logging.LogRecord) -> bool:
        """logging.Filter: change the record; let it pass."""
        if isinstance(record.args, tuple):
            record.args = tuple(_safe(argument) for argument in record.args)
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not record.exc_text:  # formatters take this text in place of their own
            record.exc_text = indented("".join(traceback.format_exception(error)))
        return True


class TextBlock(str):
    """A log argument of several lines, such as a stack: each line is made printable and indented.

    So no line of it can pass for a log line of its own.
    """

    __slots__ = ()


class _Printable:
    """A value in a log message, whose text is made printable when it is formatted."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return printable(str(self._value))

    def __repr__(self) -> str:
        return printable(repr(self._value))


def _safe(argument: object) -> Any:
    if isinstance(argument, TextBlock):
        return indented(argument)
    if isinstance(argument, str):
        return printable(argument)
    return argument if argument is None or isinstance(argument, int | float) else _Printable(argument)


def _escape(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]


def filter_loggers(get_logger: Callable[[str], logging.Logger] = logging.getLogger) -> None:
    """Let every logger of grange make its arguments printable. A filter of `grange` would not see their records."""
    for name in LOGGERS:
        get_logger(f"grange.{name}").addFilter(PrintableArguments())
