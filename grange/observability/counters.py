"""The figures of one process while they grow: each part of a silo gets its own object at start-up and adds to it. Pure.

Nothing is looked up in a call: a method's plan holds its figures. Methods named `snapshot` freeze them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from grange.observability.histogram import BOUNDS, Distribution, Histogram
from grange.observability.snapshot import (
    DirectorySnapshot,
    MethodSnapshot,
    OutgoingSnapshot,
    StoreSnapshot,
    TrafficSnapshot,
    TypeSnapshot,
)

TICKS = "(timer)"
"""The method that stands for the ticks of timers; no method can have this name."""


class MethodFigures:
    """The requests for one method of one grain type in this silo; see `MethodSnapshot`.

    `cells` and `total` are the histogram of all turns. Only a request that waited costs more than that: `_late_calls`
    has the times of these from arrival to outcome, and `_late_turns` their turns, so the times of all calls follow.
    """

    __slots__ = ("_late_calls", "_late_turns", "_waits", "cells", "failed", "method", "refused", "total")

    def __init__(self, method: str) -> None:
        self.method = method
        turns = Histogram()
        self.cells = turns.cells
        self.total = turns.total
        self.failed = 0
        self.refused: dict[str, int] = {}
        self._waits = Histogram()
        self._late_calls = Histogram()
        self._late_turns = Histogram()

    def executed(self, seconds: float) -> None:
        """A turn of `seconds` ended."""
        self.cells[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def waited(self, wait: float, turn: float) -> None:
        """The request of that turn had waited for it: both in seconds."""
        self._waits.observe(wait)
        self._late_calls.observe(wait + turn)
        self._late_turns.observe(turn)

    def refuse(self, reason: str) -> None:
        """A request was refused before the grain's code ran."""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def snapshot(self) -> MethodSnapshot:
        """Its state now."""
        turns = Distribution(tuple(self.cells), self.total)
        calls = turns.since(self._late_turns.frozen()) + self._late_calls.frozen()
        return MethodSnapshot(
            self.method, calls, self.failed, turns.since(Distribution()), self._waits.frozen(), dict(self.refused)
        )


class TypeFigures:
    """One grain type in this silo; see `TypeSnapshot`. `methods` are those of the plans of its class."""

    __slots__ = (
        "activation", "collected", "conflicts", "created", "duplicates", "failed", "methods", "name", "placement",
        "ticks", "waiting", "writes",
    )  # fmt: skip

    def __init__(self, name: str, placement: str, methods: Iterable[MethodFigures]) -> None:
        self.name = name
        self.placement = placement
        self.ticks = MethodFigures(TICKS)
        self.methods = (*methods, self.ticks)
        self.waiting = 0
        self.created = 0
        self.collected = 0
        self.failed = 0
        self.duplicates = 0
        self.activation = Histogram()
        self.writes = 0
        self.conflicts = 0

    def snapshot(self, activations: int) -> TypeSnapshot:
        """Its state now, with this number of activations."""
        return TypeSnapshot(
            self.name,
            self.placement,
            activations,
            self.waiting,
            self.created,
            self.collected,
            self.failed,
            self.duplicates,
            self.activation.frozen(),
            tuple(each.snapshot() for each in self.methods),
            self.writes,
            self.conflicts,
        )


class SentFigures:
    """The calls of this process to one method in other processes; see `OutgoingSnapshot`."""

    __slots__ = ("calls", "failed", "method", "refused", "timeouts", "type", "unknown")

    def __init__(self, type: str, method: str) -> None:
        self.type = type
        self.method = method
        self.calls = Histogram()
        self.failed = 0
        self.refused = 0
        self.unknown = 0
        self.timeouts = 0

    @property
    def used(self) -> bool:
        """Whether any call was made."""
        return bool(self.calls.total or self.refused or self.unknown)

    def snapshot(self) -> OutgoingSnapshot:
        """Its state now."""
        return OutgoingSnapshot(
            self.type, self.method, self.calls.frozen(), self.failed, self.refused, self.unknown, self.timeouts
        )


class TrafficFigures:
    """Messages and bytes exchanged with one kind of peer; see `TrafficSnapshot`."""

    __slots__ = ("bytes_received", "bytes_sent", "messages_received", "messages_sent", "peer")

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.messages_sent = 0
        self.messages_received = 0
        self.bytes_sent = 0
        self.bytes_received = 0

    def sent(self, messages: int, size: int) -> None:
        """A frame of this many messages and bytes left."""
        self.messages_sent += messages
        self.bytes_sent += size

    def received(self, messages: int, size: int) -> None:
        """A frame of this many messages and bytes arrived."""
        self.messages_received += messages
        self.bytes_received += size

    def snapshot(self, connections: int) -> TrafficSnapshot:
        """Its state now, with this number of open connections."""
        return TrafficSnapshot(
            self.peer,
            self.messages_sent,
            self.messages_received,
            self.bytes_sent,
            self.bytes_received,
            connections,
        )


class StoreFigures:
    """The operations of one store; see `StoreSnapshot`. `changes`: the writes and conflicts of each grain type."""

    __slots__ = ("_operations", "changes", "conflicts", "errors", "fenced", "provider")

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self._operations = {name: Histogram() for name in ("read", "write", "clear")}
        self.errors: dict[str, int] = {}
        self.conflicts = 0
        self.fenced = 0
        self.changes: dict[str, list[int]] = {}

    def ended(self, operation: str, seconds: float) -> None:
        """An operation ended, perhaps with an error."""
        self._operations[operation].observe(seconds)

    def error(self, error: BaseException) -> None:
        """An operation raised this."""
        name = type(error).__name__
        self.errors[name] = self.errors.get(name, 0) + 1

    def wrote(self, grain_type: str) -> None:
        """A state of this type was stored or cleared."""
        self.changes.setdefault(grain_type, [0, 0])[0] += 1

    def lost_race(self, grain_type: str) -> None:
        """A change of a state of this type met another etag than its own."""
        self.conflicts += 1
        self.changes.setdefault(grain_type, [0, 0])[1] += 1

    def snapshot(self) -> StoreSnapshot:
        """Its state now."""
        operations = {name: each.frozen() for name, each in self._operations.items()}
        return StoreSnapshot(self.provider, operations, dict(self.errors), self.conflicts, self.fenced)


class DirectoryFigures:
    """The counters of this silo's part of the directory; see `DirectorySnapshot`."""

    __slots__ = ("cache_hits", "conflicts", "lookups", "registrations", "transfers")

    def __init__(self) -> None:
        self.lookups = 0
        self.cache_hits = 0
        self.registrations = 0
        self.conflicts = 0
        self.transfers = Histogram()

    def snapshot(self) -> DirectorySnapshot:
        """Its state now, without what other parts know."""
        return DirectorySnapshot(
            lookups=self.lookups,
            cache_hits=self.cache_hits,
            registrations=self.registrations,
            conflicts=self.conflicts,
            transfers=self.transfers.frozen(),
        )


class MembershipFigures:
    """The counters of this silo's part in membership; see `MembershipSnapshot`."""

    __slots__ = ("changes", "deaths", "false_suspicions", "fences", "rtt", "suspicions")

    def __init__(self) -> None:
        self.changes = 0
        self.suspicions = 0
        self.false_suspicions = 0
        self.deaths = 0
        self.fences = 0
        self.rtt = Histogram()
