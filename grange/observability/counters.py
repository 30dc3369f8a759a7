"""The figures of one process while they grow: each part of a silo gets its own object at start-up and adds to it. Pure.

Nothing is looked up in a call: a method's plan holds its figures. Methods named `snapshot` freeze them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import inf

from grange.observability.histogram import NOTHING, Distribution, Histogram
from grange.observability.snapshot import (
    DirectorySnapshot,
    MethodSnapshot,
    OutgoingSnapshot,
    PortSnapshot,
    StoreSnapshot,
    TrafficSnapshot,
    TypeSnapshot,
)

TICKS = "(timer)"
"""The method that stands for the ticks of timers; no method can have this name."""


SLOW = 0.99
"""A request is slow if it takes longer than this share of the requests for its method."""

SLOW_FLOOR = 0.001
"""Seconds up to which no request is slow, however fast the others are."""

CALLS_BEFORE_SLOW = 100
"""Requests for a method before which none is slow."""


class MethodFigures:
    """The requests for one method of one grain type in this silo; see `MethodSnapshot`.

    `slow_from`: the seconds from which a request counts as slow, see `SLOW`; each snapshot takes it anew. `run_turn`
    adds to `turns` and `failed`. Only a request that waited costs more: `_late` has its times, so those of all calls
    follow.
    """

    __slots__ = (
        "_frozen", "_frozen_at", "_late", "failed", "method", "refused", "replayed", "rolled_back", "slow_from",
        "turns",
    )  # fmt: skip

    def __init__(self, method: str) -> None:
        self.method = method
        self.turns = Histogram()
        self.failed = 0
        self.rolled_back = 0
        self.replayed = 0
        self.slow_from = inf
        self.refused: dict[str, int] = {}
        self._late: _Late | None = None
        self._frozen = MethodSnapshot(method)
        self._frozen_at = (0, 0)

    def waited(self, wait: float, turn: float) -> None:
        """The request of a turn that is counted already had waited for it: both in seconds."""
        if self._late is None:
            self._late = _Late()
        self._late.observe(wait, turn)

    def refuse(self, reason: str) -> None:
        """A request was refused before the grain's code ran."""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def snapshot(self) -> MethodSnapshot:
        """Its state now; that of the last time if nothing has happened since."""
        state = sum(self.turns.cells), sum(self.refused.values())
        if state != self._frozen_at:
            self._frozen_at = state
            turns = self.turns.frozen()
            calls, waits = (turns, NOTHING) if self._late is None else self._late.snapshots(turns)
            self._frozen = MethodSnapshot(
                self.method, calls, self.failed, turns, waits, dict(self.refused), self.rolled_back, self.replayed
            )
            if calls.count >= CALLS_BEFORE_SLOW:
                self.slow_from = max(SLOW_FLOOR, calls.quantile(SLOW) or 0.0)
        return self._frozen


class _Late:
    """The requests for one method that had to wait: their waits, their turns, and both together."""

    __slots__ = ("_calls", "_turns", "_waits")

    def __init__(self) -> None:
        self._waits = Histogram()
        self._turns = Histogram()
        self._calls = Histogram()

    def observe(self, wait: float, turn: float) -> None:
        """Add one request: both in seconds."""
        self._waits.observe(wait)
        self._turns.observe(turn)
        self._calls.observe(wait + turn)

    def snapshots(self, turns: Distribution) -> tuple[Distribution, Distribution]:
        """The times of all calls, given those of all turns; and the waits."""
        return turns.since(self._turns.frozen()) + self._calls.frozen(), self._waits.frozen()


class CallFigures:
    """The requests and calls of one process that belong to no single method. `methods`: those of the grains here.

    `here`: calls inside this process that wait for their outcome now. `timeouts`: calls whose time was over.
    """

    __slots__ = ("here", "methods", "refused", "timeouts")

    def __init__(self) -> None:
        self.here = 0
        self.timeouts = 0
        self.refused: dict[str, int] = {}
        self.methods: dict[tuple[str, str], MethodFigures] = {}

    def refuse(self, grain_type: str, method: str, reason: str) -> None:
        """A request was refused. Names that no grain here has are not kept: peers may make up any number of them."""
        figures = self.methods.get((grain_type, method))
        if figures is not None:
            figures.refuse(reason)
        else:
            self.refused[reason] = self.refused.get(reason, 0) + 1


class AuthorizationFigures:
    """The decisions of one silo about callers. `failed`: its policy function raised an error.

    `would_be_refused`: calls, by grain type, that ran only because of the mode `audit`; `_OTHER`: no type of this silo.
    """

    __slots__ = ("failed", "would_be_refused")

    def __init__(self) -> None:
        self.failed = 0
        self.would_be_refused: dict[str, int] = {}

    def would_refuse(self, grain_type: str) -> None:
        """A call to a grain of this type would be refused."""
        self.would_be_refused[grain_type] = self.would_be_refused.get(grain_type, 0) + 1


class TypeFigures:
    """One grain type in this silo; see `TypeSnapshot`. `methods` are those of the plans of its class."""

    __slots__ = (
        "activation", "collected", "created", "duplicates", "ended", "enumerations", "failed", "items", "methods",
        "moved", "moves_failed", "name", "placement", "ticks", "waiting",
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
        self.moved = 0
        self.moves_failed = 0
        self.ended: dict[str, int] = {}
        self.enumerations = 0
        self.items = 0
        self.activation = Histogram()

    def end(self, code: str) -> None:
        """An activation is gone, for a reason of this kind."""
        self.ended[code] = self.ended.get(code, 0) + 1

    def snapshot(self, activations: int, writes: int = 0, conflicts: int = 0) -> TypeSnapshot:
        """Its state now, with the numbers that other parts know."""
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
            writes,
            conflicts,
            dict(self.ended),
            self.moved,
            self.moves_failed,
            self.enumerations,
            self.items,
        )


