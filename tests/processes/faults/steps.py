"""Where the time goes from a fault of one silo until its grains answer: steps from logs, table and history. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grange.testing.checks.history import Event, Operation, operations
from tests.processes.faults import verdict
from tests.processes.faults.evidence import ExecutedTurn
from tests.processes.faults.table_observer import Sighting

WRITTEN = "step: death written in the table"
VIEWED = "step: the last survivor has the view"
NOTED = "step: death noted in the store"
RECOVERED = "step: ranges recovered"
FIRST = "step: first answer of a grain of the dead silo"
ALL = "step: all grains of the dead silo answer"
STEPS = (WRITTEN, VIEWED, NOTED, RECOVERED, FIRST, ALL)
"""The figures of a death in the order in which they usually happen. Each is in seconds after the fault."""

WAITED = 0.25
"""Seconds after which a call to a grain of the dead silo has waited for the death."""

_RANGES = re.compile(r"ranges of view (\d+) recovered")
_TYPES = {"increment": "counter", "total": "counter", "read": "register", "write": "register", "echo": "echo"}

Lines = Mapping[str, Sequence[Mapping[str, Any]]]
"""The log lines of silos by address, each with its monotonic time as `t`."""


@dataclass(frozen=True)
class Death:
    """A silo at whose fault, at the monotonic time `at`, the clock of the steps starts."""

    at: float
    address: str
    identity: str


def steps(
    death: Death,
    sightings: Sequence[Sighting],
    logs: Lines,
    noted: Mapping[str, float],
    history: Sequence[Event],
    ran: Sequence[ExecutedTurn],
) -> dict[str, float]:
    """The seconds from the fault to each step; a step that left no record is not in it."""
    survivors = [address for address in _active(sightings, death.at) if address != death.address]
    moved = {turn.turn.grain for turn in _last_turns(ran, death.at) if turn.silo == death.identity}
    calls = [call for call in operations(history) if _grain(call) in moved and call.end and call.end.t >= death.at]
    found = {
        WRITTEN: _written(death, sightings, survivors, logs),
        VIEWED: _viewed(death, survivors, logs),
        NOTED: noted.get(death.address),
        RECOVERED: _recovered(death, survivors, logs),
        FIRST: _first_answer(death, calls, ran),
    }
    found[ALL] = _last_that_waited(death, calls, found[FIRST] or death.at)
    return {step: round(max(0.0, t - death.at), 3) for step, t in found.items() if t is not None}


def _active(sightings: Iterable[Sighting], at: float) -> set[str]:
    """The silos that the table showed active at this time."""
    return next((seen.active() for seen in reversed(list(sightings)) if seen.t <= at), set())


def _last_turns(ran: Iterable[ExecutedTurn], at: float) -> list[ExecutedTurn]:
    """The last turn of each grain that began before this time."""
    last: dict[str, ExecutedTurn] = {}
    for each in ran:
        known = last.get(each.turn.grain)
        if each.turn.start < at and (known is None or known.turn.start < each.turn.start):
            last[each.turn.grain] = each
    return list(last.values())


def _grain(call: Operation) -> str:
    return f"{_TYPES.get(call.invoke.op, '')}/{call.invoke.key}"


def _tells(line: Mapping[str, Any], death: Death) -> bool:
    """Whether a silo logs with this line that it has a view with the death."""
    facts = line.get("facts", {})
    return (
        line.get("event") == "membership_changed"
        and (facts.get("member"), facts.get("status")) == (death.address, "dead")
        and line["t"] >= death.at
    )


def _written(death: Death, sightings: Iterable[Sighting], survivors: Iterable[str], logs: Lines) -> float | None:
    """When the table had the death: the observer polls, so a survivor may tell of it before the observer."""
    told = [line["t"] for survivor in survivors for line in logs.get(survivor, ()) if _tells(line, death)]
    seen = verdict.deaths(sightings).get(death.address)
    return min([*told, *(() if seen is None else (seen,))], default=None)


def _viewed(death: Death, survivors: Iterable[str], logs: Lines) -> float | None:
    """When the last survivor had a view with the death; None if one of them has not logged it."""
    times = [next((line["t"] for line in logs.get(each, ()) if _tells(line, death)), None) for each in survivors]
    known = [t for t in times if t is not None]
    return max(known) if known and len(known) == len(times) else None


def _recovered(death: Death, survivors: Iterable[str], logs: Lines) -> float | None:
    """When the last survivor had recovered the ranges that it gained with the view of the death."""
    ends = [0.0]
    for survivor in survivors:
        lines = logs.get(survivor, ())
        views = {line["facts"]["version"] for line in lines if _tells(line, death)}
        recovered = ((_RANGES.match(line["msg"]), line["t"]) for line in lines)
        ends += [t for found, t in recovered if found and int(found[1]) in views and t >= death.at]
    return max(ends) or None


def _first_answer(death: Death, calls: Iterable[Operation], ran: Iterable[ExecutedTurn]) -> float | None:
    """When the first of these calls that another silo executed returned."""
    elsewhere = {(each.execution.client, each.execution.call) for each in ran if each.silo != death.identity}
    ends = [
        call.end.t
        for call in calls
        if call.end and call.kind == "ok" and (call.invoke.client, call.invoke.call) in elsewhere
    ]
    return min(ends, default=None)


def _last_that_waited(death: Death, calls: Sequence[Operation], first: float) -> float | None:
    """When the last of these calls ended that failed or waited, not before `first`; None if there are no calls."""
    if not calls:
        return None
    ended = [(call.end.t, call) for call in calls if call.end is not None]
    waited = [t for t, call in ended if call.kind != "ok" or t - max(death.at, call.invoke.t) > WAITED]
    return max([first, *waited])
