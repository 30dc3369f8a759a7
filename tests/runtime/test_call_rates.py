"""The rates of calls, by their pure rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.grains.decorators import CallRate
from grange.runtime.requests.call_rates import MOST_BUCKETS, Buckets, MethodRates
from tests.runtime.process import grain_id

ANN, BOB = grain_id("cart", "ann"), grain_id("cart", "bob")


def rate(calls: int, seconds: float = 1.0, burst: int | None = None, per: str = "grain", caller: str = "") -> CallRate:
    return CallRate(calls, seconds, calls if burst is None else burst, per, caller or None)


def admitted(rates: MethodRates, times: list[float]) -> list[bool]:
    return [rates.admit(ANN, None, now)[0] == 0 for now in times]


def test_a_burst_is_taken_and_then_one_call_per_interval() -> None:
    rates = MethodRates([rate(2, burst=3)])
    assert admitted(rates, [0, 0, 0, 0, 0.4, 0.5, 0.6, 1.0]) == [True] * 3 + [False, False, True, False, True]


def test_the_wait_is_exact_and_a_call_after_it_is_taken() -> None:
    rates = MethodRates([rate(1, 10.0)])
    rates.admit(ANN, None, 100.0)
    wait, exceeded = rates.admit(ANN, None, 103.0)
    assert (wait, exceeded.seconds) == (7.0, 10.0)
    assert rates.admit(ANN, None, 103.0 + wait)[0] == 0


def test_grains_and_callers_have_rates_of_their_own() -> None:
    each = MethodRates([rate(1)])
    assert [each.admit(who, None, 0.0)[0] for who in (ANN, BOB)] == [0, 0]
    together = MethodRates([rate(1, per="method")])
    assert [together.admit(who, None, 0.0)[0] > 0 for who in (ANN, BOB)] == [False, True]
    callers = MethodRates([rate(1, per="method", caller="user")])
    waits = [callers.admit(ANN, context, 0.0)[0] > 0 for context in ({"user": 1}, {"user": 2}, {"user": 1}, None, {})]
    assert waits == [False, False, True, False, True]


def test_all_rates_hold_and_a_refused_call_counts_in_none() -> None:
    rates = MethodRates([rate(10, per="method"), rate(1, 100.0)])
    assert rates.admit(ANN, None, 0.0)[0] == 0
    for _ in range(50):
        wait, exceeded = rates.admit(ANN, None, 0.0)
        assert (wait, exceeded.seconds) == (100.0, 100.0)
    assert [rates.admit(grain_id("cart", str(n)), None, 0.0)[0] == 0 for n in range(10)] == [True] * 9 + [False]


def test_the_number_of_buckets_is_bounded_and_full_ones_go() -> None:
    buckets = Buckets(rate(1))
    for key in range(1, MOST_BUCKETS + 100):
        buckets.take(key, 0.0)
    assert len(buckets) <= MOST_BUCKETS + 1
    assert buckets.wait(10**9, 0.0) > 0, "further callers share one"
    assert buckets.wait(10**9, 200.0) == 0
    buckets.take(10**9, 200.0)
    assert len(buckets) == 1


@given(
    st.integers(1, 5), st.sampled_from([0.5, 1.0, 7.0]), st.integers(1, 6),
    st.lists(st.floats(0, 3), min_size=1, max_size=60),
)  # fmt: skip
def test_no_window_has_more_calls_than_the_rate_allows(
    calls: int, seconds: float, burst: int, gaps: list[float]
) -> None:
    """In each window of w seconds at most `burst` calls and those that w seconds bring."""
    rates, now, taken = MethodRates([rate(calls, seconds, burst)]), 0.0, list[float]()
    for gap in gaps:
        now += gap
        wait, _ = rates.admit(ANN, None, now)
        if wait == 0:
            taken.append(now)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            allowed = burst + (taken[last] - taken[first]) * calls / seconds
            assert last - first + 1 <= allowed + 1e-6


@pytest.mark.parametrize("burst", [1, 4])
def test_a_steady_caller_within_the_rate_is_never_refused(burst: int) -> None:
    rates = MethodRates([rate(3, 1.0, burst)])
    assert all(admitted(rates, [number / 3 for number in range(1000)]))
