"""The histogram: counts, sums, merges and quantiles."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from grange.observability.histogram import BOUNDS, CELLS, Distribution, Histogram

SECONDS = st.floats(0, 100, allow_nan=False)
VALUES = st.lists(SECONDS, min_size=1, max_size=60)


def of(values: list[float]) -> Distribution:
    histogram = Histogram()
    for value in values:
        histogram.observe(value)
    return histogram.frozen()


def test_the_cells_go_from_50_microseconds_to_30_seconds() -> None:
    assert (BOUNDS[0], BOUNDS[-1], CELLS) == (0.00005, 30.0, 19)
    assert all(before < after <= 3 * before for before, after in itertools.pairwise(BOUNDS))


@given(VALUES)
def test_every_value_is_counted_once_in_its_cell(values: list[float]) -> None:
    cells = of(values).all_cells
    bounds = (-math.inf, *BOUNDS, math.inf)
    expected = [sum(low < value <= high for value in values) for low, high in itertools.pairwise(bounds)]
    assert list(cells) == expected
    assert math.isclose(of(values).total, math.fsum(values), abs_tol=1e-9)


@given(VALUES, st.floats(0, 1))
def test_a_quantile_is_in_the_cell_of_the_exact_one(values: list[float], share: float) -> None:
    found = of(values).quantile(share)
    ordered = sorted(values)
    exact = ordered[max(0, math.ceil(share * len(values)) - 1)]
    assert found is not None
    bounds = (0.0, *BOUNDS)
    low, high = max(b for b in bounds if b < exact or b == 0.0), min([b for b in BOUNDS if b >= exact], default=30.0)
    assert low <= found <= high


@given(VALUES, VALUES)
def test_two_histograms_add_to_that_of_all_values(first: list[float], second: list[float]) -> None:
    both = of(first) + of(second)
    assert both.cells == of(first + second).cells
    assert both.since(of(first)).cells == of(second).cells


def test_an_empty_histogram_has_no_quantile_and_no_mean() -> None:
    assert Distribution().quantile(0.5) is None
    assert Distribution().mean is None
    assert Distribution().count == 0


def test_the_values_over_a_bound_are_counted() -> None:
    assert of([0.5, 1.0, 1.1, 3.0, 99.0]).over(1.0) == 3
