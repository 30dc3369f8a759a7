"""Cron expressions: the minutes that one names, on the clock of a time zone. Pure.

Five fields: minute, hour, day of the month, month, day of the week. Each takes `*`, numbers, ranges, steps and lists;
months and days of the week also names; the day also `L`, the last of its month. If both kinds of day are given, a day
that fits one of them is enough, as in every cron. `@hourly` and its kin are names for common expressions.

Where clocks change, an expression does what Debian's cron does. One with a fixed minute and hour names times of the
clock on the wall: a time that the clock jumps over comes at once after the jump, and one that the clock shows twice
comes once. One whose minute or hour begins with `*` names intervals: it goes on in real time through both.
"""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)

LAST = 32
"""Stands for `L` among the days of a month."""

MOST_MONTHS = 12 * 9
"""Months to look ahead: 29 February may be more than eight years away."""

NAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


class Field(NamedTuple):
    """One field of an expression: its name, its least and greatest number, and the names for some of them."""

    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()


MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
FIELDS = (
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day", 1, 31),
    Field("month", 1, 12, MONTHS),
    Field("weekday", 0, 7, WEEKDAYS),
)


class Expression(msgspec.Struct, frozen=True):
    """A parsed expression. `either`: a day fits by its number or by its weekday. `wild`: it names intervals."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool
    wild: bool

    def next_on_wall(self, after: datetime) -> datetime:
        """The first time after `after` that the expression names, on a clock that never changes (no time zone).

        Raises OverflowError if there is none.
        """
        day, least = after.date(), (after.hour, after.minute)
        if self._fits(day) and (found := self._in_day(least)) is not None:
            return datetime(day.year, day.month, day.day, *found)
        day += DAY
        for _ in range(MOST_MONTHS):
            if (fitting := self._in_month(day)) is not None:
                return datetime(fitting.year, fitting.month, fitting.day, self.hours[0], self.minutes[0])
            day = (day.replace(day=1) + 31 * DAY).replace(day=1)
        raise OverflowError("it names no date")

    def _in_month(self, first: date) -> date | None:
        """The first day from this one to the end of its month that fits."""
        if first.month not in self.months:
            return None
        days = range(first.day, calendar.monthrange(first.year, first.month)[1] + 1)
        return next((day for day in map(lambda number: first.replace(day=number), days) if self._fits(day)), None)

    def _fits(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        by_number = day.day in self.days or (LAST in self.days and (day + DAY).month != day.month)
        by_weekday = day.isoweekday() % 7 in self.weekdays
        return (by_number or by_weekday) if self.either else (by_number and by_weekday)

    def _in_day(self, least: tuple[int, int]) -> tuple[int, int] | None:
        """The first hour and minute of a day after these."""
        times = ((hour, minute) for hour in self.hours if hour >= least[0] for minute in self.minutes)
        return next((time for time in times if time > least), None)


@lru_cache(256)
def parse_cron(text: str) -> Expression:
    """Read an expression. Raises ValueError that names the field, also for one that names no date at all."""
    fields = NAMES.get(text.strip().lower(), text).split()
    if len(fields) != len(FIELDS):
        known = ", ".join(NAMES)
        raise ValueError(
            f"cron={text!r} has {len(fields)} fields; it needs 5 (minute hour day month weekday), or one of {known}"
        )
    minute, hour, day, month, weekday = (_read(text, *each) for each in zip(FIELDS, fields, strict=True))
    cron = Expression(
        tuple(sorted(minute)), tuple(sorted(hour)), day, month, frozenset(each % 7 for each in weekday),
        either=not (fields[2].startswith("*") or fields[4].startswith("*")),
        wild=fields[0].startswith("*") or fields[1].startswith("*"),
    )  # fmt: skip
    try:
        cron.next_on_wall(datetime(2000, 1, 1))
    except OverflowError as error:
        raise ValueError(f"cron={text!r}: {error}") from None
    return cron


def _read(text: str, field: Field, given: str) -> frozenset[int]:
    found: set[int] = set()
    for part in given.lower().split(","):
        numbers = _read_part(field, part)
        if numbers is None:
            names = f", or {field.names[0]} to {field.names[-1]}" if field.names else ""
            raise ValueError(
                f"cron={text!r}: {given!r} is no {field.name}: write *, a number from {field.least} to {field.most}"
                f"{names}, a range a-b, a step */n, or a list of these"
            )
        found |= numbers
    return frozenset(found)


def _read_part(field: Field, part: str) -> set[int] | None:
    """The numbers of one part of a list; None: it is malformed."""
    if part == "l" and field.name == "day":
        return {LAST}
    span, slash, step_text = part.partition("/")
    step = _number(step_text) if slash else 1
    first_text, dash, last_text = span.partition("-")
    if span == "*":
        first, last = field.least, field.most
    else:
        first = _named(field, first_text)
        last = _named(field, last_text) if dash else field.most if slash else first
    if step < 1 or not field.least <= first <= last <= field.most:
        return None
    return set(range(first, last + 1, step))


def _named(field: Field, text: str) -> int:
    return field.names.index(text) + field.least if text in field.names else _number(text)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 4 else -1


@lru_cache(256)
def zone_of(name: str) -> tzinfo:
    """The time zone of this name, such as `Europe/Zurich`. Raises ValueError."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"zone={name!r} is no time zone that this machine knows; write a name such as 'Europe/Zurich', and install "
            "the package tzdata where the system has no time zones"
        ) from None


