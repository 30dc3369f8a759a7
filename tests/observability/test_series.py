"""Series: two rings of fixed size, gaps, and a bound on their number."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.observability.series import COARSE_POINTS, FINE_POINTS, OTHER, Series, SeriesSet

START = 1_800_000_000.0
TIMES = st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 1000)), max_size=80)


@given(TIMES)
def test_the_fine_ring_equals_a_dict_of_the_last_seconds(values: list[tuple[int, int]]) -> None:
    series, model = Series(), dict[int, int]()
    newest = -1
    for offset, value in values:
        series.put(START + offset, value)
        if offset > newest - FINE_POINTS:
            newest = max(newest, offset)
            model[offset] = value
    points = series.fine()
    if newest < 0:
        assert points.values == ()
        return
    first = int(points.start - START)
    assert first + len(points.values) - 1 == newest
    expected = [model.get(first + index) for index in range(len(points.values))]
    # A clock that was set back may write a second that had left the ring; all others are equal.
    assert [None if value is None else float(value) for value in expected] == list(points.values)


def test_the_coarse_ring_has_the_mean_of_each_minute() -> None:
    series = Series()
    start = START - START % 60
    for second in range(180):
        series.put(start + second, second // 60 * 10 + second % 2)
    assert series.coarse(180).values == (0.5, 10.5, 20.5)


def test_a_gap_stays_a_gap() -> None:
    series = Series()
    for second, value in ((0, 1.0), (1, None), (2, math.nan), (3, math.inf), (4, 5.0)):
        series.put(START + second, value)
    assert series.fine(5).values == (1.0, None, None, None, 5.0)


def test_a_ring_holds_no_more_than_its_points() -> None:
    """HST-07: the oldest ones are overwritten."""
    series = Series()
    for second in range(0, 26 * 3600, 7):
        series.put(START + second, 1.0)
    assert len(series.fine().values) == FINE_POINTS
    assert len(series.coarse().values) == COARSE_POINTS


def test_series_beyond_the_limit_are_summed_and_counted() -> None:
    kept = SeriesSet(limit=3)
    for second in (0, 1):
        kept.put(START + second, {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "e": None})
    assert kept.names == ("a", "b", OTHER)
    assert kept.dropped == 3
    other = kept.get(OTHER)
    assert other is not None
    assert other.fine(2).values == (7.0, 7.0)


def test_a_forgotten_series_frees_its_place() -> None:
    kept = SeriesSet(limit=2)
    kept.put(START, {"a": 1.0})
    kept.forget("a")
    kept.put(START + 1, {"b": 2.0})
    assert kept.names == ("b",)
    assert kept.dropped == 0


@pytest.mark.parametrize("limit", [1, 2000])
def test_the_memory_is_bounded(limit: int) -> None:
    kept = SeriesSet(limit)
    kept.put(START, {f"series-{number}": 1.0 for number in range(2500)})
    assert len(kept.names) <= limit