class SentFigures:
    """The calls of this process to one method in other processes; see `OutgoingSnapshot`.

    `CallerDeps.result` adds to `calls` and `failed`.
    """

    __slots__ = ("calls", "failed", "method", "refused", "timeouts", "type", "unknown")

    def __init__(self, type: str, method: str) -> None:
        self.type = type
        self.method = method
        self.calls = Histogram()
        self.failed = 0
        self.refused = 0
        self.unknown = 0
        self.timeouts = 0

    def lost(self, timed_out: bool) -> None:
        """The outcome of a call stays unknown."""
        self.unknown += 1
        if timed_out:
            self.timeouts += 1

    @property
    def used(self) -> bool:
        """Whether any call was made."""
        return bool(any(self.calls.cells) or self.refused or self.unknown)

    def snapshot(self) -> OutgoingSnapshot:
        """Its state now."""
        return OutgoingSnapshot(
            self.type, self.method, self.calls.frozen(), self.failed, self.refused, self.unknown, self.timeouts
        )


class TrafficFigures:
    """Messages and bytes of some connections, which add to it with each frame; see `TrafficSnapshot`."""

    __slots__ = ("bytes_received", "bytes_sent", "messages_received", "messages_sent", "shed")

    def __init__(self) -> None:
        self.messages_sent = 0
        self.messages_received = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self.shed = 0  # requests refused because too many are in progress

    def add(self, other: TrafficFigures) -> None:
        """Add the messages and bytes of other connections."""
        self.messages_sent += other.messages_sent
        self.messages_received += other.messages_received
        self.bytes_sent += other.bytes_sent
        self.bytes_received += other.bytes_received

    def snapshot(self, peer: str, connections: int) -> TrafficSnapshot:
        """Its state now, with this number of open connections."""
        return TrafficSnapshot(
            peer,
            self.messages_sent,
            self.messages_received,
            self.bytes_sent,
            self.bytes_received,
            connections,
        )


class PortFigures:
    """The connections that one port was asked for; see `PortSnapshot`. `handshakes` are in progress now."""

    __slots__ = ("handshakes", "refused")

    def __init__(self) -> None:
        self.handshakes = 0
        self.refused: dict[str, int] = {}

    def refuse(self, reason: str) -> None:
        """A connection was refused, or a handshake was ended."""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def add(self, other: PortFigures) -> None:
        """Add those of another listener of the same port."""
        self.handshakes += other.handshakes
        for reason, count in other.refused.items():
            self.refused[reason] = self.refused.get(reason, 0) + count

    def snapshot(self, port: str) -> PortSnapshot:
        """Its state now."""
        return PortSnapshot(port, self.handshakes, dict(self.refused))


USUAL_OPERATIONS = ("read", "write", "clear")
"""The kinds of operations on a store that are counted from 0; the others appear with the first one. They are "claim",
"commit" (of more than one item), "answer", "list", "find", "reminders" and "time"."""


class StoreFigures:
    """The operations of one store; see `StoreSnapshot`. `changes`: the writes and lost races by grain type."""

    __slots__ = ("_operations", "changes", "conflicts", "errors", "fenced", "provider")

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self._operations = {name: Histogram() for name in USUAL_OPERATIONS}
        self.errors: dict[str, int] = {}
        self.conflicts = 0
        self.fenced = 0
        self.changes: dict[str, list[int]] = {}

    def ended(self, operation: str, seconds: float) -> None:
        """An operation ended, perhaps with an error."""
        histogram = self._operations.get(operation)
        if histogram is None:
            histogram = self._operations[operation] = Histogram()
        histogram.observe(seconds)

    def error(self, error: BaseException) -> None:
        """An operation raised this."""
        name = type(error).__name__
        self.errors[name] = self.errors.get(name, 0) + 1

    def wrote(self, grain_type: str, states: int = 1) -> None:
        """States of this type were stored or cleared."""
        self.changes.setdefault(grain_type, [0, 0])[0] += states

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


class ObserverFigures:
    """The calls of this silo, and through it, to the observers of connected clients; see `ObserverSnapshot`."""

    __slots__ = ("calls", "failed", "overloaded")

    def __init__(self) -> None:
        self.calls = 0
        self.failed = 0  # raised an error, were refused by the client, or lost
        self.overloaded = 0  # refused here, because the client had too many


class ReminderFigures:
    """The reminders and jobs that this silo delivers; see `ReminderSnapshot`.

    `lateness`: of the first delivery of each tick. `missed`: ticks left out by the schedule's own rule. `given_up`:
    after too many failures. `refused`: deliveries that no silo took, which are repeated.
    """

    __slots__ = ("delivered", "failed", "given_up", "lateness", "missed", "refused")

    def __init__(self) -> None:
        self.lateness = Histogram()
        self.delivered = 0
        self.failed = 0
        self.refused = 0
        self.missed = 0
        self.given_up = 0


class MembershipFigures:
    """The counters of this silo's part in membership; see `MembershipSnapshot`."""

    __slots__ = ("changes", "deaths", "declared", "false_suspicions", "fences", "rtt", "suspicions")

    def __init__(self) -> None:
        self.changes = 0
        self.suspicions = 0
        self.false_suspicions = 0
        self.deaths = 0
        self.declared: Counter[str] = Counter()
        self.fences = 0
        self.rtt = Histogram()
