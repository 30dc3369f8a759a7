"""Every metric of a silo, declared once: its name, kind, labels, meaning, and its place in a snapshot. Pure.

`prometheus.py` writes them, and docs/operations/metrics.md lists them. A label is a name of the program: a grain type,
a method, a reason, a store. A grain key is never one, because each value makes a time series.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter

import msgspec

from grange.observability.histogram import BOUNDS, Distribution, Histogram
from grange.observability.snapshot import LONG_TURN, MethodSnapshot, Snapshot, TypeSnapshot

Value = int | float | Distribution
Read = Callable[[Snapshot], Iterable[tuple[tuple[str, ...], Value]]]
"""The values of a metric in a snapshot, each with the values of its labels."""


class Kind(enum.StrEnum):
    """The kinds of metrics, in the words of Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(msgspec.Struct, frozen=True, eq=False):
    """One metric. The name of a counter ends in `_total`."""

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...]
    read: Read

    @property
    def unit(self) -> str:
        """The unit in which the name ends; empty for a number of things."""
        last = self.name.removesuffix("_total").rpartition("_")[2]
        return last if last in ("seconds", "bytes") else ""


def _counter(name: str, text: str, labels: str, read: Read) -> Metric:
    return Metric(f"grange_{name}_total", Kind.COUNTER, text, tuple(labels.split()), read)


def _gauge(name: str, text: str, labels: str, read: Read) -> Metric:
    return Metric(f"grange_{name}", Kind.GAUGE, text, tuple(labels.split()), read)


def _histogram(name: str, text: str, labels: str, read: Read) -> Metric:
    return Metric(f"grange_{name}_seconds", Kind.HISTOGRAM, text, tuple(labels.split()), read)


def _at(path: str) -> Read:
    """One value, without labels: an attribute of the snapshot."""
    find = attrgetter(path)
    return lambda figures: [((), find(figures))]


def _each(path: str, key: str, field: str) -> Read:
    """A field of each item of a tuple; the label is another field of it."""
    items, label, value = attrgetter(path), attrgetter(key), attrgetter(field)
    return lambda figures: [((label(item),), value(item)) for item in items(figures)]


def _by_name(path: str) -> Read:
    """The values of a dict by their names."""
    find = attrgetter(path)
    return lambda figures: [((name,), value) for name, value in find(figures).items()]


def _methods(read: Callable[[MethodSnapshot], Value]) -> Read:
    """A value of every method."""
    return lambda figures: [
        ((each.type, method.method), read(method)) for each in figures.types for method in each.methods
    ]


def _outgoing(field: str) -> Read:
    value = attrgetter(field)
    return lambda figures: [((each.type, each.method), value(each)) for each in figures.outgoing]


def _type_sum(field: str) -> Read:
    """The distribution of all methods of a type: one histogram for each method would make too many time series."""
    find = attrgetter(field)

    def read(figures: Snapshot) -> Iterator[tuple[tuple[str, ...], Distribution]]:
        for each in figures.types:
            yield (each.type,), _sum(find(method) for method in each.methods)

    return read


def _sum(parts: Iterable[Distribution]) -> Distribution:
    whole = Histogram()
    cells = whole.cells
    for part in parts:
        whole.total += part.total
        for index, count in enumerate(part.cells):
            cells[index] += count
    return whole.frozen()


def _calls(figures: Snapshot) -> Iterator[tuple[tuple[str, ...], int]]:
    for each in figures.types:
        for method in each.methods:
            yield (each.type, method.method, "ok"), method.calls.count - method.failed
            yield (each.type, method.method, "failed"), method.failed


def _rejected(figures: Snapshot) -> Iterator[tuple[tuple[str, ...], int]]:
    for each in figures.types:
        for method in each.methods:
            for reason, count in method.refused.items():
                yield (each.type, method.method, reason), count
    for reason, count in figures.refused.items():
        yield ("_OTHER", "_OTHER", reason), count


def _turns(field: str) -> Read:
    """A number of each method that is not 0: few methods are transactional."""
    value = attrgetter(field)
    return lambda figures: [
        ((each.type, method.method), value(method))
        for each in figures.types
        for method in each.methods
        if value(method)
    ]


