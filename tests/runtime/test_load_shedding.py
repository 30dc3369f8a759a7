"""The share of requests that is refused while the event loop is late, by its pure rule (S7)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from grange.runtime.calls.load_shedding import MOST, LoadShedder


def test_it_is_off_without_a_limit() -> None:
    shedder = LoadShedder(0.0)
    assert not any(shedder.measured(100.0) for _ in range(100))
    assert not any(shedder.refuses() for _ in range(100))


def test_the_share_grows_while_the_loop_is_late_and_shrinks_again() -> None:
    shedder = LoadShedder(0.5)
    begins = [shedder.measured(2.0) for _ in range(60)]
    assert begins.count(True) == 1
    assert shedder.share == MOST
    for _ in range(60):
        shedder.measured(0.0)
    assert shedder.share == 0
    assert not shedder.refuses()


def test_one_late_moment_refuses_nothing() -> None:
    shedder = LoadShedder(0.5)
    shedder.measured(2.0)
    assert shedder.share == 0


@given(st.floats(0.01, MOST))
def test_refusals_are_the_share_and_spread_evenly(share: float) -> None:
    shedder = LoadShedder(1.0)
    shedder.share = share
    refused = [shedder.refuses() for _ in range(1000)]
    assert abs(sum(refused) - 1000 * share) <= 1
    assert abs(sum(refused[:100]) - 100 * share) <= 1
