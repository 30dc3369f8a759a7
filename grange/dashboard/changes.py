"""What one silo counted between two snapshots, by method. Pure. Idle methods cost a comparison each.

`observability/snapshot.delta` subtracts everything; the pages show methods, and need them each second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from grange.observability.histogram import NOTHING, Distribution
from grange.observability.snapshot import MethodSnapshot, Snapshot, TypeSnapshot

MethodName = tuple[str, str]
"""A grain type and one of its methods."""


class MethodChange(msgspec.Struct, frozen=True):
    """The requests for one method within `span` seconds: see `MethodSnapshot`."""

    span: float
    calls: Distribution = NOTHING
    turns: Distribution = NOTHING
    waits: Distribution = NOTHING
    failed: int = 0
    refused: int = 0


class Changes(msgspec.Struct, frozen=True):
    """What one silo counted within `span` seconds.

    `methods` holds those with requests only; `states` the writes and conflicts of the types that had some. `cpu` is in
    seconds of processor time a second.
    """

    span: float
    methods: dict[MethodName, MethodChange]
    states: dict[str, tuple[int, int]]
    lag: Distribution = NOTHING
    cpu: float = 0.0


class Sum(msgspec.Struct):
    """The sum of the changes of several silos: rates are per second, distributions are merged."""

    calls: float = 0.0
    failed: float = 0.0
    refused: float = 0.0
    busy: float = 0.0
    times: Distribution = NOTHING
    turns: Distribution = NOTHING
    waits: Distribution = NOTHING

    def add(self, change: MethodChange) -> None:
        """Add the changes of a method in one silo."""
        self.calls += change.calls.count / change.span
        self.failed += change.failed / change.span
        self.refused += change.refused / change.span
        self.busy += change.turns.total / change.span
        self.times = merged(self.times, change.calls)
        self.turns = merged(self.turns, change.turns)
        self.waits = merged(self.waits, change.waits)


def merged(one: Distribution, other: Distribution) -> Distribution:
    """The sum of two distributions; without an addition if one is empty."""
    if not other.cells:
        return one
    return one + other if one.cells else other


def changes_between(before: Snapshot, after: Snapshot) -> Changes | None:
    """The changes from one snapshot of a silo to a later one; None if they are no such pair."""
    span = after.uptime - before.uptime
    if before.address != after.address or span <= 0:
        return None
    known = {each.type: each for each in before.types}
    methods: dict[MethodName, MethodChange] = {}
    states: dict[str, tuple[int, int]] = {}
    for each in after.types:
        was = known.get(each.type) or TypeSnapshot(each.type)
        if each.writes != was.writes or each.conflicts != was.conflicts:
            states[each.type] = (each.writes - was.writes, each.conflicts - was.conflicts)
        for method, change in _of_methods(was.methods, each.methods, span):
            methods[each.type, method] = change
    cpu = max(0.0, after.process.cpu - before.process.cpu) / span
    return Changes(span, methods, states, after.lag.since(before.lag), cpu)


def sums_by_method(changes: Iterable[Changes]) -> dict[MethodName, Sum]:
    """The changes of several silos, by method."""
    sums: dict[MethodName, Sum] = {}
    for each in changes:
        for name, change in each.methods.items():
            sums.setdefault(name, Sum()).add(change)
    return sums


def total_of(sums: Iterable[Sum]) -> Sum:
    """The sum of sums."""
    total = Sum()
    for each in sums:
        total.calls += each.calls
        total.failed += each.failed
        total.refused += each.refused
        total.busy += each.busy
        total.times = merged(total.times, each.times)
        total.turns = merged(total.turns, each.turns)
        total.waits = merged(total.waits, each.waits)
    return total


def _of_methods(
    before: tuple[MethodSnapshot, ...], after: tuple[MethodSnapshot, ...], span: float
) -> Iterator[tuple[str, MethodChange]]:
    known = {each.method: each for each in before}
    for each in after:
        was = known.get(each.method) or MethodSnapshot(each.method)
        if each.calls == was.calls and each.refused == was.refused:
            continue
        yield (
            each.method,
            MethodChange(
                span,
                each.calls.since(was.calls),
                each.turns.since(was.turns),
                each.waits.since(was.waits),
                each.failed - was.failed,
                sum(each.refused.values()) - sum(was.refused.values()),
            ),
        )
