"""The simulation runs with identities, and notices a turn that runs for another client than that of its call (S3)."""

from __future__ import annotations

import pytest

from grange.grains import caller as callers
from grange.testing.simulation.simulation import Load, Result, Simulation
from grange.testing.simulation.workloads.callers import Callers
from grange.testing.simulation.workloads.counters import Counters


def run() -> tuple[Simulation, Result]:
    simulation = Simulation(5, minutes=2, load=Load(workloads=(Counters, Callers)))
    return simulation, simulation.run()


def test_every_turn_runs_for_the_client_of_its_call() -> None:
    simulation, result = run()
    assert result.violations == []
    seen = simulation._turn_log.callers
    assert {each.subject for each in seen} == {f"spiffe://default/client/client-{number}" for number in (1, 2, 3)}
    assert len({each.grain.partition("/")[0] for each in seen}) > 1


def test_a_turn_for_another_client_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    decode = callers.decode_identity
    monkeypatch.setattr(
        callers, "decode_identity", lambda principal: decode(principal.replace(b"client-1", b"client-2"))
    )
    _, result = run()
    assert {each.invariant for each in result.violations} == {"S3"}
    assert "for a call of client-1 ran for spiffe://default/client/client-2" in str(result.violations[0])


def test_the_same_seed_gives_the_same_log() -> None:
    assert run()[1].hash == run()[1].hash