def _ended(figures: Snapshot) -> Iterator[tuple[tuple[str, ...], int]]:
    for each in figures.types:
        for code, count in each.ended.items():
            yield (each.type, code), count


def _outgoing_calls(figures: Snapshot) -> Iterator[tuple[tuple[str, ...], int]]:
    for each in figures.outgoing:
        yield (each.type, each.method, "ok"), each.calls.count - each.failed
        yield (each.type, each.method, "failed"), each.failed
        yield (each.type, each.method, "refused"), each.refused
        yield (each.type, each.method, "unknown"), each.unknown


def _long_turns(each: TypeSnapshot) -> int:
    return sum(method.turns.over(LONG_TURN) for method in each.methods if len(method.turns.cells) > _LONG_CELL)


_LONG_CELL = BOUNDS.index(LONG_TURN) + 1


def _storage(figures: Snapshot) -> Iterator[tuple[tuple[str, ...], Distribution]]:
    for store in figures.stores:
        for operation, seconds in store.operations.items():
            yield (store.provider, operation), seconds


def _storage_errors(figures: Snapshot) -> Iterator[tuple[tuple[str, ...], int]]:
    for store in figures.stores:
        for error, count in store.errors.items():
            yield (store.provider, error), count


def _traffic(unit: str) -> Read:
    sent, received = attrgetter(f"{unit}_sent"), attrgetter(f"{unit}_received")

    def read(figures: Snapshot) -> Iterator[tuple[tuple[str, ...], int]]:
        for each in figures.traffic:
            yield (each.peer, "sent"), sent(each)
            yield (each.peer, "received"), received(each)

    return read


def _certificates(figures: Snapshot) -> list[tuple[tuple[str, ...], float]]:
    """Nothing without TLS."""
    ends = figures.certificate
    if not ends.ends:
        return []
    return [(("own",), ends.ends - figures.time), (("authority",), ends.authority_ends - figures.time)]


def _info(figures: Snapshot) -> list[tuple[tuple[str, ...], int]]:
    return [((figures.name, str(figures.address), figures.cluster, figures.release), 1)]


CALLS = (
    _counter("calls", "Requests for a method that this silo executed.", "type method status", _calls),
    _counter(
        "calls_rejected", "Requests that were certainly not executed, by reason. `_OTHER`: no type of this silo.",
        "type method reason", _rejected,
    ),
    _counter("turns_rolled_back", "Turns of transactional methods whose changes were dropped.", "type method",
             _turns("rolled_back")),
    _counter("calls_replayed", "Calls with an idempotency key that got the kept answer of an earlier one.",
             "type method", _turns("replayed")),
    _histogram(
        "call_duration", "Time from the arrival of a request to its outcome.", "type method",
        _methods(lambda method: method.calls),
    ),
    _histogram("turn_duration", "Time from the start of a turn to its outcome.", "type", _type_sum("turns")),
    _histogram("mailbox_wait", "Time that requests waited for their turn, of those that waited.", "type",
               _type_sum("waits")),
    _counter(
        "long_turns", f"Turns of more than {LONG_TURN:g} s.", "type",
        lambda figures: [((each.type,), _long_turns(each)) for each in figures.types],
    ),
    _gauge("stuck_turns", f"Turns that run now, for more than {LONG_TURN:g} s so far.", "", _at("stuck")),
    _gauge("calls_in_flight", "Requests without an outcome yet.", "", _at("in_flight")),
    _counter("call_timeouts", "Calls of this silo whose time was over.", "", _at("timeouts")),
    _counter("requests_shed", "Requests that were refused because the silo had too many.", "", _at("shed")),
    _gauge("shedding", "Share of the requests of clients that is refused now, because the event loop is late.", "",
           _at("shedding")),
    _gauge("blocking_methods", "Blocking methods that run in threads.", "", _at("blocking.running")),
    _gauge("blocking_waiting", "Blocking methods that wait for a thread.", "", _at("blocking.waiting")),
    _counter(
        "outgoing_calls", "Calls of this silo to grains on other silos, by outcome.", "type method status",
        _outgoing_calls,
    ),
    _histogram("outgoing_call_duration", "Time from a call to another silo to its outcome.", "type method",
               _outgoing("calls")),
    _counter("outgoing_call_timeouts", "Calls to other silos whose time was over.", "type method",
             _outgoing("timeouts")),
)  # fmt: skip

