"""The simulation runs with identities and rules, and notices a call that should be refused, or should not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from grange.testing.checks.history import Event, Violation
from grange.testing.simulation.event_log import EventLog
from grange.testing.simulation.simulation import Load, Simulation
from grange.testing.simulation.turns import Note
from grange.testing.simulation.workloads.contract import Ended, Scene
from grange.testing.simulation.workloads.counters import Counters
from grange.testing.simulation.workloads.vaults import KEEPER, NOTED, PORTER, Vaults, may


def test_callers_are_refused_in_a_run_with_faults() -> None:
    """S4: allowed and refused calls of every kind, over crashes, partitions and moves."""
    simulation = Simulation(3, minutes=3, load=Load(workloads=(Vaults, Counters)))
    result = simulation.run()
    assert result.violations == []
    notes = [note.value for note in simulation._turn_log.notes if note.kind == NOTED]
    assert {(method, client == KEEPER, via == PORTER) for method, client, via in notes} == {
        ("look", True, False), ("look", True, True), ("look", False, True),
        ("close", True, False), ("close", True, True),
    }  # fmt: skip
    refused = [event for event in simulation._recorder.events if event.error == "Unauthorized"]
    assert {event.client for event in refused} == {KEEPER, "client-2", "client-3"}


def check(history: Sequence[Event], notes: Sequence[Note] = ()) -> list[Violation]:
    workload = Vaults(Scene(None, EventLog(lambda: 0.0, lambda: "test"), 1, 1.0))  # type: ignore[arg-type]
    return list(workload.check(Ended(history, {}, notes, 0.0, 60.0, {}, stable=True)))


def call(client: str, method: str, way: str, end: Event | None = None, **ended: object) -> list[Event]:
    """A call with its end."""
    made = Event(1.0, client, 1, "invoke", method, "v-1", way)
    return [made, Event(2.0, client, 1, **{"kind": "ok", "op": method, "key": "v-1", **ended})]  # type: ignore[arg-type]


@pytest.mark.parametrize("by_porter", [False, True])
@pytest.mark.parametrize("client", [KEEPER, "client-2"])
@pytest.mark.parametrize("method", ["look", "close", "open"])
def test_each_wrong_outcome_is_found(method: str, client: str, by_porter: bool) -> None:
    way, via = ("porter", PORTER) if by_porter else ("itself", "")
    allowed = may(client, method, by_porter)
    ran = call(client, method, way, value=method)
    refused = call(client, method, way, value="Unauthorized") if by_porter else call(
        client, method, way, kind="fail", error="Unauthorized"
    )  # fmt: skip
    turn = [Note(1.5, NOTED, "1", (method, client, via))]
    assert (check(ran, turn) == []) is allowed
    assert (check([], turn) == []) is allowed
    assert (check(ran) == []) is allowed
    assert (check(refused) == []) is not allowed
    assert check(call(client, method, way, kind="fail", error="SiloUnavailable")) == []
