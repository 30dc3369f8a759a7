"""A log that limits the rate of repeated warnings that are no events."""

from __future__ import annotations

import asyncio
import logging

from grange.aio.rate_limit import RateLimit
from grange.errors import GrangeError


class ThrottledLog:
    """Writes at most ten records of one message in a minute of the loop's time, and counts those left out."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._limit = RateLimit()

    def warning(self, message: str, error: Exception) -> None:
        """Log or count a warning for an exception. One outside the error tree is a bug, so its traceback is logged."""
        suffix = self._limit.suffix(message, asyncio.get_running_loop().time())
        if suffix is None:
            return
        bug = None if isinstance(error, GrangeError) else error
        self._log.warning("%s: %s%s", message, error, suffix, exc_info=bug, extra={"limited": True})
