"""Counters: what a method's figures tell of turns, waits and refusals, and that hostile names are not kept."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from grange.observability.counters import CALLS_BEFORE_SLOW, SLOW_FLOOR, CallFigures, MethodFigures
from grange.observability.histogram import Histogram

SECONDS = st.floats(0, 50, allow_nan=False)


@given(st.lists(st.tuples(SECONDS, SECONDS, st.booleans()), max_size=30))
def test_the_time_of_a_call_is_that_of_its_wait_and_its_turn(requests: list[tuple[float, float, bool]]) -> None:
    figures, calls, turns, waits = MethodFigures("add"), Histogram(), Histogram(), Histogram()
    for wait, turn, waited in requests:
        figures.turns.observe(turn)
        turns.observe(turn)
        calls.observe(turn + wait if waited else turn)
        if waited:
            figures.waited(wait, turn)
            waits.observe(wait)
    found = figures.snapshot()
    assert found.calls.cells == calls.frozen().cells
    assert math.isclose(found.calls.total, calls.total, abs_tol=1e-6)
    assert (found.turns, found.waits) == (turns.frozen(), waits.frozen())


def test_a_snapshot_without_a_change_is_the_same_value() -> None:
    figures = MethodFigures("add")
    figures.turns.observe(0.001)
    figures.failed += 1
    first = figures.snapshot()
    assert figures.snapshot() is first
    figures.refuse("overloaded")
    second = figures.snapshot()
    assert (second.failed, second.refused, first.refused) == (1, {"overloaded": 1}, {})


def test_a_request_counts_as_slow_once_there_are_others_to_compare_with() -> None:
    figures = MethodFigures("add")
    for seconds in [0.2] * (CALLS_BEFORE_SLOW - 1):
        figures.turns.observe(seconds)
    figures.snapshot()
    assert figures.slow_from == math.inf
    figures.turns.observe(0.2)
    figures.snapshot()
    assert 0.2 <= figures.slow_from <= 0.25
    quick = MethodFigures("get")
    for _ in range(CALLS_BEFORE_SLOW):
        quick.turns.observe(0.00001)
    quick.snapshot()
    assert quick.slow_from == SLOW_FLOOR


def test_made_up_names_cost_no_memory() -> None:
    figures = CallFigures()
    for number in range(1000):
        figures.refuse(f"type-{number}", f"method-{number}", "no_such_grain")
    assert figures.refused == {"no_such_grain": 1000}
    assert not figures.methods
