"""Streams that are read while silos die, stop and come: what arrives is right, and what does not is said."""

from __future__ import annotations

import pytest

from grange.testing import Simulation
from grange.testing.simulation import Load
from grange.testing.simulation.workloads.counters import Counters
from grange.testing.simulation.workloads.readers import Readers


@pytest.mark.parametrize(("seed", "calm"), [(1, 0.0), (2, 10.0), (3, 10.0)])
def test_no_item_is_missing_repeated_or_out_of_order(seed: int, calm: float) -> None:
    """AEN-01, AEN-16: also those that end early end with what came before."""
    load = Load(clients=3, keys=4, pace=0.2, workloads=(Counters, Readers))
    result = Simulation(seed, minutes=3, calm=calm, load=load).run()
    assert [str(each) for each in result.violations] == []
    ends = {end: result.counts.get(f"read_{end}", 0) for end in ("whole", "left", "cancelled", "aborted")}
    assert ends["whole"] > 40, ends
    assert ends["left"] > 3, ends
    assert ends["cancelled"] > 3, ends
    assert calm or not ends["aborted"], ends
