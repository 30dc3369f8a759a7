"""Without faults no call fails, no invariant is violated, and no grain is ever active twice."""

from __future__ import annotations

import asyncio
import logging

import pytest

from grange import Grain
from grange.testing import Simulation
from grange.testing.simulation import Load


@pytest.mark.parametrize("seed", range(4))
def test_no_faults_no_violations_and_no_duplicate_window(seed: int) -> None:
    result = Simulation(seed, minutes=2, calm=0).run()
    assert result.violations == []
    assert result.figures["duplicate_turns"] == 0
    assert result.counts["call_ok"] > 200
    assert not any(name.startswith("fault:") for name in result.counts)
    assert set(result.counts).isdisjoint({"call_unknown", "call_fail", "log:silo_declared_dead", "loop_error"})


def test_size_grains_and_load_can_be_chosen() -> None:
    class Extra(Grain):
        """Hosted beside the workload."""

    result = Simulation(1, silos=5, grains=[Extra], minutes=1.5, calm=5, load=Load(clients=1, keys=3, pace=0.5)).run()
    assert result.violations == []
    assert "127.0.0.1:11005" in "\n".join(result.log)


def test_logging_is_restored_after_a_run() -> None:
    root = logging.getLogger("grange")
    before = (root.level, root.propagate, root.handlers[:])
    Simulation(1, minutes=1.5).run()
    assert (root.level, root.propagate, root.handlers) == before


def test_a_result_names_the_command_that_replays_it() -> None:
    simulation = Simulation(7, minutes=1.5)
    simulation.report_violation("I9", "silo-1", "planted")
    assert str(simulation.run()).splitlines()[1:] == ["  I9 silo-1: planted", "replay: make simulate SEED=7"]


async def test_a_simulation_needs_a_thread_without_a_loop() -> None:
    simulation = Simulation(1)
    with pytest.raises(RuntimeError, match="loop"):
        simulation.run()
    simulation.loop.close()
    assert asyncio.get_running_loop().is_running()


@pytest.mark.parametrize("seed", range(4))
def test_no_call_fails_while_connections_are_replaced(seed: int) -> None:
    """S8: requests in flight, answers, streams and calls to observers survive each replacement."""
    result = Simulation(seed, minutes=2, calm=0, load=Load(renew=0.5)).run()
    assert result.violations == []
    assert result.counts["call_ok"] > 200
    assert result.counts["renews"] > 10
    assert result.counts["asks_for_renewal"] > 50
    assert set(result.counts).isdisjoint({"call_unknown", "call_fail", "log:silo_declared_dead", "loop_error"})
