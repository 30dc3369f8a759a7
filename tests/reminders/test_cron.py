"""Cron expressions name minutes on the clock of a time zone, also where that clock is changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.reminders.cron import next_time, parse_cron, zone_of

ZURICH, LORD_HOWE = "Europe/Zurich", "Australia/Lord_Howe"


def times(expression: str, zone: str, start: str, count: int) -> list[str]:
    """The next times after `start` (UTC), on the wall of the zone."""
    cron, place, after = parse_cron(expression), zone_of(zone), datetime.fromisoformat(start).replace(tzinfo=UTC)
    found: list[str] = []
    for _ in range(count):
        after = next_time(cron, place, after)
        found.append(after.astimezone(place).strftime("%m-%d %H:%M %z"))
    return found


@pytest.mark.parametrize(
    ("expression", "start", "expected"),
    [
        ("* * * * *", "2024-05-01T10:00:30", ["05-01 10:01 +0000", "05-01 10:02 +0000"]),
        ("*/20 * * * *", "2024-05-01T10:00", ["05-01 10:20 +0000", "05-01 10:40 +0000", "05-01 11:00 +0000"]),
        ("5/20 * * * *", "2024-05-01T10:00", ["05-01 10:05 +0000", "05-01 10:25 +0000", "05-01 10:45 +0000"]),
        ("0 9 * * mon-fri", "2024-05-03T09:00", ["05-06 09:00 +0000"]),
        ("0 0 L * *", "2024-02-01T00:00", ["02-29 00:00 +0000", "03-31 00:00 +0000"]),
        ("0 0 29 2 *", "2024-03-01T00:00", ["02-29 00:00 +0000"]),
        ("0 0 1 * 7", "2024-05-01T00:00", ["05-05 00:00 +0000", "05-12 00:00 +0000"]),  # either kind of day is enough
        ("0 0 */2 * 0", "2024-05-01T00:00", ["05-05 00:00 +0000", "05-19 00:00 +0000"]),  # a day with * : both
        ("30 8,17 1-3 jan,Jul *", "2024-06-30T00:00", ["07-01 08:30 +0000", "07-01 17:30 +0000"]),
        ("@daily", "2024-05-01T10:00", ["05-02 00:00 +0000"]),
        ("@Monthly", "2024-05-01T10:00", ["06-01 00:00 +0000"]),
    ],
)
def test_each_field_selects(expression: str, start: str, expected: list[str]) -> None:
    """Numbers, ranges, steps, lists, names and L; each time is strictly later."""
    assert times(expression, "UTC", start, len(expected)) == expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("* * * *", "4 fields"),
        ("", "0 fields"),
        ("60 * * * *", "'60' is no minute: write .* from 0 to 59"),
        ("* 24 * * *", "is no hour"),
        ("* * 0 * *", "is no day"),
        ("* * * 13 *", "is no month"),
        ("* * * foo *", "jan to dec"),
        ("* * * * 8", "is no weekday"),
        ("5-1 * * * *", "is no minute"),
        ("*/0 * * * *", "is no minute"),
        ("1,,2 * * * *", "is no minute"),
        ("٣ * * * *", "is no minute"),
        ("0 0 30 2 *", "it names no date"),
        ("@often", "1 fields"),
    ],
)
def test_a_wrong_expression_is_refused_by_its_field(expression: str, message: str) -> None:
    """Also one that names a date which no calendar has."""
    with pytest.raises(ValueError, match=message):
        parse_cron(expression)


def test_an_unknown_zone_is_refused() -> None:
    """The message says what to install."""
    for name in ("Europe/Nowhere", "../etc/passwd", ""):
        with pytest.raises(ValueError, match="no time zone that this machine knows"):
            zone_of(name)


def test_a_fixed_time_in_the_gap_comes_once_when_the_gap_ends() -> None:
    """On 31 March 2024 the clock of Zurich jumps from 2:00 to 3:00."""
    found = times("0,30 2 * * *", ZURICH, "2024-03-30T12:00", 3)
    assert found == ["03-31 03:00 +0200", "04-01 02:00 +0200", "04-01 02:30 +0200"]


def test_a_fixed_time_that_the_clock_shows_twice_comes_once() -> None:
    """On 27 October 2024 the hour from 2:00 comes twice in Zurich."""
    assert times("30 2 * * *", ZURICH, "2024-10-26T12:00", 2) == ["10-27 02:30 +0200", "10-28 02:30 +0100"]
    # It has come: also when one asks in the second of the two hours.
    assert times("30 2 * * *", ZURICH, "2024-10-27T01:10", 1) == ["10-28 02:30 +0100"]


def test_intervals_go_on_in_real_time_through_both_changes() -> None:
    """Each half hour comes, in the repeated hour twice, in the missing hour not at all."""
    assert times("*/30 * * * *", ZURICH, "2024-03-31T00:15", 3) == [
        "03-31 01:30 +0100", "03-31 03:00 +0200", "03-31 03:30 +0200",
    ]  # fmt: skip
    assert times("*/30 2 * * *", ZURICH, "2024-10-26T23:59", 4) == [
        "10-27 02:00 +0200", "10-27 02:30 +0200", "10-27 02:00 +0100", "10-27 02:30 +0100",
    ]  # fmt: skip


def test_a_clock_that_is_changed_by_half_an_hour() -> None:
    """Lord Howe Island: back from 2:00 to 1:30, and forth from 2:00 to 2:30."""
    assert times("*/15 * * * *", LORD_HOWE, "2024-04-06T14:40", 4) == [
        "04-07 01:45 +1100", "04-07 01:30 +1030", "04-07 01:45 +1030", "04-07 02:00 +1030",
    ]  # fmt: skip
    assert times("10 2 * * *", LORD_HOWE, "2024-10-05T10:00", 2) == ["10-06 02:30 +1100", "10-07 02:10 +1100"]


@given(
    st.sampled_from(["*", "*/7", "0", "5,50", "10-20"]),
    st.sampled_from(["*", "*/2", "2", "1-3", "0,23"]),
    st.sampled_from(["*", "1", "L", "10-20"]),
    st.sampled_from(["*", "0", "6,7"]),
    st.sampled_from([ZURICH, "America/New_York", LORD_HOWE, "UTC", "Asia/Kathmandu"]),
    st.datetimes(datetime(2023, 1, 1), datetime(2025, 1, 1), timezones=st.just(UTC)),
)
def test_the_next_time_is_later_and_the_first_that_fits(
    minute: str, hour: str, day: str, weekday: str, zone: str, start: datetime
) -> None:
    """No time between the two fits on a wall that is not being changed."""
    cron, place = parse_cron(f"{minute} {hour} {day} * {weekday}"), zone_of(zone)
    found = next_time(cron, place, start)
    assert found > start
    assert found.second == found.microsecond == 0
    moment = start.replace(second=0, microsecond=0)
    while (moment := moment + timedelta(minutes=1)) < min(found, start + timedelta(days=2)):
        wall = moment.astimezone(place)
        around = {(moment + timedelta(hours=step)).astimezone(place).utcoffset() for step in (-3, 0, 3)}
        if len(around) == 1:
            naive = wall.replace(tzinfo=None)
            assert cron.next_on_wall(naive - timedelta(minutes=1)) != naive
