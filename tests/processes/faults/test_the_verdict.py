"""Tests of the verdict: figures from histories and turn files, and the observed table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from grange.testing.checks.history import Event
from grange.testing.checks.outcomes import Execution
from grange.testing.checks.writers import Turn, duplicate_window
from tests.processes.faults import verdict
from tests.processes.faults.__main__ import RESULTS, results_of
from tests.processes.faults.evidence import turns
from tests.processes.faults.report import Result, figures
from tests.processes.faults.table_observer import Sighting


def call(
    number: int, made: float, ended: float, kind: str = "ok", key: str = "ann", op: str = "increment"
) -> list[Event]:
    return [
        Event(made, "load", number, "invoke", op, key),
        Event(ended, "load", number, kind, op, key, error="" if kind == "ok" else "ConnectionLost"),  # type: ignore[arg-type]
    ]


def line(what: str, t: float, activation: str, number: int) -> bytes:
    return json.dumps([what, t, "counter/f1-ann", activation, f"load/{number}"]).encode()


def test_calls_in_flight_are_those_made_before_the_kill_that_did_not_return() -> None:
    history = [
        *call(1, 0.0, 0.5, "unknown"),
        *call(2, 0.9, 1.05, "unknown"),
        *call(3, 0.9, 5.0),
        *call(4, 2.0, 9.0, "fail"),
    ]
    assert round(verdict.in_flight(history, 1.0), 3) == 0.05


def test_a_grain_is_back_when_its_last_failed_or_slow_call_has_ended() -> None:
    history = [*call(1, 1.1, 4.0, "fail"), *call(2, 2.0, 5.0), *call(3, 6.0, 6.1)]
    assert verdict.answering_again(history, 1.0) == 4.0
    assert verdict.answering_again([*history, *call(4, 7.0, 7.1, "fail")], 1.0) == float("inf")
    assert verdict.answering_again(call(1, 6.0, 6.1), 1.0) == 0.0


def test_turns_are_read_back_and_a_killed_silo_ends_its_own() -> None:
    lines = {
        "a#1": [line("begin", 1.0, "x", 1), line("end", 2.0, "x", 1), line("begin", 3.0, "x", 2)],
        "b#2": [line("begin", 4.0, "y", 3)],
    }
    ran = turns(lines, "f1", {"a#1": 3.5}, now=9.0)
    assert [(each.silo, each.turn.start, each.turn.end) for each in ran] == [
        ("a#1", 1.0, 2.0),
        ("a#1", 3.0, 3.5),
        ("b#2", 4.0, 9.0),
    ]
    assert ran[0].execution == Execution("load", 1)
    assert turns(lines, "f2", {}, now=9.0) == []


def test_the_duplicate_window_ends_with_the_last_turn_that_the_older_activation_began() -> None:
    def turn(start: float, activation: str) -> Turn:
        return Turn(start, start + 0.1, "counter/ann", activation)

    assert duplicate_window([turn(1, "old"), turn(5, "old"), turn(3, "new"), turn(9, "new")]) == 2
    assert duplicate_window([turn(1, "old"), turn(2, "old"), turn(3, "new")]) == 0


def test_a_table_that_is_empty_for_a_moment_is_no_step_back_but_a_dead_that_returns_is() -> None:
    def seen(t: float, version: int, status: str, incarnation: str = "one") -> Sighting:
        return Sighting(t, incarnation, version, {"a": status} if incarnation else {})

    good = [seen(1, 5, "active"), seen(2, 0, "", ""), seen(3, 7, "active", "two"), seen(4, 8, "dead", "two")]
    assert verdict.one_table(good) == []
    assert verdict.deaths(good) == {"a": 4}
    assert verdict.one_table([*good, seen(5, 9, "active", "two")]) != []
    assert verdict.one_table([*good, seen(5, 6, "dead", "three")]) != []


def test_a_figure_without_a_sample_is_not_played_and_one_over_its_target_is_not_ok() -> None:
    def result(**seen: Any) -> Result:
        return Result("F1", 0, 1.0, [], [], {name.replace("_", " "): value for name, value in seen.items()}, {})

    lines = {each.name: each for each in figures([result(declared=[0.3, 9.0]), result(declared=[0.6])])}
    assert (lines["death declared after kill -9, p50"].seen, lines["death declared after kill -9, p50"].ok) == (
        0.6,
        True,
    )
    assert (lines["death declared after kill -9, max"].seen, lines["death declared after kill -9, max"].ok) == (
        9.0,
        False,
    )
    assert lines["self-fence"].seen is None


def test_a_run_of_chosen_rows_does_not_replace_the_record_of_all() -> None:
    folder = Path("a-run")

    assert results_of(folder, "") == RESULTS
    assert results_of(folder, "F4") == folder / "results.json"
