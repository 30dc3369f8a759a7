"""Time-outs of probes, learnt from earlier answer times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.membership.detection.adaptive_timeout import DEVIATIONS, MIN_ANSWERS, WINDOW, AdaptiveTimeout
from grange.membership.model.options import MembershipOptions
from tests.membership.cluster import address

ONE, TWO = address(1), address(2)
OPTIONS = MembershipOptions()


def after(*taken: float) -> AdaptiveTimeout:
    patience = AdaptiveTimeout(OPTIONS)
    for each in taken:
        patience.answered(ONE, each)
    return patience


def test_the_first_time_out_is_the_option():
    """Until there are four answers; each silo is measured by itself."""
    for count in range(MIN_ANSWERS):
        assert after(*[0.01] * count).timeout(ONE, 0) == OPTIONS.probe_timeout
    patience = after(*[0.01] * MIN_ANSWERS)
    assert patience.timeout(ONE, 0) == OPTIONS.probe_timeout_min
    assert patience.timeout(TWO, 0) == OPTIONS.probe_timeout


def test_phi_eight_is_five_and_a_half_deviations():
    """Hayashibara 2004: a later answer comes once in 10^8 times."""
    assert pytest.approx(5.61, abs=0.01) == DEVIATIONS
    assert after(0.9, 1.1, 0.9, 1.1).timeout(ONE, 0) == pytest.approx(1.0 + 0.1 * DEVIATIONS)


@given(st.lists(st.floats(0, 60), max_size=150), st.integers(0, 8), st.integers(0, 5))
def test_the_time_out_is_within_its_bounds_times_the_score(taken, score, missed):
    """MEM-12: a silo with the worst health score waits nine times as long."""
    timeout = after(*taken).timeout(ONE, score, missed)
    longest = max(OPTIONS.probe_timeout_max, OPTIONS.probe_timeout)
    assert OPTIONS.probe_timeout_min <= timeout / (1 + score) <= longest
    assert timeout == pytest.approx((1 + score) * after(*taken).timeout(ONE, 0, missed))


@given(st.lists(st.floats(0.001, 3), min_size=MIN_ANSWERS, max_size=50))
def test_usual_answers_are_in_time(taken):
    """Every answer within five deviations of the mean is in time; longer answers never shorten the time-out."""
    timeout = after(*taken).timeout(ONE, 0)
    mean = sum(taken) / len(taken)
    assert timeout >= min(mean, OPTIONS.probe_timeout_max)


def test_only_the_last_hundred_answers_count():
    """A connection that was slow an hour ago is not slow now."""
    patience = after(*[3.0] * WINDOW, *[0.01] * WINDOW)
    assert patience.timeout(ONE, 0) == OPTIONS.probe_timeout_min


def test_after_a_miss_the_time_out_is_doubled_up_to_the_first():
    """Late answers are never measured: without this a connection that became slower would miss every probe."""
    patience = after(*[0.01] * 10)
    first = OPTIONS.probe_timeout
    assert [patience.timeout(ONE, 0, missed) for missed in range(4)] == [0.5, first, first, first]
    assert after(*[2.0] * 10).timeout(ONE, 0, 1) == 2.0


def test_a_silo_that_is_not_watched_any_more_is_forgotten():
    patience = after(*[0.01] * 10)
    patience.keep([TWO])
    assert patience.timeout(ONE, 0) == OPTIONS.probe_timeout
