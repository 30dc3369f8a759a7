"""Judges one round: checks the invariants on its records, and computes figures from them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from grange.testing.checks.acknowledged import acknowledged
from grange.testing.checks.history import Event, Operation, Violation, operations
from grange.testing.checks.linearizable import linearizable
from grange.testing.checks.membership import Seen, membership
from grange.testing.checks.models import register
from grange.testing.checks.outcomes import outcomes
from grange.testing.checks.writers import Write, overlaps, writers
from tests.processes.faults.evidence import ExecutedTurn
from tests.processes.faults.table_observer import Sighting

REGISTER_OPS = ("read", "write")


def invariants(
    history: Sequence[Event],
    totals: Mapping[str, int],
    audit: Iterable[Write],
    ran: Iterable[ExecutedTurn],
    deadline: float,
) -> list[Violation]:
    """Check I1, I2, I3 and I8 of one round."""
    return [
        *acknowledged(history, totals),
        *writers(audit),
        *linearizable([each for each in history if each.op in REGISTER_OPS], register, 0, REGISTER_OPS),
        *outcomes(history, deadline, [each.execution for each in ran]),
    ]


def shared_moments(ran: Iterable[ExecutedTurn]) -> list[str]:
    """Pairs of turns of one grain in two activations that ran at the same time."""
    return [
        f"{one.grain}: {one.activation[:8]} until {one.end:.3f}, {other.activation[:8]} from {other.start:.3f}"
        for one, other in overlaps(each.turn for each in ran)
    ]


def one_table(sightings: Iterable[Sighting]) -> list[Violation]:
    """Check I7 on the table. A time at which it was empty is not a view."""
    views = [Seen(s.t, "table", s.version, dict(s.statuses), s.incarnation) for s in sightings if s.incarnation]
    return membership(views)


def deaths(sightings: Iterable[Sighting]) -> dict[str, float]:
    """The time at which each silo was first seen dead, by address."""
    found: dict[str, float] = {}
    for seen in sightings:
        for address, status in seen.statuses.items():
            if status == "dead":
                found.setdefault(address, seen.t)
    return found


def not_ok(history: Iterable[Event]) -> list[Operation]:
    """Calls that did not return a result."""
    return [call for call in operations(history) if call.kind != "ok"]


def returned(history: Iterable[Event]) -> list[Operation]:
    """Calls that returned a result, in the order in which they were made."""
    return [call for call in operations(history) if call.kind == "ok"]


def errors(calls: Iterable[Operation]) -> dict[str, int]:
    """The number of calls by error."""
    counted: dict[str, int] = {}
    for call in calls:
        name = call.end.error if call.end is not None else "never ended"
        counted[name] = counted.get(name, 0) + 1
    return dict(sorted(counted.items()))


def in_flight(history: Iterable[Event], at: float) -> float:
    """Seconds from a time until the end of the last call that was under way then and did not return."""
    cut = [call.end.t - at for call in not_ok(history) if call.invoke.t < at and call.end is not None]
    return max((seconds for seconds in cut if seconds >= 0), default=0.0)


SLOW = 1.0
"""Longest seconds of a normal call on a busy machine."""


def answering_again(history: Iterable[Event], at: float) -> float:
    """Seconds from a time until every key answers normally: the end of the last call since that failed or was slow.

    Infinite when the last call of a key did not return.
    """
    disturbed = 0.0
    last: dict[tuple[bool, str], Operation] = {}
    for call in operations(history):
        if call.end is None or call.end.t < at:
            continue
        last[call.invoke.op == "echo", call.invoke.key] = call
        if call.kind != "ok" or call.end.t - max(at, call.invoke.t) > SLOW:
            disturbed = max(disturbed, call.end.t - at)
    return disturbed if all(call.kind == "ok" for call in last.values()) else float("inf")
