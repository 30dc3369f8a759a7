"""Wall-clock time, for rows and records. Durations use the running loop's time instead."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def utc_now() -> datetime:
    """The current date and time in UTC, for rows that people or other processes read."""
    return datetime.now(UTC)


def start_generation() -> int:
    """The generation of a silo that starts now: milliseconds since 1970, so a later start has a higher number."""
    return time.time_ns() // 1_000_000