GRAINS = (
    _gauge("activations", "Activations in this silo.", "type", _each("types", "type", "activations")),
    _gauge("mailbox_depth", "Requests that wait in mailboxes.", "type", _each("types", "type", "waiting")),
    _counter("activations_created", "Activations that began.", "type", _each("types", "type", "created")),
    _counter("activations_collected", "Activations that ended because they were idle.", "type",
             _each("types", "type", "collected")),
    _counter("activations_failed", "Activations that could not begin.", "type", _each("types", "type", "failed")),
    _counter("activations_duplicate", "Activations that ended because another one held the claim of their grain.",
             "type", _each("types", "type", "duplicates")),
    _counter("activations_ended", "Activations that are gone, by the code of their `DeactivationReason`.",
             "type reason", _ended),
    _counter("moves", "Activations that moved to another silo.", "type", _each("types", "type", "moved")),
    _counter("moves_failed", "Moves after which the activation stayed or ended.", "type",
             _each("types", "type", "moves_failed")),
    _gauge("imbalance", "Share of the mean by which the fullest silo has more activations, by the rebalancer.", "",
           _at("balance.imbalance")),
    _counter("rebalanced", "Activations that the rebalancer of this silo moved.", "", _at("balance.moved")),
    _histogram("activation_duration", "Time from the first request for an absent grain to its first turn.", "type",
               _each("types", "type", "activation")),
    _gauge("enumerations", "Enumerations of streamed methods that are live.", "type",
           _each("types", "type", "enumerations")),
    _counter("streamed_items", "Items that were fetched from streamed methods.", "type",
             _each("types", "type", "items")),
    _counter("state_writes", "States written or cleared.", "type", _each("types", "type", "writes")),
    _counter("state_conflicts", "Changes of state that lost a race.", "type", _each("types", "type", "conflicts")),
)  # fmt: skip

MEMBERSHIP = (
    _gauge("ready", "1: the silo takes new grains and calls.", "", lambda figures: [((), int(figures.ready))]),
    _gauge("membership_version", "Version of the membership table that this silo has seen.", "",
           _at("membership.version")),
    _gauge("membership_silos", "Silos in the membership table by status.", "status", _by_name("membership.silos")),
    _counter("membership_changes", "Versions of the table that this silo has seen.", "", _at("membership.changes")),
    _counter("deaths", "Silos that were declared dead without having left.", "", _at("membership.deaths")),
    _counter("suspicions", "Votes of this silo that another one is dead.", "", _at("membership.suspicions")),
    _counter("false_suspicions", "Votes about silos that answered later.", "", _at("membership.false_suspicions")),
    _counter("votes_withheld", "Votes that a live connection withheld.", "", _at("membership.withheld")),
    _gauge("health_score", "Local health: 0 (healthy) to 8.", "", _at("membership.score")),
    _counter("self_fenced", "Times that this silo stopped to start turns because it was cut off.", "",
             _at("membership.fences")),
    _gauge("fenced", "1: this silo starts no turns.", "",
           lambda figures: [((), int(bool(figures.membership.fenced)))]),
    _gauge("table_unreachable", "1: this silo cannot read the membership table.", "",
           lambda figures: [((), int(figures.membership.table != "ok"))]),
    _gauge("table_lost", "1: the membership table was lost or rolled back.", "",
           lambda figures: [((), int(figures.membership.table == "lost"))]),
    _histogram("probe_rtt", "Round trips of this silo's probes.", "", _at("membership.rtt")),
)  # fmt: skip

