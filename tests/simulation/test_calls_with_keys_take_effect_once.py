"""Transactional turns and idempotency keys under faults: every set whole, every entry once."""

from __future__ import annotations

import pytest

from grange.testing import Simulation
from grange.testing.simulation import Load
from grange.testing.simulation.workloads.counters import Counters
from grange.testing.simulation.workloads.tills import Tills


@pytest.mark.parametrize(("seed", "calm"), [(1, 0.0), (2, 10.0), (3, 5.0)])
def test_entries_are_stored_once_and_whole(seed: int, calm: float) -> None:
    load = Load(clients=3, keys=2, pace=0.2, workloads=(Counters, Tills))
    result = Simulation(seed, minutes=3, calm=calm, load=load).run()
    assert [str(each) for each in result.violations] == []
    assert result.counts["entry_posted"] > 40
    assert result.counts["entry_refused"] > 5
    assert calm == 0 or result.counts["entry_failed"] > 0
