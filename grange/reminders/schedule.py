"""When a reminder is due: its occurrences, and what becomes of those that were missed. Pure.

All times are whole microseconds of Unix time by the clock of the store. Occurrences are counted from the first one
(`every`) or from the calendar (`cron`), never from a tick, so a late tick moves none of them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

import msgspec

from grange.reminders.cron import next_time, parse_cron, zone_of

SECOND = 1_000_000

LATEST = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp()) * SECOND
"""No occurrence is later: beyond it, calendars of Python end."""

MOST_COUNTED = 1_000
"""Most missed occurrences of a cron expression that are counted one by one."""


class Missed(StrEnum):
    """What becomes of occurrences whose time went by while no silo could deliver them."""

    SKIP = "skip"
    ONCE = "once"
    ALL = "all"


class Schedule(msgspec.Struct, frozen=True, omit_defaults=True):
    """`first`, then each `every` microseconds, or each time that `cron` names in `zone`; only `first` without both."""

    first: int
    every: int = 0
    cron: str = ""
    zone: str = "UTC"
    missed: Missed = Missed.ONCE

    @property
    def repeats(self) -> bool:
        """Whether there is more than one occurrence."""
        return bool(self.every or self.cron)

    def following(self, occurrence: int) -> int | None:
        """The occurrence after this one. None: there is none.

        Raises ValueError for an expression or a zone that this machine does not know.
        """
        if self.every:
            following = occurrence + self.every
        elif self.cron:
            try:
                following = next_cron(self.cron, self.zone, occurrence)
            except OverflowError:  # it names no date before the end of the calendar
                return None
        else:
            return None
        return following if following < LATEST else None

    def newest(self, occurrence: int, now: int) -> tuple[int, int]:
        """The last occurrence that is not after `now`, and how many came before it, from `occurrence` on.

        Of a cron expression at most MOST_COUNTED are counted.
        """
        if self.every:
            passed = max(0, now - occurrence) // self.every
            return occurrence + passed * self.every, passed
        passed = 0
        while (following := self.following(occurrence)) is not None and following <= now:
            occurrence, passed = following, passed + 1
            if passed == MOST_COUNTED:
                return self._newest_before(occurrence, now), passed
        return occurrence, passed

    def _newest_before(self, occurrence: int, now: int) -> int:
        """The last occurrence that is not after `now`, without a look at each one from `occurrence` on."""
        back = 60 * SECOND
        while now - back > occurrence:
            found = self.following(now - back)
            if found is not None and found <= now:
                occurrence = found
                while (following := self.following(occurrence)) is not None and following <= now:
                    occurrence = following
                return occurrence
            back *= 2
        return occurrence


def next_cron(cron: str, zone: str, after: int) -> int:
    """The first time after `after` that a cron expression names.

    Raises OverflowError if there is none, and ValueError for an expression or a zone that this machine does not know.
    """
    instant = datetime.fromtimestamp(after // SECOND, UTC)
    return int(next_time(parse_cron(cron), zone_of(zone), instant).timestamp()) * SECOND


class Due(msgspec.Struct, frozen=True):
    """What to do with a reminder that is due.

    `occurrence`: deliver a tick for this one; None: deliver none. `missed`: how many were left out before it. `then`:
    the next occurrence once this is done; None: the reminder is over.
    """

    occurrence: int | None
    missed: int
    then: int | None


def decide(schedule: Schedule, occurrence: int, now: int, grace: int) -> Due:
    """What to do `now` with a reminder that waits for `occurrence`, which is not after `now`.

    Under "all" each occurrence has its tick, in order. Otherwise only the newest of those that have passed has one;
    under "skip" not even that, if it is more than `grace` microseconds late. A reminder without further occurrences is
    delivered, however late.
    """
    if schedule.missed is Missed.ALL or not schedule.repeats:
        return Due(occurrence, 0, schedule.following(occurrence))
    newest, passed = schedule.newest(occurrence, now)
    then = schedule.following(newest)
    if schedule.missed is Missed.SKIP and now - newest > grace:
        return Due(None, passed + 1, then)
    return Due(newest, passed, then)
