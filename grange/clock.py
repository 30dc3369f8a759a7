"""Wall-clock time, for rows and records. Durations use the running loop's time instead."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def utc_now() -> datetime:
    """The current date and time in UTC, for rows that people or other processes read."""
    return datetime.now(UTC)


def start_generation() -> int:
    """The least generation of a silo that starts now: milliseconds since 1970.

    A clock may be set back; a silo takes a higher one if an earlier start had it (`membership/table/generations.py`).
    """
    return time.time_ns() // 1_000_000


def uptime() -> float:
    """Seconds on a clock that is never set. Where the system has one, it also counts while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
