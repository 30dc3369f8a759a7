"""A schedule says which occurrence is delivered, which are missed, and which comes next."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.grains.tick import Retry
from grange.reminders.entry import pause_after
from grange.reminders.schedule import LATEST, SECOND, Due, Missed, Schedule, decide

MINUTE = 60 * SECOND
START = int(datetime(2024, 5, 1, tzinfo=UTC).timestamp()) * SECOND
GRACE = 30 * SECOND

times = st.integers(0, 10_000 * SECOND)


def test_a_reminder_without_a_period_comes_once_however_late() -> None:
    """It has no further occurrence."""
    assert decide(Schedule(START), START, START + 9 * MINUTE, GRACE) == Due(START, 0, None)


def test_an_occurrence_in_time_is_delivered_and_the_next_is_a_period_after_it() -> None:
    """Not a period after the delivery."""
    schedule = Schedule(START, every=MINUTE)
    assert decide(schedule, START, START + 5 * SECOND, GRACE) == Due(START, 0, START + MINUTE)


def test_once_delivers_the_newest_of_the_missed() -> None:
    """And says how many it left out."""
    schedule = Schedule(START, every=MINUTE)
    now = START + 5 * MINUTE + 40 * SECOND
    assert decide(schedule, START, now, GRACE) == Due(START + 5 * MINUTE, 5, START + 6 * MINUTE)


def test_skip_delivers_none_that_is_late_by_more_than_the_grace() -> None:
    """The schedule goes on with the next one."""
    schedule = Schedule(START, every=MINUTE, missed=Missed.SKIP)
    assert decide(schedule, START, START + 5 * MINUTE + 40 * SECOND, GRACE) == Due(None, 6, START + 6 * MINUTE)
    late = START + 5 * MINUTE + 10 * SECOND  # as after a fail-over
    assert decide(schedule, START, late, GRACE) == Due(START + 5 * MINUTE, 5, START + 6 * MINUTE)


def test_all_delivers_one_after_the_other() -> None:
    """Also when the next has passed already."""
    schedule = Schedule(START, every=MINUTE, missed=Missed.ALL)
    assert decide(schedule, START, START + 5 * MINUTE, GRACE) == Due(START, 0, START + MINUTE)


def test_cron_occurrences_are_counted_up_to_a_limit() -> None:
    """After a year without a silo, the newest is found without a look at each minute."""
    schedule = Schedule(START, cron="* * * * *", missed=Missed.ONCE)
    now = START + 365 * 24 * 60 * MINUTE + 17 * SECOND
    due = decide(schedule, START, now, GRACE)
    assert due == Due(now - 17 * SECOND, 1_000, now + 43 * SECOND)
    few = decide(schedule, START, START + 3 * MINUTE, GRACE)
    assert few == Due(START + 3 * MINUTE, 3, START + 4 * MINUTE)
    rare = Schedule(START, cron="0 0 1 1 *")
    assert decide(rare, START, START + MINUTE, GRACE).occurrence == START


def test_no_occurrence_lies_beyond_the_calendar() -> None:
    """The reminder is then over."""
    assert Schedule(START, every=LATEST).following(START) is None
    assert Schedule(START, cron="0 0 1 1 *").following(LATEST - SECOND) is None


def test_an_unknown_zone_does_not_end_a_reminder() -> None:
    """A machine without this time zone must not take it for one without further occurrences."""
    with pytest.raises(ValueError, match="no time zone"):
        Schedule(START, cron="0 0 * * *", zone="Mars/Olympus").following(START)


@given(times, st.integers(1, 500 * SECOND), times, st.sampled_from(Missed))
def test_a_decision_never_delivers_early_or_off_the_cadence(first: int, every: int, late: int, missed: Missed) -> None:
    """What is delivered is an occurrence that has come; the next one is a whole number of periods later."""
    schedule = Schedule(first, every=every, missed=missed)
    now = first + late
    due = decide(schedule, first, now, GRACE)
    assert due.then is not None
    assert (due.then - first) % every == 0
    if due.occurrence is None:
        assert missed is Missed.SKIP
        assert due.then > now
    else:
        assert due.occurrence <= now
        assert due.then == due.occurrence + every
        assert missed is Missed.ALL or due.then > now
        assert (due.occurrence - first) // every == due.missed


def test_the_pauses_between_attempts_double_up_to_a_limit() -> None:
    """Microseconds."""
    retry = Retry(first=1.0, longest=10.0)
    assert [pause_after(retry, failed) // SECOND for failed in (1, 2, 3, 4, 5, 1_000)] == [1, 2, 4, 8, 10, 10]
