"""Abandoned turns and crash loops, beside other faults: no acknowledged write is lost, and none is made late."""

from __future__ import annotations

import pytest

from grange.testing import Simulation
from grange.testing.simulation import Load
from grange.testing.simulation.workloads.strugglers import Strugglers


@pytest.mark.parametrize(("seed", "calm"), [(1, 1e6), (2, 10.0), (3, 10.0), (4, 20.0)])
def test_what_was_acknowledged_is_stored_and_no_older_activation_writes(seed: int, calm: float) -> None:
    """I1, I2, I8, LIF-25, LIF-27: also with no other fault; once these are over, every call succeeds."""
    load = Load(clients=3, keys=4, pace=1.0, workloads=(Strugglers,))
    result = Simulation(seed, minutes=3, calm=calm, load=load).run()
    assert result.violations == []
    assert result.counts["call_ok"] > 50
    assert result.counts["log:activation_abandoned"] > 3
    log = "\n".join(result.log)
    assert "TurnAbandoned" in log
    assert "LookupError" in log


def test_in_a_calm_simulation_no_grain_struggles() -> None:
    """I8: no call fails without a fault."""
    result = Simulation(1, minutes=2, calm=0, load=Load(keys=4, workloads=(Strugglers,))).run()
    assert result.violations == []
    assert "log:activation_abandoned" not in result.counts
