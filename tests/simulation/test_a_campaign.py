"""Many seeds: run in several processes, added up, and failed for violations and for events that never occurred."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from grange.testing import Simulation
from grange.testing.checks.history import Violation
from grange.testing.simulation.campaign import SOMETIMES, SeedResult, rows, run_seed, summarise


def result(seed: int, *violations: Violation, counts: dict[str, int] | None = None, error: str = "") -> SeedResult:
    return SeedResult(seed, "", 2.0, list(violations), counts or {}, 1, error)


def campaign(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "grange.testing.simulation", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_summary_has_totals_failures_and_missing_events() -> None:
    violated = result(2, Violation("I1", "a", "lost"), counts={"cas_lost": 1})
    raised = result(3, error="Traceback")
    summary = summarise([result(1, counts={"fault:crash": 2, "cas_lost": 1}), violated, raised], 10.0)
    assert summary.failed == [violated, raised]
    assert (summary.counts["cas_lost"], summary.faults, summary.seconds_per_seed) == (2, 2, 2.0)
    assert set(summary.missing) == set(SOMETIMES) - {"cas_lost", "fault:crash"}
    assert {name for name, _, _ in rows(summary)} == {*SOMETIMES, "duplicate_turns"}


def test_an_exception_of_a_simulation_is_its_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Simulation) -> None:
        raise RuntimeError("the harness is wrong")

    monkeypatch.setattr(Simulation, "run", fail)
    found = run_seed(5, 1.5)
    assert not found.good
    assert "the harness is wrong" in found.error


def test_seeds_run_in_several_processes_and_are_added_up_as_json() -> None:
    done = campaign("--seeds", "3", "--first", "11", "--minutes", "1.5", "--workers", "2", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["seeds"], summary["failed"]) == (3, [])
    assert summary["counts"]["call_ok"] > 100


def test_a_strict_campaign_fails_for_events_that_never_occurred() -> None:
    done = campaign("--seeds", "1", "--minutes", "1.5", "--strict")
    assert done.returncode == 1
    assert "never occurred:" in done.stdout


def test_one_seed_prints_its_log_and_its_hash() -> None:
    done = campaign("--seed", "11", "--minutes", "1.5")
    result = Simulation(11, minutes=1.5).run()
    assert done.returncode == 0
    assert done.stdout == "".join(f"{line}\n" for line in result.log)
    assert done.stderr.splitlines()[-1] == f"event log {result.hash}"
