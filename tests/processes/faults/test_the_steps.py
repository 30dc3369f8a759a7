"""Tests of the steps after a death: each is read from its record, and one without a record is left out."""

from __future__ import annotations

from typing import Any

from grange.testing.checks.history import Event
from grange.testing.checks.outcomes import Execution
from grange.testing.checks.writers import Turn
from tests.processes.faults.evidence import ExecutedTurn
from tests.processes.faults.report import Result, steps_seen, steps_table
from tests.processes.faults.steps import ALL, FIRST, NOTED, RECOVERED, VIEWED, WRITTEN, Death, steps
from tests.processes.faults.table_observer import Sighting

KILLED = Death(10.0, "c", "c#3")
LIVED = {"a": "active", "b": "active", "c": "active"}
DIED = LIVED | {"c": "dead"}
TABLE = [Sighting(1.0, "one", 6, LIVED), Sighting(10.6, "one", 7, DIED)]


def viewed(t: float, version: int = 7, member: str = "c", status: str = "dead") -> dict[str, Any]:
    facts = {"version": version, "member": member, "status": status}
    return {"t": t, "event": "membership_changed", "msg": "", "facts": facts}


def recovered(t: float, version: int = 7) -> dict[str, Any]:
    return {"t": t, "msg": f"ranges of view {version} recovered from 2 silos in 0.012 s"}


def ran(silo: str, start: float, key: str, number: int) -> ExecutedTurn:
    return ExecutedTurn(Turn(start, start + 0.1, f"counter/{key}", silo), silo, Execution("load", number))


def call(number: int, made: float, ended: float, key: str, kind: str = "ok") -> list[Event]:
    return [
        Event(made, "load", number, "invoke", "increment", key),
        Event(ended, "load", number, kind, "increment", key),  # type: ignore[arg-type]
    ]


def of(**given: Any) -> dict[str, float]:
    """The steps of the kill, with these records and no others."""
    records: dict[str, Any] = {"sightings": TABLE, "logs": {}, "noted": {}, "history": [], "ran": []}
    return steps(KILLED, **(records | given))


def test_a_death_is_written_when_the_table_shows_it_and_noted_when_the_store_says_so() -> None:
    assert of(noted={"c": 10.7, "b": 10.1}) == {WRITTEN: 0.6, NOTED: 0.7}
    assert of(sightings=TABLE[:1]) == {}
    assert of(logs={"a": [viewed(10.58)], "b": [viewed(10.62)]})[WRITTEN] == 0.58


def test_the_last_survivor_counts_and_one_that_does_not_log_the_view_leaves_it_out() -> None:
    early = viewed(9.0)
    assert of(logs={"a": [early, viewed(10.7)], "b": [viewed(10.9), viewed(12.0, 8)]})[VIEWED] == 0.9
    assert VIEWED not in of(logs={"a": [viewed(10.7)], "b": [viewed(10.8, 8, "d"), viewed(10.8, 8, "c", "active")]})
    assert of(logs={"a": [viewed(10.7)], "b": [viewed(10.7)], "new": []})[VIEWED] == 0.7


def test_ranges_are_recovered_when_the_last_silo_has_those_of_the_view_with_the_death() -> None:
    logs = {
        "a": [viewed(10.7), recovered(10.75), recovered(20.0, 8)],
        "b": [viewed(10.8), recovered(10.95)],
    }
    assert of(logs=logs)[RECOVERED] == 0.95
    assert RECOVERED not in of(logs={"a": [viewed(10.7)], "b": [viewed(10.8)]})


def test_the_grains_of_the_dead_silo_are_those_whose_last_turn_it_ran() -> None:
    turns = [
        *(ran("c#3", 8.0, "ann", 1), ran("b#2", 7.0, "ann", 2)),  # on the dead silo at last
        *(ran("c#3", 7.0, "bob", 3), ran("b#2", 8.0, "bob", 4)),  # on another one at last
        *(ran("a#1", 12.0, "ann", 5), ran("a#1", 10.2, "bob", 6), ran("c#3", 9.99, "ann", 7)),
    ]
    history = [
        *call(7, 9.98, 10.1, "ann"),  # its answer was on its way
        *call(6, 10.1, 10.3, "bob"),
        *call(5, 10.2, 12.1, "ann"),
        *call(8, 10.4, 11.0, "ann", "fail"),
        *call(9, 13.0, 13.1, "ann"),
    ]
    seen = of(history=history, ran=turns)
    assert (seen[FIRST], seen[ALL]) == (2.1, 2.1)
    failed = [*history, *call(10, 14.0, 14.1, "ann", "fail")]
    assert of(history=failed, ran=turns)[ALL] == 4.1
    assert of(history=call(9, 13.0, 13.1, "ann"), ran=turns)[ALL] == 0.0
    quick = of(history=[*call(8, 9.9, 10.01, "ann", "fail"), *call(5, 12.0, 12.1, "ann")], ran=turns)
    assert (quick[FIRST], quick[ALL]) == (2.1, 2.1)
    assert ALL not in of(history=history[2:4], ran=turns)


def test_the_table_of_steps_has_the_median_and_the_maximum_of_each_row() -> None:
    def result(row: str, **figures: list[float]) -> Result:
        return Result(row, 0, 1.0, [], [], {WRITTEN: [], **figures}, {})

    results = [
        result("F1", **{WRITTEN: [0.5], FIRST: [3.0]}),
        result("F1", **{WRITTEN: [0.7]}),
        result("F4"),
        result("F47", **{WRITTEN: [0.2]}),
    ]
    seen = steps_seen(results)
    assert [(each.row, each.name, each.p50, each.most, each.samples) for each in seen] == [
        ("F1", "death written in the table", 0.6, 0.7, 2),
        ("F1", "first answer of a grain of the dead silo", 3.0, 3.0, 1),
        ("F47", "death written in the table", 0.2, 0.2, 1),
    ]
    table = steps_table(seen)
    assert [column.header for column in table.columns][1:-1] == ["F1 p50", "F1 max", "F47 p50", "F47 max"]
    assert table.row_count == 2
