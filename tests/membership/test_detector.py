"""Which missed probe is a reason to vote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.membership.detection.detector import Detector, Silence, Verdict
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


def test_a_silence_begins_with_the_first_miss():
    """Decision 1: the vote is timed from the start of the first missed probe; its answer was due at its time-out."""
    detector = Detector(3)
    assert detector.silence(ONE) is None
    detector.missed(ONE, 5.0, 0.5)
    detector.missed(ONE, 6.0, 1.0)
    assert detector.silence(ONE) == Silence(2, began=5.0, answer_due=5.5)
    detector.answered(ONE)
    assert detector.silence(ONE) is None


@given(st.lists(st.tuples(st.sampled_from([ONE, TWO]), st.booleans()), max_size=40), st.integers(1, 4))
def test_only_misses_since_the_last_answer_count(probes, limit):
    """For each silo by itself, in any order in which probes end."""
    detector = Detector(limit)
    for time, (silo, answers) in enumerate(probes):
        verdict = detector.answered(silo) if answers else detector.missed(silo, time, 0.5)
        since = [each for at, each in probes[: time + 1] if at == silo][::-1]
        row = since.index(True) if True in since else len(since)
        assert detector.missed_in_row(silo) == row
        expected = Verdict.ANSWERS if answers else Verdict.SUSPECT if row >= limit else Verdict.MISSED
        assert verdict is expected
        silence = detector.silence(silo)
        times = [at for at, probe in enumerate(probes[: time + 1]) if probe[0] == silo]
        assert (silence.began if silence else None) == (times[-row] if row else None)
    assert detector.missing == sum(bool(detector.missed_in_row(silo)) for silo in (ONE, TWO))


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
