"""Reads the times that authors write: seconds, spans, dates and periods become a schedule. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from grange.grains.options import is_number
from grange.grains.tick import Cron
from grange.reminders.cron import parse_cron, zone_of
from grange.reminders.schedule import LATEST, SECOND, Missed, Schedule, next_cron

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

When = float | timedelta | datetime
"""Seconds from now, a span from now, or a date with a time zone."""


def moment(time: int) -> datetime:
    """A time in microseconds as a date in UTC."""
    return EPOCH + timedelta(microseconds=time)


def when(due: When, now: int) -> int:
    """The time that `due` means, in microseconds. Raises ValueError or TypeError."""
    if isinstance(due, datetime):
        if due.tzinfo is None:
            raise ValueError(f"due={due!r} has no time zone; write datetime(..., tzinfo=...), or seconds from now")
        time = (due - EPOCH) // MICROSECOND
    else:
        time = now + span("due", due, 0.0)
    if time >= LATEST:
        raise ValueError(f"due={due!r} lies beyond the year 9998")
    return time


def span(name: str, given: float | timedelta, least: float) -> int:
    """A span in microseconds. Raises ValueError or TypeError; `least` is in seconds."""
    if isinstance(given, timedelta):
        seconds = given / timedelta(seconds=1)
    elif is_number(given):
        seconds = given
    else:
        raise TypeError(f"{name}={given!r} must be a number of seconds or a timedelta")
    if not least <= seconds < math.inf:
        raise ValueError(f"{name}={given!r} must be {least:g} s or more")
    if seconds * SECOND >= LATEST:
        raise ValueError(f"{name}={given!r} lies beyond the year 9998")
    return round(seconds * SECOND)


def schedule_of(
    now: int,
    shortest: float,
    due: When | None,
    every: float | timedelta | None,
    cron: str | Cron | None,
    missed: str | None,
) -> Schedule:
    """The schedule of a reminder that is set `now`. `shortest` is the shortest period in seconds.

    Raises ValueError or TypeError that names the argument.
    """
    repeats = every is not None or cron is not None
    if every is not None and cron is not None:
        raise ValueError("give every= or cron=, not both")
    if due is None and not repeats:
        raise ValueError("give due=, every= or cron=, or the reminder would never come")
    if missed is not None and not repeats:
        raise ValueError(
            f"missed={missed!r} has no effect on a reminder that comes once: it is delivered, however late; add "
            "every= or cron="
        )
    if missed not in (None, *Missed):
        raise ValueError(f'missed={missed!r} must be "skip", "once" or "all"')
    policy = Missed(missed or Missed.ONCE)
    if cron is not None:
        return _by_cron(now, due, Cron(cron) if isinstance(cron, str) else cron, policy)
    return _by_period(now, shortest, due, every, policy)


def _by_period(
    now: int, shortest: float, due: When | None, every: float | timedelta | None, missed: Missed
) -> Schedule:
    first = now if due is None else when(due, now)
    if every is None:
        return Schedule(first)
    period = span("every", every, shortest)
    if due is None:
        first += period
    elif first < now:  # a date in the past says only where the periods begin
        first += -(-(now - first) // period) * period
    return Schedule(first, every=period, missed=missed)


def _by_cron(now: int, due: When | None, cron: Cron, missed: Missed) -> Schedule:
    parse_cron(cron.expression)
    zone_of(cron.zone)
    after = now if due is None else max(now, when(due, now) - 1)
    try:
        first = next_cron(cron.expression, cron.zone, after)
    except OverflowError:
        first = LATEST
    if first >= LATEST:
        raise ValueError(f"{cron!r} names no time before the year 9998")
    return Schedule(first, cron=cron.expression, zone=cron.zone, missed=missed)