def next_time(cron: Expression, zone: tzinfo, after: datetime) -> datetime:
    """The first instant after `after` (UTC) that the expression names on the clock of this zone, in UTC.

    Raises OverflowError if there is none, as beyond the year 9999.
    """
    return _next_interval(cron, zone, after) if cron.wild else _next_fixed(cron, zone, after)


def _next_fixed(cron: Expression, zone: tzinfo, after: datetime) -> datetime:
    """The next time on the wall that has not come yet: the first of two, or the end of the gap that hides it."""
    wall = after.astimezone(zone).replace(tzinfo=None)
    while True:
        wall = cron.next_on_wall(wall)
        found = wall.replace(tzinfo=zone).astimezone(UTC)
        if found.astimezone(zone).replace(tzinfo=None) != wall:  # the clock jumps over it
            change = _first_change(zone, found - DAY, found)
            found = found if change is None else change
        if found > after:
            return found


def _next_interval(cron: Expression, zone: tzinfo, after: datetime) -> datetime:
    """The next instant whose time on the wall fits, one stretch without a change of the clock after the other."""
    offset = _offset(zone, after)
    wall = (after + offset).replace(tzinfo=None)
    while True:
        wall = cron.next_on_wall(wall)
        found = wall.replace(tzinfo=UTC) - offset
        change = _first_change(zone, after, found)
        if change is None:
            return found
        after, offset = change, _offset(zone, change)
        wall = (change + offset - MINUTE).replace(tzinfo=None)  # the first minute after the change may fit, too


def _first_change(zone: tzinfo, start: datetime, end: datetime) -> datetime | None:
    """The first instant after `start`, up to `end`, at which the clock of the zone has changed; None: it has not.

    Finds each change that holds for a day, to the second.
    """
    if zone is UTC:
        return None
    before, low = _offset(zone, start), start
    while low < end:
        high = min(low + DAY, end)
        if _offset(zone, high) != before:
            return _change_between(zone, low, high)
        low = high
    return None


def _change_between(zone: tzinfo, low: datetime, high: datetime) -> datetime:
    """The instant at which the clock has changed since `low`; it has at `high`."""
    before = _offset(zone, low)
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        if _offset(zone, middle) == before:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)


def _offset(zone: tzinfo, instant: datetime) -> timedelta:
    offset = instant.astimezone(zone).utcoffset()
    return timedelta() if offset is None else offset
