"""The garbage collector of `grange run`: set for a silo, unless the application sets it."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from grange.cli.garbage import LONG_PASS, THRESHOLDS, WHOLE_PERIOD, Pacing, settle


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before, callbacks = gc.get_threshold(), list(gc.callbacks)
    yield
    gc.callbacks[:] = callbacks
    gc.enable()
    gc.unfreeze()
    gc.set_threshold(*before)


def test_present_objects_are_exempt_and_passes_are_rare() -> None:
    settle(gc.get_threshold())
    assert gc.get_threshold() == THRESHOLDS
    assert gc.get_freeze_count() > 0


def test_thresholds_of_the_application_stay() -> None:
    before = gc.get_threshold()
    gc.set_threshold(1_234, 7, 9)
    settle(before)
    assert gc.get_threshold() == (1_234, 7, 9)
    assert gc.get_freeze_count() == 0


def test_a_collector_that_is_off_stays_off() -> None:
    before = gc.get_threshold()
    gc.disable()
    settle(before)
    assert not gc.isenabled()
    assert gc.get_threshold() == before


class Passes:
    """Full passes of given lengths, at a time of the test's choice."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pacing = Pacing(lambda: self.now)

    def run(self, seconds: float, generation: int = 2) -> int:
        """Run one pass. Returns the number of objects that are exempt from the next one."""
        info = {"generation": generation}
        self.pacing("start", info)
        self.now += seconds
        self.pacing("stop", info)
        return gc.get_freeze_count()


def test_the_survivors_of_a_long_pass_are_exempt() -> None:
    passes = Passes()
    assert passes.run(LONG_PASS / 2) == 0
    assert passes.run(2 * LONG_PASS, generation=1) == 0
    assert passes.run(2 * LONG_PASS) > 0


def test_all_are_looked_at_again_when_as_much_was_exempted_since() -> None:
    passes = Passes()
    passes.run(2 * LONG_PASS)
    passes.run(2 * LONG_PASS)
    assert passes.run(LONG_PASS / 2) > 0  # too early
    passes.now += WHOLE_PERIOD
    assert passes.run(LONG_PASS / 2) == 0
    assert passes.run(2 * LONG_PASS) > 0
    assert passes.run(LONG_PASS / 2) > 0  # soon after the last one


def test_a_silo_that_does_not_grow_looks_at_all_once() -> None:
    passes = Passes()
    passes.run(2 * LONG_PASS)
    passes.now += WHOLE_PERIOD
    assert passes.run(50 * LONG_PASS) > 0  # all objects
    passes.now += WHOLE_PERIOD
    assert passes.run(2 * LONG_PASS) > 0
    passes.now += WHOLE_PERIOD
    assert passes.run(LONG_PASS / 2) > 0  # less was exempted than the last pass over all looked at
