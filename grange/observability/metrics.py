"""Every metric of a silo, declared once: its name, kind, labels, meaning, and its place in a snapshot. Pure.

`prometheus.py` writes them, and docs/operations/metrics.md lists them. A label is a name of the program: a grain type,
a method, a reason, a store. A grain key is never one, because each value makes a time series.
"""

from __future__ import annotations

from grange.observability.metric import (
    Metric,
    at,
    by_name,
    calls,
    certificates,
    counter,
    ended,
    gauge,
    histogram,
    info,
    long_turns,
    methods,
    of_each,
    outgoing,
    outgoing_calls,
    refusals,
    rejected,
    secret_reads,
    storage,
    storage_errors,
    traffic,
    turns,
    type_sum,
)
from grange.observability.snapshot import LONG_TURN

CALLS = (
    counter("calls", "Requests for a method that this silo executed.", "type method status", calls),
    counter(
        "calls_rejected", "Requests that were certainly not executed, by reason. `_OTHER`: no type of this silo.",
        "type method reason", rejected,
    ),
    counter("turns_rolled_back", "Turns of transactional methods whose changes were dropped.", "type method",
             turns("rolled_back")),
    counter("calls_replayed", "Calls with an idempotency key that got the kept answer of an earlier one.",
             "type method", turns("replayed")),
    histogram(
        "call_duration", "Time from the arrival of a request to its outcome.", "type method",
        methods(lambda method: method.calls),
    ),
    histogram("turn_duration", "Time from the start of a turn to its outcome.", "type", type_sum("turns")),
    histogram("mailbox_wait", "Time that requests waited for their turn, of those that waited.", "type",
               type_sum("waits")),
    counter(
        "long_turns", f"Turns of more than {LONG_TURN:g} s.", "type",
        lambda figures: [((each.type,), long_turns(each)) for each in figures.types],
    ),
    gauge("stuck_turns", f"Turns that run now, for more than {LONG_TURN:g} s so far.", "", at("stuck")),
    gauge("calls_in_flight", "Requests without an outcome yet.", "", at("in_flight")),
    counter("call_timeouts", "Calls of this silo whose time was over.", "", at("timeouts")),
    counter("requests_shed", "Requests that were refused because the silo had too many.", "", at("shed")),
    gauge("shedding", "Share of the requests of clients that is refused now, because the event loop is late.", "",
           at("shedding")),
    gauge("blocking_methods", "Blocking methods that run in threads.", "", at("blocking.running")),
    gauge("blocking_waiting", "Blocking methods that wait for a thread.", "", at("blocking.waiting")),
    counter(
        "outgoing_calls", "Calls of this silo to grains on other silos, by outcome.", "type method status",
        outgoing_calls,
    ),
    histogram("outgoing_call_duration", "Time from a call to another silo to its outcome.", "type method",
               outgoing("calls")),
    counter("outgoing_call_timeouts", "Calls to other silos whose time was over.", "type method",
             outgoing("timeouts")),
)  # fmt: skip

GRAINS = (
    gauge("activations", "Activations in this silo.", "type", of_each("types", "type", "activations")),
    gauge("mailbox_depth", "Requests that wait in mailboxes.", "type", of_each("types", "type", "waiting")),
    counter("activations_created", "Activations that began.", "type", of_each("types", "type", "created")),
    counter("activations_collected", "Activations that ended because they were idle.", "type",
             of_each("types", "type", "collected")),
    counter("activations_failed", "Activations that could not begin.", "type", of_each("types", "type", "failed")),
    counter("activations_duplicate", "Activations that ended because another one held the claim of their grain.",
             "type", of_each("types", "type", "duplicates")),
    counter("activations_ended", "Activations that are gone, by the code of their `DeactivationReason`.",
             "type reason", ended),
    counter("moves", "Activations that moved to another silo.", "type", of_each("types", "type", "moved")),
    counter("moves_failed", "Moves after which the activation stayed or ended.", "type",
             of_each("types", "type", "moves_failed")),
    gauge("imbalance", "Share of the mean by which the fullest silo has more activations, by the rebalancer.", "",
           at("balance.imbalance")),
    counter("rebalanced", "Activations that the rebalancer of this silo moved.", "", at("balance.moved")),
    histogram("activation_duration", "Time from the first request for an absent grain to its first turn.", "type",
               of_each("types", "type", "activation")),
    gauge("enumerations", "Enumerations of streamed methods that are live.", "type",
           of_each("types", "type", "enumerations")),
    counter("streamed_items", "Items that were fetched from streamed methods.", "type",
             of_each("types", "type", "items")),
    counter("state_writes", "States written or cleared.", "type", of_each("types", "type", "writes")),
    counter("state_conflicts", "Changes of state that lost a race.", "type", of_each("types", "type", "conflicts")),
)  # fmt: skip

