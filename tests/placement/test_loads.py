"""Loads of silos: stale ones are ignored, own placements count, and the newest report wins."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.errors import Overloaded
from grange.placement import LeastLoaded, PlacementContext, SiloLoad
from grange.placement.balance import SharedSuspension, Suspension, imbalance, surplus
from grange.placement.loads import LoadRow, Loads
from grange.proto.ids import GrainId, SiloAddress

SILOS = tuple(SiloAddress("silo", port, 1) for port in range(1, 10))
ME, OTHER, *_ = SILOS


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def context(
    loads: dict[SiloAddress, SiloLoad], silos: tuple[SiloAddress, ...] = SILOS, seed: int = 1
) -> PlacementContext:
    return PlacementContext(GrainId("cart", "ann"), ME, silos, silos[0], Random(seed), loads=loads)


def test_a_load_that_is_not_reported_again_is_ignored_and_not_passed_on() -> None:
    clock = Clock()
    loads = Loads(ME, clock, 10.0)
    loads.report(0.1, 5)
    loads.merge([LoadRow(OTHER, 7, 0.2, 6)])
    clock.time += 6
    loads.report(0.1, 5)
    clock.time += 6
    loads.merge([LoadRow(OTHER, 7, 0.2, 6)])  # the same report, by way of another silo
    assert set(loads.fresh()) == {ME}
    assert [row.silo for row in loads.rows()] == [ME]


def test_an_older_report_changes_nothing_and_a_newer_one_counts_placements_anew() -> None:
    loads = Loads(ME, Clock(), 10.0)
    loads.merge([LoadRow(OTHER, 7, 0.2, 6)])
    loads.note_placed(OTHER)
    loads.merge([LoadRow(OTHER, 6, 0.9, 60)])
    assert loads.fresh()[OTHER] == SiloLoad(0.2, 6, 1)
    loads.merge([LoadRow(OTHER, 8, 0.3, 7)])
    assert loads.fresh()[OTHER] == SiloLoad(0.3, 7, 0)
    loads.keep_only([ME])
    assert not loads.fresh()


def test_full_silos_get_nothing_and_unknown_ones_only_if_there_is_no_other() -> None:
    """PLC-05: full silos are ignored, silos with figures come first, then those without; all full: an error."""
    strategy, one, two, three = LeastLoaded(), *SILOS[:3]
    silos = (one, two, three)
    full, free = SiloLoad(1.2, 10), SiloLoad(0.3, 10)
    assert {strategy.choose(context({one: full, two: free}, silos, seed)) for seed in range(50)} == {two}
    assert {strategy.choose(context({one: full, two: full}, silos, seed)) for seed in range(50)} == {three}
    with pytest.raises(Overloaded, match="all 3 silos that host it are full") as refused:
        strategy.choose(context(dict.fromkeys(silos, full), silos))
    assert refused.value.retry_after > 0


def test_of_a_sample_the_least_loaded_is_chosen_and_of_equals_the_emptiest() -> None:
    strategy, (one, two) = LeastLoaded(), SILOS[:2]
    loads = {one: SiloLoad(0.9, 1), two: SiloLoad(0.2, 1000)}
    assert {strategy.choose(context(loads, (one, two), seed)) for seed in range(50)} == {two}
    loads = {one: SiloLoad(0.21, 10), two: SiloLoad(0.22, 9)}
    assert {strategy.choose(context(loads, (one, two), seed)) for seed in range(50)} == {two}
    loads = {one: SiloLoad(0.21, 10), two: SiloLoad(0.22, 9, placed=2)}
    assert {strategy.choose(context(loads, (one, two), seed)) for seed in range(50)} == {one}


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=9), st.integers(0, 50))
def test_a_round_of_all_silos_moves_none_below_or_above_the_mean(counts: list[int], tolerance: int) -> None:
    before = dict(zip(SILOS, counts, strict=False))
    mean = sum(counts) / len(counts)
    after = dict(before)
    for silo in before:
        for target, share in surplus(silo, before, tolerance).items():
            assert before[silo] > mean > before[target]
            after[silo] -= share
            after[target] += share
    assert sum(after.values()) == sum(counts)
    for silo, count in after.items():
        assert min(before[silo], mean) <= count <= max(before[silo], mean + 1)
    assert imbalance(after) <= imbalance(before) + 1e-9


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from(SILOS), st.floats(0, 1000)), max_size=8))
def test_all_silos_agree_on_the_newest_suspension_in_any_order(rows: list[tuple[int, SiloAddress, float]]) -> None:
    unique = {(number, silo): seconds for number, silo, seconds in rows}
    suspensions = [Suspension(*key, seconds) for key, seconds in unique.items()]
    clock = Clock()
    one, other = SharedSuspension(ME, clock), SharedSuspension(ME, clock)
    for each in suspensions:
        one.merge(each)
    for each in reversed(suspensions):
        other.merge(each)
    assert one.row() == other.row()
    one.set(50.0)
    other.merge(one.row())
    assert (one.left, other.left) == (50.0, 50.0)
    other.set(0.0)
    one.merge(other.row())
    assert one.left == 0
