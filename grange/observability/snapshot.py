"""All figures of one silo at one moment, frozen, and the difference of two such moments. Pure.

It is the answer of the system target `management.figures`, so its fields are on the wire: new ones come last and have a
default. Counters rise from the start of the silo; the fields named in `gauges` are states. Times are in seconds, sizes
in bytes. Labels are grain types, methods, reasons, statuses and names of stores: never a grain key.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar, cast

import msgspec

from grange.observability.histogram import NOTHING, Distribution
from grange.observability.security_snapshot import AuditSnapshot, CertificateSnapshot, SecretSnapshot, TlsSnapshot
from grange.proto.ids import SiloAddress

S = TypeVar("S", bound=msgspec.Struct)

LONG_TURN = 1.0
"""Seconds from which a turn counts as long; the same limit as in Orleans. It is one of `histogram.BOUNDS`."""


class MethodSnapshot(msgspec.Struct, frozen=True, array_like=True):
    """The requests for one method of a grain type that this silo took, from this process and from others.

    `calls`: those that were executed, from arrival to outcome; `failed` of them raised. `turns`: the same requests from
    the start of the turn. `waits`: the time before it, of those that waited. `refused`: those that were certainly not
    executed, by reason. `rolled_back`: transactional turns whose changes were dropped; `replayed`: calls with an
    idempotency key that got the kept answer. The method "(timer)" stands for ticks of timers.
    """

    gauges: ClassVar[frozenset[str]] = frozenset()
    key: ClassVar[tuple[str, ...]] = ("method",)

    method: str
    calls: Distribution = NOTHING
    failed: int = 0
    turns: Distribution = NOTHING
    waits: Distribution = NOTHING
    refused: dict[str, int] = {}
    rolled_back: int = 0
    replayed: int = 0


class TypeSnapshot(msgspec.Struct, frozen=True, array_like=True):
    """One grain type that this silo hosts.

    `activations` are here now, and `waiting` requests wait in them. `collected` ended because they were idle, `failed`
    could not begin, `duplicates` ended because another activation of their grain held the claim. `activation`: seconds
    from the first request to the first turn. `writes` and `conflicts` are about its states. `ended`: those that are
    gone, by `DeactivationCode`. `enumerations` of streamed methods are live, and `items` were fetched from them.
    """

    gauges: ClassVar[frozenset[str]] = frozenset({"activations", "enumerations", "waiting"})
    key: ClassVar[tuple[str, ...]] = ("type",)

    type: str
    placement: str = ""
    activations: int = 0
    waiting: int = 0
    created: int = 0
    collected: int = 0
    failed: int = 0
    duplicates: int = 0
    activation: Distribution = NOTHING
    methods: tuple[MethodSnapshot, ...] = ()
    writes: int = 0
    conflicts: int = 0
    ended: dict[str, int] = {}
    moved: int = 0
    moves_failed: int = 0
    enumerations: int = 0
    items: int = 0


class OutgoingSnapshot(msgspec.Struct, frozen=True, array_like=True):
    """The calls of this silo to one method on other silos, from the call to its outcome.

    `calls` have an answer, and `failed` of them raised. `refused`: no silo took the call in time. `unknown`: the
    outcome stays unknown, and in `timeouts` of them because the time was over.
    """

    gauges: ClassVar[frozenset[str]] = frozenset()
    key: ClassVar[tuple[str, ...]] = ("type", "method")

    type: str
    method: str
    calls: Distribution = NOTHING
    failed: int = 0
    refused: int = 0
    unknown: int = 0
    timeouts: int = 0


class TrafficSnapshot(msgspec.Struct, frozen=True, array_like=True):
    """Messages and bytes of frames, with one kind of peer: "silo" or "client"."""

    gauges: ClassVar[frozenset[str]] = frozenset({"connections"})
    key: ClassVar[tuple[str, ...]] = ("peer",)

    peer: str
    messages_sent: int = 0
    messages_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    connections: int = 0


class PortSnapshot(msgspec.Struct, frozen=True, array_like=True):
    """One port, "silo" or "client", on all roads: `handshakes` are in progress; connections were refused, by reason."""

    gauges: ClassVar[frozenset[str]] = frozenset({"handshakes"})
    key: ClassVar[tuple[str, ...]] = ("port",)

    port: str
    handshakes: int = 0
    refused: dict[str, int] = {}


class StoreSnapshot(msgspec.Struct, frozen=True, array_like=True):
    """One store of states by its name: the seconds of each operation ("read", "claim", "write", "clear", "commit", …).

    `errors` by class name; `conflicts` are lost races on an etag, `fenced` changes refused after this silo's death.
    """

    gauges: ClassVar[frozenset[str]] = frozenset()
    key: ClassVar[tuple[str, ...]] = ("provider",)

    provider: str
    operations: dict[str, Distribution] = {}
    errors: dict[str, int] = {}
    conflicts: int = 0
    fenced: int = 0


class DirectorySnapshot(msgspec.Struct, frozen=True):
    """This silo's part of the grain directory.

    `lookups` of grains whose silo was neither cached nor computed; `cache_hits` of the cache; `registrations` that won,
    and `conflicts` that found another activation. `duplicates`, `repaired` and `stale`: see `RepairCounts`. `entries`
    and `cached` are there now. `transfers`: seconds to take over a range.
    """

    gauges: ClassVar[frozenset[str]] = frozenset({"entries", "cached"})

    lookups: int = 0
    cache_hits: int = 0
    registrations: int = 0
    conflicts: int = 0
    duplicates: int = 0
    repaired: int = 0
    stale: int = 0
    entries: int = 0
    cached: int = 0
    transfers: Distribution = NOTHING


class ObserverSnapshot(msgspec.Struct, frozen=True):
    """The calls of this silo, and through it, to the observers of connected clients.

    `clients` can be called here now, `in_flight` calls to them have no answer, `local` observers are in this process.
    `failed` of the `calls` raised an error, were refused by the client, or lost; `overloaded` ones were refused here.
    """

    gauges: ClassVar[frozenset[str]] = frozenset({"clients", "in_flight", "local"})

    calls: int = 0
    failed: int = 0
    overloaded: int = 0
    clients: int = 0
    in_flight: int = 0
    local: int = 0


class ReminderSnapshot(msgspec.Struct, frozen=True):
    """The reminders and jobs that this silo delivers.

    `slots` of the ring are its own, `loaded` reminders are held, `under_way` deliveries run. `lateness`: from the time
    of a tick to its first delivery. `missed` ticks were left out by the rule of their reminder, `given_up` ones after
    too many failures; `refused` deliveries were taken by no silo, and are repeated.
    """

    gauges: ClassVar[frozenset[str]] = frozenset({"slots", "loaded", "under_way"})

    slots: int = 0
    loaded: int = 0
    under_way: int = 0
    lateness: Distribution = NOTHING
    delivered: int = 0
    failed: int = 0
    refused: int = 0
    missed: int = 0
    given_up: int = 0


class BalanceSnapshot(msgspec.Struct, frozen=True):
    """The rebalancer of this silo: the `imbalance` of the cluster as it sees it, and how many activations it moved.

    `suspended`: seconds left.
    """

    gauges: ClassVar[frozenset[str]] = frozenset({"imbalance", "suspended"})

    imbalance: float = 0.0
    moved: int = 0
    suspended: float = 0.0


class MembershipSnapshot(msgspec.Struct, frozen=True):
    """The cluster as this silo sees it, and its own part in it.

    `silos` by status. `suspicions` are votes that it wrote, `false_suspicions` those about silos that answered later,
    `withheld` those that a live connection withheld. `deaths`: silos that it saw declared dead without having left.
    `declared`: deaths that it wrote itself, by their evidence (silent, refused, gone).
    `score`, `table` and `fenced` are those of `SiloState`; `fences` counts how often it was fenced. `rtt`: round trips
    of its probes.
    """

    gauges: ClassVar[frozenset[str]] = frozenset({"version", "silos", "score", "fenced", "table"})

    version: int = 0
    silos: dict[str, int] = {}
    changes: int = 0
    suspicions: int = 0
    false_suspicions: int = 0
    withheld: int = 0
    deaths: int = 0
    score: int = 0
    fenced: str = ""
    fences: int = 0
    table: str = "ok"
    rtt: Distribution = NOTHING
    declared: dict[str, int] = {}


class ProcessSnapshot(msgspec.Struct, frozen=True):
    """The process: processor seconds, resident and most allowed bytes, open files, garbage collections by generation.

    `cores`: processors that it may use. 0 stands for a value that this system does not tell.
    """

    gauges: ClassVar[frozenset[str]] = frozenset({"rss", "memory_limit", "fds", "threads", "cores"})

    cpu: float = 0.0
    rss: int = 0
    memory_limit: int = 0
    fds: int = 0
    threads: int = 0
    cores: float = 0.0
    collections: tuple[int, ...] = ()


class BlockingSnapshot(msgspec.Struct, frozen=True):
    """Blocking methods: those that run in threads now, and those that wait for one."""

    gauges: ClassVar[frozenset[str]] = frozenset({"running", "waiting"})

    running: int = 0
    waiting: int = 0


class Load(msgspec.Struct, frozen=True):
    """How full the silo is: `value` 1.0 is full. It is the largest of `parts`, and `cause` names that one."""

    value: float = 0.0
    cause: str = "cpu"
    parts: dict[str, float] = {}


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All figures of one silo.

    `time`: Unix seconds of the moment. `span`: seconds that the counters cover; that is `uptime`, or in a `delta` the
    time between both moments. `refused`: requests that were certainly not executed and belong to no method of this
    silo, by reason. `timeouts`: calls of this silo whose time was over. `in_flight`: requests from other processes, and
    calls inside this one, without an outcome. `running` turns have been suspended; `stuck` of them run for longer than
    `LONG_TURN`. `lag`: lateness of the event loop. `clients` are connected now; `shed`: requests refused for load;
    `shedding`: the share of the requests of clients that is refused because the loop is late. `blocking`: methods in
    threads. `would_refuse`: calls, by grain type, that the mode `audit` of the authorization let run;
    `authorization_failed`: errors of its policy function.
    """

    gauges: ClassVar[frozenset[str]] = frozenset(
        {"address", "name", "cluster", "release", "labels", "time", "uptime", "status", "ready", "in_flight", "running",
         "waiting", "stuck", "clients", "load", "shedding"}
    )  # fmt: skip

    address: SiloAddress
    name: str
    cluster: str
    release: str
    time: float
    uptime: float
    span: float
    status: str = ""
    ready: bool = False
    labels: tuple[str, ...] = ()
    types: tuple[TypeSnapshot, ...] = ()
    outgoing: tuple[OutgoingSnapshot, ...] = ()
    refused: dict[str, int] = {}
    timeouts: int = 0
    in_flight: int = 0
    running: int = 0
    waiting: int = 0
    stuck: int = 0
    traffic: tuple[TrafficSnapshot, ...] = ()
    clients: int = 0
    shed: int = 0
    lag: Distribution = NOTHING
    directory: DirectorySnapshot = DirectorySnapshot()
    membership: MembershipSnapshot = MembershipSnapshot()
    observers: ObserverSnapshot = ObserverSnapshot()
    reminders: ReminderSnapshot = ReminderSnapshot()
    stores: tuple[StoreSnapshot, ...] = ()
    process: ProcessSnapshot = ProcessSnapshot()
    load: Load = Load()
    shedding: float = 0.0
    blocking: BlockingSnapshot = BlockingSnapshot()
    balance: BalanceSnapshot = BalanceSnapshot()
    certificate: CertificateSnapshot = CertificateSnapshot()
    tls: TlsSnapshot = TlsSnapshot()
    would_refuse: dict[str, int] = {}
    authorization_failed: int = 0
    audit: AuditSnapshot = AuditSnapshot()
    secrets: SecretSnapshot = SecretSnapshot()
    ports: tuple[PortSnapshot, ...] = ()

    @property
    def activations(self) -> int:
        """All activations of this silo."""
        return sum(each.activations for each in self.types)


