"""Wall-clock time, for what is written down. Durations never come from here: they use the running loop's time."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def utc_now() -> datetime:
    """The date and time now, in UTC, for rows that people or other processes read."""
    return datetime.now(UTC)


def start_generation() -> int:
    """A number for a silo that starts now: milliseconds since 1970, so a later start is a higher generation."""
    return time.time_ns() // 1_000_000
