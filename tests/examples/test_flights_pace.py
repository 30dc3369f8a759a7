"""Recovery times and rates, from given times."""

from __future__ import annotations

import pytest

from examples.flights.pace import Pace


def test_a_steady_run_has_a_rate_and_no_recovery() -> None:
    pace = Pace(10.0, [10 + each / 100 for each in range(1, 301)])
    assert pace.rate == pytest.approx(100)
    assert (pace.rate_before, pace.recovery, pace.longest_silence, pace.half_rate_after) == (0, None, None, None)


def test_the_loss_of_a_silo_shows_in_recovery_and_rates() -> None:
    """100 a second, killed after 2 s, silence for 3 s, a trickle of 10 a second for 1 s, then 80 a second."""
    before = [each / 100 for each in range(1, 201)]
    trickle = [5 + each / 10 for each in range(10)]
    after = [6 + each / 80 for each in range(160)]
    pace = Pace(0.0, before + trickle + after, killed=2.0, answered=5.1)
    assert pace.rate_before == pytest.approx(100)
    assert pace.recovery == pytest.approx(3.1)
    assert pace.longest_silence == pytest.approx(3.0)
    assert pace.half_rate_after is not None
    assert 3.4 < pace.half_rate_after < 4.1


def test_a_run_that_never_began_has_no_rate() -> None:
    assert (Pace(0.0).rate, Pace(0.0).seconds) == (0.0, 0.0)
    assert Pace(0.0, killed=0.0).rate_before == 0.0
