"""When a missed probe is a reason to vote."""

from __future__ import annotations

import pytest

from grange.membership.detector import Detector, Verdict
from tests.membership.cluster import address

ONE, TWO = address(1), address(2)


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_the_limit_th_miss_in_a_row_is_suspect_and_not_before(limit):
    """MEM-09"""
    detector = Detector(limit)
    verdicts = [detector.missed(ONE, 5.0, 0.5) for _ in range(limit + 2)]
    assert verdicts == [Verdict.MISSED] * (limit - 1) + [Verdict.SUSPECT] * 3
    assert detector.missed_in_row(ONE) == limit + 2


def test_an_answer_sets_the_count_back_to_0():
    """MEM-12"""
    detector = Detector(3)
    detector.missed(ONE, 5.0, 0.5)
    detector.missed(ONE, 5.0, 0.5)
    assert detector.answered(ONE) is Verdict.ANSWERS
    assert detector.missed_in_row(ONE) == 0
    assert [detector.missed(ONE, 5.0, 0.5) for _ in range(3)] == [Verdict.MISSED, Verdict.MISSED, Verdict.SUSPECT]


def test_silos_are_counted_apart():
    detector = Detector(2)
    detector.missed(ONE, 5.0, 0.5)
    assert detector.missed(TWO, 5.0, 0.5) is Verdict.MISSED
    assert detector.missed(ONE, 5.0, 0.5) is Verdict.SUSPECT


def test_a_silo_no_longer_watched_is_forgotten():
    detector = Detector(2)
    detector.missed(ONE, 5.0, 0.5)
    detector.missed(TWO, 5.0, 0.5)
    detector.keep({TWO})
    assert (detector.missed_in_row(ONE), detector.missed_in_row(TWO)) == (0, 1)