MEMBERSHIP = (
    gauge("ready", "1: the silo takes new grains and calls.", "", lambda figures: [((), int(figures.ready))]),
    gauge("membership_version", "Version of the membership table that this silo has seen.", "",
           at("membership.version")),
    gauge("membership_silos", "Silos in the membership table by status.", "status", by_name("membership.silos")),
    counter("membership_changes", "Versions of the table that this silo has seen.", "", at("membership.changes")),
    counter("deaths", "Silos that were declared dead without having left.", "", at("membership.deaths")),
    counter("deaths_declared", "Deaths that this silo wrote, by evidence: silent, refused, gone.", "evidence",
             by_name("membership.declared")),
    counter("suspicions", "Votes of this silo that another one is dead.", "", at("membership.suspicions")),
    counter("false_suspicions", "Votes about silos that answered later.", "", at("membership.false_suspicions")),
    counter("votes_withheld", "Votes that a live connection withheld.", "", at("membership.withheld")),
    gauge("health_score", "Local health: 0 (healthy) to 8.", "", at("membership.score")),
    counter("self_fenced", "Times that this silo stopped to start turns because it was cut off.", "",
             at("membership.fences")),
    gauge("fenced", "1: this silo starts no turns.", "",
           lambda figures: [((), int(bool(figures.membership.fenced)))]),
    gauge("table_unreachable", "1: this silo cannot read the membership table.", "",
           lambda figures: [((), int(figures.membership.table != "ok"))]),
    gauge("table_lost", "1: the membership table was lost or rolled back.", "",
           lambda figures: [((), int(figures.membership.table == "lost"))]),
    histogram("probe_rtt", "Round trips of this silo's probes.", "", at("membership.rtt")),
)  # fmt: skip

DIRECTORY = (
    counter("directory_lookups", "Lookups of grains whose silo was neither cached nor computed.", "",
             at("directory.lookups")),
    counter("directory_cache_hits", "Locations found in the cache.", "", at("directory.cache_hits")),
    counter("directory_registrations", "Registrations that won.", "", at("directory.registrations")),
    counter("directory_conflicts", "Registrations that found another activation.", "", at("directory.conflicts")),
    counter("directory_duplicates", "Grains found active twice by the consistency checker.", "",
             at("directory.duplicates")),
    counter("directory_repairs", "Missing entries that the consistency checker restored.", "",
             at("directory.repaired")),
    counter("directory_stale", "Entries without an activation that the consistency checker removed.", "",
             at("directory.stale")),
    gauge("directory_entries", "Entries in this silo's part of the directory.", "", at("directory.entries")),
    gauge("directory_cached", "Locations in the cache.", "", at("directory.cached")),
    histogram("directory_range_transfer", "Time to take over a range of the directory.", "",
               at("directory.transfers")),
)  # fmt: skip

STORAGE = (
    histogram("storage_duration", "Time of an operation of a store, also of one that failed.", "provider operation",
               storage),
    counter("storage_errors", "Operations that raised, by class of error.", "provider error", storage_errors),
    counter("storage_conflicts", "Changes that lost a race on an etag.", "provider",
             of_each("stores", "provider", "conflicts")),
    counter("storage_fenced_writes", "Changes that the store refused because this silo was recorded dead.", "provider",
             of_each("stores", "provider", "fenced")),
)  # fmt: skip

AUTHORIZATION = (
    counter(
        "authorization_would_refuse",
        "Calls that were not allowed and ran, because the option `authorization` is `audit`. `_OTHER`: no type of this "
        "silo.", "type", by_name("would_refuse"),
    ),
    counter("authorization_failed", "Errors that the policy function `authorize=` raised; such a call is refused.",
             "", at("authorization_failed")),
)  # fmt: skip

REMINDERS = (
    histogram("reminder_lateness", "Time from when a tick or job was due to its first delivery.", "",
               at("reminders.lateness")),
    counter("reminders_delivered", "Ticks and jobs that their grain has taken.", "", at("reminders.delivered")),
    counter("reminders_failed", "Deliveries that raised an error, or whose outcome is unknown.", "",
             at("reminders.failed")),
    counter("reminders_refused", "Deliveries that no silo took; they are repeated.", "", at("reminders.refused")),
    counter("reminders_missed", "Ticks that were left out by the rule of their reminder.", "",
             at("reminders.missed")),
    counter("reminders_given_up", "Ticks and jobs that failed too often.", "", at("reminders.given_up")),
    gauge("reminders_loaded", "Reminders that are due soon, and held in memory.", "", at("reminders.loaded")),
    gauge("reminders_under_way", "Deliveries that run.", "", at("reminders.under_way")),
    gauge("reminder_slots", "Slots of the hash ring, of 1,024, whose reminders this silo delivers.", "",
           at("reminders.slots")),
)  # fmt: skip

