"""Abandoned turns and crash loops, with and without faults: no acknowledged write is lost, and none is made late."""

from __future__ import annotations

import pytest

from grange.testing import Simulation
from grange.testing.simulation import Load
from grange.testing.simulation.workloads.strugglers import LIMITS, Strugglers


@pytest.mark.parametrize(("seed", "calm"), [(1, 0.0), (2, 10.0), (3, 10.0), (4, 20.0)])
def test_what_was_acknowledged_is_stored_and_no_older_activation_writes(seed: int, calm: float) -> None:
    """I1, I2, LIF-25, LIF-27: calls fail on purpose here, so that some fail is no violation."""
    load = Load(clients=3, keys=4, pace=1.0, workloads=(Strugglers,))
    result = Simulation(seed, minutes=3, calm=calm, load=load, runtime=LIMITS).run()
    assert [each for each in result.violations if not _is_on_purpose(str(each), calm)] == []
    assert result.counts["call_ok"] > 50
    assert result.counts["log:activation_abandoned"] > 3
    log = "\n".join(result.log)
    assert "TurnAbandoned" in log
    assert "LookupError" in log


def _is_on_purpose(violation: str, calm: float) -> bool:
    """A call that did not succeed, or a turn that went on beside the next activation after it was abandoned."""
    return ("I8" in violation and " ended as " in violation) or (calm == 0 and "Turn(" in violation)
