"""Says the same trouble once in a while instead of once a second."""

from __future__ import annotations

import asyncio
import logging
import math

from grange.errors import GrangeError


class ThrottledLog:
    """Warnings, at most one in `period` seconds of the loop's time; the next one says how many were left out."""

    def __init__(self, log: logging.Logger, period: float = 10.0) -> None:
        self._log = log
        self._period = period
        self._last = -math.inf
        self._left_out = 0

    def say(self, message: str, event: str) -> None:
        """Log it, or count it: a warning that is no error. `event` as below."""
        if (more := self._due()) is not None:
            self._log.warning("%s%s", message, more, extra={"event": event})

    def error(self, message: str, event: str) -> None:
        """The same, of something that must not have happened."""
        if (more := self._due()) is not None:
            self._log.error("%s%s", message, more, extra={"event": event})

    def warning(self, message: str, error: Exception, event: str = "") -> None:
        """Log it, or count it. An error that is not one of ours is a bug, and brings its traceback.

        `event` is the name under which an operator finds it in `docs/runbooks/`.
        """
        if (more := self._due()) is None:
            return
        bug = None if isinstance(error, GrangeError) else error
        extra = {"event": event} if event else None
        self._log.warning("%s: %s%s", message, error, more, exc_info=bug, extra=extra)

    def _due(self) -> str | None:
        """What to add to the next warning; None: not yet."""
        now = asyncio.get_running_loop().time()
        if now - self._last < self._period:
            self._left_out += 1
            return None
        more = f" ({self._left_out} more since the last such warning)" if self._left_out else ""
        self._last, self._left_out = now, 0
        return more
