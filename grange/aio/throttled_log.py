"""A log that limits the rate of a repeated message."""

from __future__ import annotations

import asyncio
import logging
import math

from grange.errors import GrangeError


class ThrottledLog:
    """Writes at most one record in `period` seconds of the loop's time; the next record counts those left out.

    `event` is the record's name in `docs/runbooks/`.
    """

    def __init__(self, log: logging.Logger, period: float = 10.0) -> None:
        self._log = log
        self._period = period
        self._last = -math.inf
        self._left_out = 0

    def log_warning(self, message: str, event: str) -> None:
        """Log or count a warning that has no exception."""
        if (suffix := self._due()) is not None:
            self._log.warning("%s%s", message, suffix, extra={"event": event})

    def error(self, message: str, event: str) -> None:
        """Log or count an alarm that has no exception."""
        if (suffix := self._due()) is not None:
            self._log.error("%s%s", message, suffix, extra={"event": event})

    def warning(self, message: str, error: Exception, event: str = "") -> None:
        """Log or count a warning for an exception. One outside the error tree is a bug, so its traceback is logged."""
        if (suffix := self._due()) is None:
            return
        bug = None if isinstance(error, GrangeError) else error
        extra = {"event": event} if event else None
        self._log.warning("%s: %s%s", message, error, suffix, exc_info=bug, extra=extra)

    def _due(self) -> str | None:
        """The suffix of the next record; None while the period runs."""
        now = asyncio.get_running_loop().time()
        if now - self._last < self._period:
            self._left_out += 1
            return None
        suffix = f" ({self._left_out} more since the last such warning)" if self._left_out else ""
        self._last, self._left_out = now, 0
        return suffix