def delta(before: Snapshot, after: Snapshot) -> Snapshot:
    """What was counted between two snapshots of one silo; the states are those of `after`.

    If the silo has started again in between, all that `after` counted is new.
    """
    return after if before.address != after.address else _since(after, before)


def _since(after: S, before: S) -> S:
    gauges: frozenset[str] = getattr(after, "gauges", frozenset())
    changed = {
        name: _difference(getattr(after, name), getattr(before, name))
        for name in after.__struct_fields__
        if name not in gauges
    }
    return msgspec.structs.replace(after, **changed)


def _difference(after: Any, before: Any) -> Any:
    if isinstance(after, str):
        return after
    if isinstance(after, int | float):
        return max(0, after - before)
    if isinstance(after, Distribution):
        return after.since(before)
    if isinstance(after, Mapping):
        table = cast("Mapping[str, Any]", after)
        return {key: _difference(value, _zero_of(value, before.get(key))) for key, value in table.items()}
    if isinstance(after, tuple):
        rows = cast("Sequence[Any]", after)
        if rows and not isinstance(rows[0], msgspec.Struct):
            return tuple(max(0, new - old) for new, old in zip(rows, before, strict=False))
        known = {_key(each): each for each in before}
        return tuple(_since(each, known[_key(each)]) if _key(each) in known else each for each in rows)
    return _since(after, before)


def _zero_of(value: Any, before: Any) -> Any:
    """The value before, or for a new one that of nothing."""
    return before if before is not None else (NOTHING if isinstance(value, Distribution) else 0)


def _key(each: Any) -> Hashable:
    return tuple(getattr(each, name) for name in each.key)
