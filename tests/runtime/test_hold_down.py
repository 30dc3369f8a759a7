"""The throttle of failing activations, by its pure rule."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from grange.proto.message import Reason
from grange.runtime.activations.hold_down import FORGET_AFTER, MOST_GRAINS, SHORTEST, HoldDown
from grange.runtime.requests.refusal import Refused
from tests.runtime.process import grain_id

FAILED = Refused(Reason.ACTIVATION_FAILED, "it failed")


def test_the_first_failure_holds_nothing_and_later_ones_double_the_time() -> None:
    holds, times = HoldDown(), []
    for _ in range(9):
        failing = holds.failed(grain_id("cart"), 10.0, 5.0, FAILED)
        times.append(round(failing.until - 10.0, 3))
    assert times == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_grain_is_refused_until_its_time_is_over() -> None:
    holds = HoldDown()
    for _ in range(3):
        holds.failed(grain_id("cart"), 10.0, 5.0, FAILED)
    assert holds.held(grain_id("cart"), 10.1) is not None
    assert holds.held(grain_id("cart"), 10.0 + 2 * SHORTEST) is None
    assert holds.held(grain_id("cart", "b"), 10.1) is None


def test_a_success_and_a_quiet_time_forget_the_failures() -> None:
    holds = HoldDown()
    holds.failed(grain_id("cart"), 0.0, 5.0, FAILED)
    holds.succeeded(grain_id("cart"))
    assert not holds.failing
    holds.failed(grain_id("cart"), 0.0, 5.0, FAILED)
    assert holds.failed(grain_id("cart"), FORGET_AFTER + 1, 5.0, FAILED).failures == 1


def test_zero_holds_nothing() -> None:
    holds = HoldDown()
    for _ in range(5):
        holds.failed(grain_id("cart"), 0.0, 0.0, FAILED)
    assert holds.held(grain_id("cart"), 0.0) is None


def test_the_number_of_remembered_grains_is_bounded() -> None:
    holds = HoldDown()
    for number in range(MOST_GRAINS + 10):
        holds.failed(grain_id("cart", str(number)), 0.0, 5.0, FAILED)
    assert len(holds.failing) == MOST_GRAINS
    assert grain_id("cart", "0") not in holds.failing


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60), st.floats(0, 60))
def test_a_time_is_never_over_the_longest(gaps: list[float], longest: float) -> None:
    holds, now = HoldDown(), 0.0
    for gap in gaps:
        now += gap
        failing = holds.failed(grain_id("cart"), now, longest, FAILED)
        assert now <= failing.until <= now + longest + 1e-6