DIRECTORY = (
    _counter("directory_lookups", "Lookups of grains whose silo was neither cached nor computed.", "",
             _at("directory.lookups")),
    _counter("directory_cache_hits", "Locations found in the cache.", "", _at("directory.cache_hits")),
    _counter("directory_registrations", "Registrations that won.", "", _at("directory.registrations")),
    _counter("directory_conflicts", "Registrations that found another activation.", "", _at("directory.conflicts")),
    _counter("directory_duplicates", "Grains found active twice by the consistency checker.", "",
             _at("directory.duplicates")),
    _counter("directory_repairs", "Missing entries that the consistency checker restored.", "",
             _at("directory.repaired")),
    _counter("directory_stale", "Entries without an activation that the consistency checker removed.", "",
             _at("directory.stale")),
    _gauge("directory_entries", "Entries in this silo's part of the directory.", "", _at("directory.entries")),
    _gauge("directory_cached", "Locations in the cache.", "", _at("directory.cached")),
    _histogram("directory_range_transfer", "Time to take over a range of the directory.", "",
               _at("directory.transfers")),
)  # fmt: skip

STORAGE = (
    _histogram("storage_duration", "Time of an operation of a store, also of one that failed.", "provider operation",
               _storage),
    _counter("storage_errors", "Operations that raised, by class of error.", "provider error", _storage_errors),
    _counter("storage_conflicts", "Changes that lost a race on an etag.", "provider",
             _each("stores", "provider", "conflicts")),
    _counter("storage_fenced_writes", "Changes that the store refused because this silo was recorded dead.", "provider",
             _each("stores", "provider", "fenced")),
)  # fmt: skip

AUTHORIZATION = (
    _counter(
        "authorization_would_refuse",
        "Calls that were not allowed and ran, because the option `authorization` is `audit`. `_OTHER`: no type of this "
        "silo.", "type", _by_name("would_refuse"),
    ),
    _counter("authorization_failed", "Errors that the policy function `authorize=` raised; such a call is refused.",
             "", _at("authorization_failed")),
)  # fmt: skip

REMINDERS = (
    _histogram("reminder_lateness", "Time from when a tick or job was due to its first delivery.", "",
               _at("reminders.lateness")),
    _counter("reminders_delivered", "Ticks and jobs that their grain has taken.", "", _at("reminders.delivered")),
    _counter("reminders_failed", "Deliveries that raised an error, or whose outcome is unknown.", "",
             _at("reminders.failed")),
    _counter("reminders_refused", "Deliveries that no silo took; they are repeated.", "", _at("reminders.refused")),
    _counter("reminders_missed", "Ticks that were left out by the rule of their reminder.", "",
             _at("reminders.missed")),
    _counter("reminders_given_up", "Ticks and jobs that failed too often.", "", _at("reminders.given_up")),
    _gauge("reminders_loaded", "Reminders that are due soon, and held in memory.", "", _at("reminders.loaded")),
    _gauge("reminders_under_way", "Deliveries that run.", "", _at("reminders.under_way")),
    _gauge("reminder_slots", "Slots of the hash ring, of 1,024, whose reminders this silo delivers.", "",
           _at("reminders.slots")),
)  # fmt: skip

NETWORK = (
    _gauge("gateway_clients", "Clients that are connected.", "", _at("clients")),
    _gauge("observer_clients", "Connected clients whose observers grains may call.", "", _at("observers.clients")),
    _gauge("observers_local", "Observers of code in this silo's process.", "", _at("observers.local")),
    _gauge("observer_calls_in_flight", "Calls to observers of clients without an outcome yet.", "",
           _at("observers.in_flight")),
    _counter("observer_calls", "Calls sent to observers of clients.", "", _at("observers.calls")),
    _counter("observer_calls_failed", "Those that raised an error, were refused by the client, or lost.", "",
             _at("observers.failed")),
    _counter("observer_calls_overloaded", "Calls refused because a client had too many, or read none.", "",
             _at("observers.overloaded")),
    _gauge("connections", "Open connections by kind of peer.", "peer", _each("traffic", "peer", "connections")),
    _counter("messages", "Messages exchanged, by kind of peer.", "peer direction", _traffic("messages")),
    _counter("traffic_bytes", "Bytes of frames exchanged, by kind of peer.", "peer direction", _traffic("bytes")),
)  # fmt: skip

