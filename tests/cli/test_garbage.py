"""The garbage collector of `grange run`: set for a silo, unless the application sets it."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from grange.cli.garbage import THRESHOLDS, settle


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = gc.get_threshold()
    yield
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