NETWORK = (
    gauge("gateway_clients", "Clients that are connected.", "", at("clients")),
    gauge("observer_clients", "Connected clients whose observers grains may call.", "", at("observers.clients")),
    gauge("observers_local", "Observers of code in this silo's process.", "", at("observers.local")),
    gauge("observer_calls_in_flight", "Calls to observers of clients without an outcome yet.", "",
           at("observers.in_flight")),
    counter("observer_calls", "Calls sent to observers of clients.", "", at("observers.calls")),
    counter("observer_calls_failed", "Those that raised an error, were refused by the client, or lost.", "",
             at("observers.failed")),
    counter("observer_calls_overloaded", "Calls refused because a client had too many, or read none.", "",
             at("observers.overloaded")),
    gauge("connections", "Open connections by kind of peer.", "peer", of_each("traffic", "peer", "connections")),
    gauge("handshakes", "Connections that have sent no Hello yet, by port.", "port",
          of_each("ports", "port", "handshakes")),
    counter("connections_refused", "Connections that were refused, by port and reason.", "port reason", refusals),
    counter("messages", "Messages exchanged, by kind of peer.", "peer direction", traffic("messages")),
    counter("traffic_bytes", "Bytes of frames exchanged, by kind of peer.", "peer direction", traffic("bytes")),
)  # fmt: skip

SECURITY = (
    gauge("certificate_expiry_seconds", "Time until this silo's certificate ends, and the first authority above it. "
           "Below 0: it has ended.", "certificate", certificates),
    counter("certificates_taken", "New certificates that were used.", "", at("certificate.taken")),
    counter("certificates_refused", "New contents of the files that could not be used.", "",
             at("certificate.refused")),
    gauge("certificates_revoked", "Certificates in the list of revoked ones.", "", at("certificate.revoked")),
    gauge("plain_connections", "Open connections without TLS that this silo has accepted although it has TLS, by kind "
           "of peer. TLS may be required when it is 0.", "peer", by_name("tls.plain")),
    counter("plain_connections_accepted", "All of them since the start.", "peer", by_name("tls.accepted_plain")),
    counter("tls_refused", "Peers that a port refused because of TLS or of their certificate, by reason.", "reason",
             by_name("tls.refused")),
    counter("connections_renewed", "Connections that this silo has opened, and replaced by others.", "",
             at("tls.renewed")),
    counter("connections_asked_to_renew", "Connections that this silo has accepted, and whose peer it asked for "
             "others, by reason.", "reason", by_name("tls.asked")),
    counter("connections_cut", "Connections that this silo cut because of the certificate of the peer or of their "
             "age, by reason.", "reason", by_name("tls.cut")),
    counter("audit_rows", "Rows of the audit: acts, calls of `@audited` methods, denials.", "kind",
             by_name("audit.rows")),
    counter("audit_denials", "Refused calls, handshakes and questions, also those that the mode `audit` let through.",
             "kind", by_name("audit.denials")),
    counter("audit_suppressed", "Denials without a row: their caller had ten.", "", at("audit.suppressed")),
    gauge("audit_waiting", "Rows that are not in the table of the audit yet.", "", at("audit.waiting")),
    counter("audit_lost", "Rows that will not come into the table of the audit.", "", at("audit.lost")),
    counter("secret_reads", "Secrets that were read for connections and tokens, by source and outcome.",
             "source outcome", secret_reads),
    gauge("secrets_unread", "Secrets that cannot be read now; their last good values are used.", "source",
           by_name("secrets.unread")),
    counter("secret_logins_refused", "Logins that a store refused, also after the secrets were read again.", "",
             at("secrets.refused")),
)  # fmt: skip

PROCESS = (
    gauge("silo_info", "Names of this silo; always 1.", "name address cluster version", info),
    gauge("silo_generation", "Generation of this silo: it changes with each start.", "", at("address.generation")),
    gauge("uptime_seconds", "Time since the start.", "", at("uptime")),
    gauge("load", "How full this silo is: 1 is full. The cause is the fullest part.", "cause",
           lambda figures: [((figures.load.cause,), figures.load.value)]),
    gauge("load_part", "How full each part of this silo is.", "part", by_name("load.parts")),
    histogram("event_loop_lag", "Lateness of the event loop.", "", at("lag")),
    counter("process_cpu_seconds", "Processor time of the process.", "", at("process.cpu")),
    gauge("process_cores", "Processors that the process may use.", "", at("process.cores")),
    gauge("process_resident_bytes", "Memory of the process.", "", at("process.rss")),
    gauge("process_memory_limit_bytes", "Memory that the process may use; 0: not limited.", "",
           at("process.memory_limit")),
    gauge("process_open_files", "Open files and sockets.", "", at("process.fds")),
    gauge("process_threads", "Threads.", "", at("process.threads")),
    counter("process_garbage_collections", "Passes of Python's garbage collector.", "generation",
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
