"""I8: every call ends in time and reports its true outcome: one that ran never ends as not executed. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from grange.testing.checks.history import Event, Operation, Violation, operations

GRACE = 1.0
"""Seconds by which a call may exceed its deadline."""


class Execution(NamedTuple):
    """A grain began to run this call; the method records it as its first action."""

    client: str
    call: int


def outcomes(
    history: Iterable[Event],
    deadline: float,
    executed: Iterable[Execution] | None = None,
    until: float | None = None,
) -> list[Violation]:
    """Check that each call of a history ended within `deadline` seconds, with its true outcome.

    `until` is the end of the recording (default: its last event). A call in progress at that time is a violation only
    if its deadline had passed. `executed` are the executions that the grains recorded. They must contain each call that
    returned, no call that failed as not executed, and no call twice.
    """
    events = list(history)
    end = until if until is not None else max((event.t for event in events), default=0.0)
    calls = list(operations(events))
    violations = [violation for call in calls if (violation := _late(call, deadline, end)) is not None]
    if executed is not None:
        counts = Counter(executed)
        violations += [violation for call in calls if (violation := _misreported(call, counts)) is not None]
    return violations


def _late(call: Operation, deadline: float, until: float) -> Violation | None:
    took = (until if call.end is None else call.end.t) - call.invoke.t
    if took <= deadline + GRACE:
        return None
    state = "has not ended" if call.end is None else "ended"
    return Violation("I8", call.invoke.key, f"{_name(call)} {state} after {took:.1f} s, its deadline was {deadline} s")


def _misreported(call: Operation, executed: Counter[Execution]) -> Violation | None:
    times = executed[Execution(call.invoke.client, call.invoke.call)]
    if times > 1:
        return Violation("I8", call.invoke.key, f"{_name(call)} was executed {times} times")
    if call.kind == "fail" and times:
        error = call.end.error if call.end else ""
        return Violation("I8", call.invoke.key, f"{_name(call)} ended with {error} as not executed, and was executed")
    if call.kind == "ok" and not times:
        return Violation("I8", call.invoke.key, f"{_name(call)} returned, and was not executed")
    return None


def _name(call: Operation) -> str:
    return f"{call.invoke.op} {call.invoke.client}/{call.invoke.call}"
