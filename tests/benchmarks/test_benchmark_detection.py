"""The harness of the detection figures: what it counts and disturbs, in a tiny form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.detection.__main__ import main
from benchmarks.detection.disturbance import CALM, DISTURBANCES, Disturbance
from benchmarks.detection.measures import cost, faults, hangs
from grange.membership.model.options import MembershipOptions

TODAY = MembershipOptions()


def test_a_calm_silo_sends_and_answers_each_probe_once_an_interval() -> None:
    rates = cost(3, TODAY, 20.0, "test").rates
    assert rates["probes"] == pytest.approx(4 / TODAY.probe_interval, rel=0.05)  # two others, question and answer
    assert rates["alive writes"] == pytest.approx(1 / TODAY.alive_period, rel=0.2)
    assert rates["indirect"] == rates["gossip"] == rates["changes"] == 0


def test_each_hang_is_found_and_no_other_silo_dies() -> None:
    found = hangs(4, TODAY, 3, CALM, "test")
    assert len(found.seconds) == 3
    assert found.false_deaths == 0
    assert TODAY.vote_after - 0.1 <= found.quantile(0.5) <= found.quantile(1.0) < 2 * TODAY.vote_after


def test_the_same_seed_gives_the_same_figures() -> None:
    assert hangs(3, TODAY, 2, DISTURBANCES["hogs"], "test") == hangs(3, TODAY, 2, DISTURBANCES["hogs"], "test")


def test_silos_that_hear_nothing_of_each_other_fence_themselves() -> None:
    found = faults(3, TODAY, 30.0, Disturbance(lost=1.0, delay=3.0), "test")
    assert found.fences >= 3


def test_a_disturbance_that_silos_bear_causes_no_death() -> None:
    found = faults(3, TODAY, 60.0, DISTURBANCES["pauses"], "test")
    assert (found.deaths, found.open_deaths) == (0, 0)
    assert found.seconds >= 60
    assert found.silo_seconds == 3 * found.seconds
    assert found.cost.rates["probes"] > 2


def test_the_command_prints_and_writes_all_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = tmp_path / "detection.json"
    few = ["--sizes", "3", "--sets", "after", "--hangs", "2", "--faults", "all", "--hours", "0.005"]
    assert main([*few, "--set", "vote_after=2.5", "--json", str(where)]) == 0
    printed = capsys.readouterr().out
    assert "3, after, calm" in printed
    assert "3, after, all" in printed
    report = json.loads(where.read_text())
    assert report["options"]["after"]["vote_after"] == 2.5
    assert report.keys() == {"options", "messages", "hangs", "faults"}