SECURITY = (
    _gauge("certificate_expiry_seconds", "Time until this silo's certificate ends, and the first authority above it. "
           "Below 0: it has ended.", "certificate", _certificates),
    _counter("certificates_taken", "New certificates that were used.", "", _at("certificate.taken")),
    _counter("certificates_refused", "New contents of the files that could not be used.", "",
             _at("certificate.refused")),
    _gauge("certificates_revoked", "Certificates in the list of revoked ones.", "", _at("certificate.revoked")),
    _gauge("plain_connections", "Open connections without TLS that this silo has accepted although it has TLS, by kind "
           "of peer. TLS may be required when it is 0.", "peer", _by_name("tls.plain")),
    _counter("plain_connections_accepted", "All of them since the start.", "peer", _by_name("tls.accepted_plain")),
    _counter("tls_refused", "Peers that a port refused because of TLS or of their certificate, by reason.", "reason",
             _by_name("tls.refused")),
    _counter("connections_renewed", "Connections that this silo has opened, and replaced by others.", "",
             _at("tls.renewed")),
    _counter("connections_asked_to_renew", "Connections that this silo has accepted, and whose peer it asked for "
             "others, by reason.", "reason", _by_name("tls.asked")),
    _counter("connections_cut", "Connections that this silo cut because of the certificate of the peer or of their "
             "age, by reason.", "reason", _by_name("tls.cut")),
    _counter("audit_rows", "Rows of the audit: acts, calls of `@audited` methods, denials.", "kind",
             _by_name("audit.rows")),
    _counter("audit_denials", "Refused calls, handshakes and questions, also those that the mode `audit` let through.",
             "kind", _by_name("audit.denials")),
    _counter("audit_suppressed", "Denials without a row: their caller had ten.", "", _at("audit.suppressed")),
    _gauge("audit_waiting", "Rows that are not in the table of the audit yet.", "", _at("audit.waiting")),
    _counter("audit_lost", "Rows that will not come into the table of the audit.", "", _at("audit.lost")),
)  # fmt: skip

PROCESS = (
    _gauge("silo_info", "Names of this silo; always 1.", "name address cluster version", _info),
    _gauge("silo_generation", "Generation of this silo: it changes with each start.", "", _at("address.generation")),
    _gauge("uptime_seconds", "Time since the start.", "", _at("uptime")),
    _gauge("load", "How full this silo is: 1 is full. The cause is the fullest part.", "cause",
           lambda figures: [((figures.load.cause,), figures.load.value)]),
    _gauge("load_part", "How full each part of this silo is.", "part", _by_name("load.parts")),
    _histogram("event_loop_lag", "Lateness of the event loop.", "", _at("lag")),
    _counter("process_cpu_seconds", "Processor time of the process.", "", _at("process.cpu")),
    _gauge("process_cores", "Processors that the process may use.", "", _at("process.cores")),
    _gauge("process_resident_bytes", "Memory of the process.", "", _at("process.rss")),
    _gauge("process_memory_limit_bytes", "Memory that the process may use; 0: not limited.", "",
           _at("process.memory_limit")),
    _gauge("process_open_files", "Open files and sockets.", "", _at("process.fds")),
    _gauge("process_threads", "Threads.", "", _at("process.threads")),
    _counter("process_garbage_collections", "Passes of Python's garbage collector.", "generation",
             lambda figures: [((str(n),), count) for n, count in enumerate(figures.process.collections)]),
)  # fmt: skip

GROUPS: tuple[tuple[str, tuple[Metric, ...]], ...] = (
    ("Calls", CALLS), ("Authorization", AUTHORIZATION), ("Grains", GRAINS), ("Membership", MEMBERSHIP),
    ("Directory", DIRECTORY), ("Storage", STORAGE), ("Reminders", REMINDERS), ("Network", NETWORK),
    ("Security", SECURITY),
    ("Process and load", PROCESS),
)  # fmt: skip
"""All metrics by subject, in the order of /metrics and of the page."""

METRICS: tuple[Metric, ...] = tuple(metric for _, metrics in GROUPS for metric in metrics)
"""All metrics."""
