"""Grains with two states that are stored in one set, while silos and the store fail: both states, or neither."""

from __future__ import annotations

import pytest

from grange.testing import Simulation
from grange.testing.simulation import Load
from grange.testing.simulation.workloads.ledgers import Ledgers


@pytest.mark.parametrize(("seed", "calm"), [(1, 0.0), (2, 10.0), (3, 10.0)])
def test_no_set_is_stored_in_part(seed: int, calm: float) -> None:
    load = Load(clients=3, keys=4, pace=0.3, workloads=(Ledgers,))
    result = Simulation(seed, minutes=3, calm=calm, load=load).run()
    assert [str(each) for each in result.violations] == []
    assert result.counts["call_ok"] > 100
    assert calm or not result.counts.get("call_unknown")
