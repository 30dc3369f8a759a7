"""Each strategy, on a frozen context."""

from random import Random

import pytest

from grange.placement import PlacementContext, PlacementStrategy, builtin_strategies
from grange.proto.ids import GrainId, SiloAddress

SILOS = tuple(SiloAddress("silo", port, 1) for port in range(1, 6))
STRANGER = SiloAddress("silo", 99, 1)


def context(caller: SiloAddress = SILOS[3], seed: int = 1) -> PlacementContext:
    return PlacementContext(GrainId("cart", "ann"), caller, SILOS, SILOS[-1], Random(seed))


def choices(strategy: PlacementStrategy, caller: SiloAddress = SILOS[3]) -> set[SiloAddress]:
    return {strategy.choose(context(caller, seed)) for seed in range(100)}


def test_ring_follows_the_ring_and_needs_no_look_up() -> None:
    strategy = builtin_strategies()["ring"]
    assert strategy.computed
    assert choices(strategy) == {SILOS[-1]}


def test_random_spreads_over_all_candidates() -> None:
    """PLC-01: random placement spreads grains over more than one silo."""
    strategy = builtin_strategies()["random"]
    assert not strategy.computed
    assert choices(strategy) == set(SILOS)


def test_prefer_local_chooses_the_callers_silo() -> None:
    """PLC-01: prefer-local places a new grain on the calling grain's silo."""
    strategy = builtin_strategies()["prefer_local"]
    assert not strategy.computed
    assert choices(strategy) == {SILOS[3]}


@pytest.mark.parametrize("name", ["prefer_local", "stateless_worker"])
def test_a_caller_that_does_not_host_the_type_gets_a_random_candidate(name: str) -> None:
    assert choices(builtin_strategies()[name], STRANGER) == set(SILOS)


def test_stateless_workers_run_on_the_callers_silo_and_need_no_look_up() -> None:
    strategy = builtin_strategies()["stateless_worker"]
    assert strategy.computed
    assert choices(strategy) == {SILOS[3]}


def test_strategy_names_are_the_values_of_placement() -> None:
    assert sorted(builtin_strategies()) == [
        "least_loaded",
        "prefer_local",
        "random",
        "ring",
        "role",
        "stateless_worker",
    ]
    assert all(name == strategy.name for name, strategy in builtin_strategies().items())
