"""Silos on one host see that the process of another is gone. Silos on hosts of their own see only that ports refuse."""

from __future__ import annotations

from collections import Counter

import pytest

from grange.testing import Simulation
from grange.testing.simulation.loop import Process
from grange.testing.simulation.processes import HostProcesses

FIREWALLS = ("fault:reject_one", "fault:reject_all", "fault:reject_pair", "fault:reject_host")


def counts_of(*seeds: int) -> Counter[str]:
    """The events of all these seeds, with a fault every four seconds."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        result = Simulation(seed, minutes=4, calm=4).run()
        assert result.violations == []
        assert ("127.0.0.2:11002" in "\n".join(result.log)) == (seed % 2 == 0)
        assert ("127.0.0.1:11002" in "\n".join(result.log)) == (seed % 2 == 1)
        counts.update(result.counts)
    return counts


def test_a_process_sees_which_processes_of_its_host_have_ended() -> None:
    processes = HostProcesses()
    ended, paused = Process("silo-1#1"), Process("silo-2#1")
    one = processes.start("127.0.0.1", 1, 1, ended)
    other = processes.start("127.0.0.1", 2, 1, paused)
    far = processes.start("127.0.0.2", 3, 1, Process("silo-3#1"))
    assert one.own == "machine-127.0.0.1 1 1"
    assert not other.is_gone(one.own)
    ended.alive, paused.paused = False, True
    assert other.is_gone(one.own)
    assert not one.is_gone(other.own), "a paused process is there"
    assert not far.is_gone(one.own), "another host cannot see it"
    again = processes.start("127.0.0.1", 1, 2, Process("silo-1#2"))
    assert not other.is_gone(again.own)
    assert other.is_gone(one.own)
    assert not other.is_gone("")


def test_on_one_host_deaths_are_proven_and_no_refusal_counts() -> None:
    counts = counts_of(1, 3)
    assert counts["death_proven_on_host"] > 0
    assert counts["death_by_refusal"] == 0
    assert sum(counts[kind] for kind in FIREWALLS) > 0


def test_on_different_hosts_silos_die_by_refusals_only() -> None:
    counts = counts_of(2, 4)
    assert counts["death_by_refusal"] > 0
    assert counts["death_proven_on_host"] == 0
    assert sum(counts[kind] for kind in FIREWALLS) > 0


@pytest.mark.parametrize("seed", [1, 2])
def test_the_host_can_be_chosen(seed: int) -> None:
    result = Simulation(seed, minutes=1.5, calm=0, host="127.0.0.9").run()
    assert result.violations == []
    assert "127.0.0.9:11003" in "\n".join(result.log)
