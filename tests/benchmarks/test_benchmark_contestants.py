"""The contestants that are code of this tree can carry out their orders; no test judges their speed."""

import sys

import pytest

from benchmarks.catalog import CONTESTANTS, FIGURES, Setting
from benchmarks.plan import Lengths, Session, Variant
from benchmarks.results import Samples
from benchmarks.run import Outcome, _session

pytestmark = pytest.mark.processes

SHORT = Lengths(rounds=1, seconds=0.05, activations=20, idle=20)


async def carried_out(monkeypatch, tmp_path, name, *figures, arguments=()):
    """Run one session with these figures and return the samples by figure."""
    monkeypatch.setattr("benchmarks.run.FOLDER", tmp_path)
    contestant = CONTESTANTS[name]
    command = (sys.executable, "-m", f"benchmarks.contestants.{contestant.module}", *arguments)
    taken = [FIGURES[figure] for figure in figures]
    session = Session(0, Variant(contestant, "3.11", command), taken[0].setting, tuple(taken))
    outcome = Outcome(Samples(1))
    await _session(session, SHORT, [], outcome)
    assert outcome.failures == {}
    return {figure: rows[f"{name}@3.11"][0] for figure, rows in outcome.samples.taken.items()}


async def test_grange_is_called_by_a_client(monkeypatch, tmp_path):
    found = await carried_out(monkeypatch, tmp_path, "grange", "throughput-10", "size-1k")
    for sample in found.values():
        assert sample["value"] > 0
        assert {"p50", "p99", "p99.9", "client", "server", "processor"} <= sample.keys()
        assert sample["processor"] == pytest.approx(sample["client"] + sample["server"])


async def test_grange_is_called_by_two_clients_at_once(monkeypatch, tmp_path):
    assert FIGURES["clients"].setting is Setting.CLIENTS
    found = await carried_out(monkeypatch, tmp_path, "grange", "clients")
    assert found["clients"]["calls"] > 0


async def test_a_grain_calls_grains_of_another_silo(monkeypatch, tmp_path):
    found = await carried_out(monkeypatch, tmp_path, "grange", "silos")
    assert found["silos"]["calls"] > 0
    assert found["silos"]["server"] > 0


async def test_grange_is_called_in_its_process(monkeypatch, tmp_path):
    found = await carried_out(monkeypatch, tmp_path, "grange", "local", "activation")
    assert found["activation"]["calls"] == 21
    assert "server" not in found["local"]


@pytest.mark.parametrize("name", ["bare", "bare packed", "bare socket"])
async def test_the_limits_answer(monkeypatch, tmp_path, name):
    arguments = CONTESTANTS[name].arguments
    found = await carried_out(monkeypatch, tmp_path, name, "throughput-100", "size-64k", arguments=arguments)
    assert all(sample["value"] > 0 for sample in found.values())
