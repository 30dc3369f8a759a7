"""Grafana's dashboards: `python -m deploy.source.dashboards` writes deploy/grafana from this description.

A panel is a title, a unit and its queries. Where a figure has a value only during a fault, the panel says so with
`only_in_failure`; where it needs an option, with `only_with`. tests/deploy/test_dashboards.py runs every other query on
a live cluster and expects data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "grafana"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT, COLUMNS = 8, 7, 3
"""Size of a panel in Grafana's grid of 24 columns."""


@dataclass(frozen=True)
class Query:
    """A query and the legend of its series."""

    expr: str
    legend: str = "{{instance}}"


@dataclass(frozen=True)
class Panel:
    """One chart. `unit` is Grafana's id of a unit: short, s, bytes, percentunit, ops. `only_with`: what it needs."""

    title: str
    unit: str
    queries: tuple[Query, ...]
    only_in_failure: bool = False
    stacked: bool = False
    only_with: str = ""

    @property
    def is_always_filled(self) -> bool:
        """Whether each query has values on any cluster that works."""
        return not (self.only_in_failure or self.only_with)


@dataclass(frozen=True)
class Dashboard:
    """One dashboard. `variables` are the labels by which its viewer filters, beside the job."""

    uid: str
    title: str
    variables: tuple[str, ...]
    panels: tuple[Panel, ...]


JOB = 'job=~"$job"'
SILO = f'{JOB}, instance=~"$instance"'
TYPE = f'{JOB}, type=~"$type"'


def per_second(metric: str, where: str, by: str, legend: str = "") -> Query:
    labels = ", ".join(by.split())
    return Query(f"sum by ({labels}) (rate({metric}{{{where}}}[$__rate_interval]))", legend or _legend(by))


def total(metric: str, where: str, by: str, legend: str = "") -> Query:
    return Query(f"sum by ({', '.join(by.split())}) ({metric}{{{where}}})", legend or _legend(by))


def quantile(share: float, metric: str, where: str, by: str = "") -> Query:
    labels = ", ".join((*by.split(), "le"))
    legend = f"p{share * 100:g} {_legend(by)}".strip()
    rates = f"rate({metric}_bucket{{{where}}}[$__rate_interval])"
    return Query(f"histogram_quantile({share}, sum by ({labels}) ({rates}))", legend)


def _legend(by: str) -> str:
    return " ".join(f"{{{{{label}}}}}" for label in by.split())


CALL = "grange_call_duration_seconds"

OVERVIEW = Dashboard(
    "grange-overview", "grange: overview", (),
    (
        Panel("Silos by status", "short", (
            Query(f"max by (status) (grange_membership_silos{{{JOB}}})", "{{status}}"),)),
        Panel("Calls", "ops", (per_second("grange_calls_total", JOB, "status"),), stacked=True),
        Panel("Calls refused", "ops", (per_second("grange_calls_rejected_total", JOB, "reason"),), True),
        Panel("Authorization", "ops", (
            per_second("grange_authorization_would_refuse_total", JOB, "type", "would refuse {{type}}"),
            per_second("grange_authorization_failed_total", JOB, "instance", "function failed {{instance}}")),
              only_with="rules in the mode audit"),
        Panel("Audit", "ops", (
            per_second("grange_audit_rows_total", JOB, "kind", "rows {{kind}}"),
            per_second("grange_audit_denials_total", JOB, "kind", "refused {{kind}}"),
            per_second("grange_audit_suppressed_total", JOB, "instance", "without a row {{instance}}"),
            per_second("grange_audit_lost_total", JOB, "instance", "lost {{instance}}"),
            Query(f"sum by (instance) (grange_audit_waiting{{{JOB}}})", "waiting {{instance}}")),
              only_with="acts, audited calls or refused callers"),
        Panel("Duration of calls", "s", tuple(quantile(share, CALL, JOB) for share in (0.5, 0.95, 0.99))),
        Panel("Share of calls that fail", "percentunit", (
            Query(f'sum(rate(grange_calls_total{{{JOB}, status="failed"}}[$__rate_interval])) / '
                  f"(sum(rate(grange_calls_total{{{JOB}}}[$__rate_interval])) > 0)", "failed"),)),
        Panel("Time share of methods, top 10", "percentunit", (
            Query(f"topk(10, sum by (type, method) (rate({CALL}_sum{{{JOB}}}[$__rate_interval])) / on () group_left () "
                  f"(sum(rate({CALL}_sum{{{JOB}}}[$__rate_interval])) > 0))", "{{type}}/{{method}}"),)),
        Panel("Activations", "short", (total("grange_activations", JOB, "type"),), stacked=True),
        Panel("Waiting requests", "short", (total("grange_mailbox_depth", JOB, "type"),)),
        Panel("Load (1 is full)", "percentunit", (
            Query(f"max by (instance, cause) (grange_load{{{JOB}}})", "{{instance}} {{cause}}"),)),
        Panel("Lag of the event loop", "s", (quantile(0.99, "grange_event_loop_lag_seconds", JOB, "instance"),)),
        Panel("Storage errors", "ops", (per_second("grange_storage_errors_total", JOB, "provider error"),), True),
        Panel("Requests shed", "ops", (per_second("grange_requests_shed_total", JOB, "instance"),)),
    ),
)  # fmt: skip

ONE_SILO = Dashboard(
    "grange-silo", "grange: silo", ("instance",),
    (
        Panel("Processor", "percentunit", (
            Query(f"rate(grange_process_cpu_seconds_total{{{SILO}}}[$__rate_interval])", "used by {{instance}}"),
            Query(f"grange_process_cores{{{SILO}}}", "allowed to {{instance}}"))),
        Panel("Memory", "bytes", (
            Query(f"grange_process_resident_bytes{{{SILO}}}", "used by {{instance}}"),
            Query(f"grange_process_memory_limit_bytes{{{SILO}}}", "limit of {{instance}} (0: none)"))),
        Panel("Lag of the event loop", "s", (
            quantile(0.5, "grange_event_loop_lag_seconds", SILO, "instance"),
            quantile(0.99, "grange_event_loop_lag_seconds", SILO, "instance"))),
        Panel("Load by part", "percentunit", (Query(f"grange_load_part{{{SILO}}}", "{{instance}} {{part}}"),)),
        Panel("Calls", "ops", (per_second("grange_calls_total", SILO, "instance status"),)),
        Panel("Requests in flight", "short", (Query(f"grange_calls_in_flight{{{SILO}}}"),)),
        Panel("Share of requests of clients that is refused", "percentunit", (Query(f"grange_shedding{{{SILO}}}"),)),
        Panel("Blocking methods", "short", (
            Query(f"grange_blocking_methods{{{SILO}}}", "run in {{instance}}"),
            Query(f"grange_blocking_waiting{{{SILO}}}", "wait for a thread in {{instance}}"))),
        Panel("Balance of activations", "short", (
            Query(f"grange_imbalance{{{SILO}}}", "imbalance seen by {{instance}}"),
            Query(f"increase(grange_rebalanced_total{{{SILO}}}[5m])", "moved in 5 minutes by {{instance}}"))),
        Panel("Turns that run for more than 1 s", "short", (Query(f"grange_stuck_turns{{{SILO}}}"),)),
        Panel("Activations", "short", (total("grange_activations", SILO, "instance"),)),
        Panel("Calls to other silos", "ops", (per_second("grange_outgoing_calls_total", SILO, "instance status"),)),
        Panel("Duration of calls to other silos", "s", (
            quantile(0.99, "grange_outgoing_call_duration_seconds", SILO, "instance"),)),
        Panel("Messages", "ops", (per_second("grange_messages_total", SILO, "peer direction"),)),
        Panel("Traffic", "Bps", (per_second("grange_traffic_bytes_total", SILO, "peer direction"),)),
        Panel("Connections", "short", (total("grange_connections", SILO, "instance peer"),)),
        Panel("Handshakes in progress", "short", (total("grange_handshakes", SILO, "instance port"),)),
        Panel("Connections refused", "ops", (
            per_second("grange_connections_refused_total", SILO, "instance port reason"),), True),
        Panel("Clients", "short", (Query(f"grange_gateway_clients{{{SILO}}}"),)),
        Panel("Observers", "short", (
            Query(f"grange_observer_clients{{{SILO}}}", "clients that {{instance}} can call"),
            Query(f"grange_observers_local{{{SILO}}}", "of code in {{instance}}"),
            Query(f"grange_observer_calls_in_flight{{{SILO}}}", "calls without an answer, {{instance}}"))),
        Panel("Calls to observers of clients", "ops", (
            per_second("grange_observer_calls_total", SILO, "instance", "all, {{instance}}"),
            per_second("grange_observer_calls_failed_total", SILO, "instance", "failed, {{instance}}"),
            per_second("grange_observer_calls_overloaded_total", SILO, "instance", "overloaded, {{instance}}"))),
        Panel("Secrets read", "ops", (
            per_second("grange_secret_reads_total", SILO, "source outcome"),), only_with="secrets in options"),
        Panel("Secrets that cannot be read, and logins refused", "short", (
            Query(f"grange_secrets_unread{{{SILO}}}", "last good value used, {{source}}"),
            Query(f"increase(grange_secret_logins_refused_total{{{SILO}}}[5m])", "refused in 5 minutes")), True),
        Panel("Calls whose time was over", "ops", (
            per_second("grange_call_timeouts_total", SILO, "instance", "all calls of {{instance}}"),
            per_second("grange_outgoing_call_timeouts_total", SILO, "instance", "to other silos, {{instance}}"))),
        Panel("Open files and threads", "short", (
            Query(f"grange_process_open_files{{{SILO}}}", "files {{instance}}"),
            Query(f"grange_process_threads{{{SILO}}}", "threads {{instance}}"))),
        Panel("Garbage collections", "ops", (
            per_second("grange_process_garbage_collections_total", SILO, "instance generation"),)),
        Panel("Ready", "short", (Query(f"grange_ready{{{SILO}}}"),)),
        Panel("Time since the start", "s", (Query(f"grange_uptime_seconds{{{SILO}}}"),)),
        Panel("Starts in an hour", "short", (Query(f"changes(grange_silo_generation{{{SILO}}}[1h])"),)),
    ),
)  # fmt: skip

GRAIN_TYPE = Dashboard(
    "grange-type", "grange: grain type", ("type",),
    (
        Panel("Calls by method", "ops", (per_second("grange_calls_total", TYPE, "type method"),)),
        Panel("Calls that fail", "ops", (
            per_second("grange_calls_total", f'{TYPE}, status="failed"', "type method"),)),
        Panel("Calls refused", "ops", (per_second("grange_calls_rejected_total", TYPE, "type reason"),), True),
        Panel("Duration of calls, p99", "s", (quantile(0.99, CALL, TYPE, "type method"),)),
        Panel("Duration of turns, p99", "s", (quantile(0.99, "grange_turn_duration_seconds", TYPE, "type"),)),
        Panel("Wait for the turn, p99", "s", (quantile(0.99, "grange_mailbox_wait_seconds", TYPE, "type"),)),
        Panel("Activations by silo", "short", (total("grange_activations", TYPE, "instance type"),), stacked=True),
        Panel("Waiting requests", "short", (total("grange_mailbox_depth", TYPE, "type"),)),
        Panel("Long turns", "ops", (per_second("grange_long_turns_total", TYPE, "type"),)),
        Panel("Activations that begin and end", "ops", (
            per_second("grange_activations_created_total", TYPE, "type", "created {{type}}"),
            per_second("grange_activations_collected_total", TYPE, "type", "collected {{type}}"),
            per_second("grange_activations_failed_total", TYPE, "type", "failed {{type}}"),
            per_second("grange_activations_duplicate_total", TYPE, "type", "lost their claim {{type}}"))),
        Panel("Activations that end, by reason", "ops", (
            per_second("grange_activations_ended_total", TYPE, "type reason"),), True),
        Panel("Moves to other silos", "ops", (
            per_second("grange_moves_total", TYPE, "type", "moved {{type}}"),
            per_second("grange_moves_failed_total", TYPE, "type", "failed {{type}}")), True),
        Panel("Streamed results", "short", (
            total("grange_enumerations", TYPE, "type", "live {{type}}"),
            per_second("grange_streamed_items_total", TYPE, "type", "items a second {{type}}"))),
        Panel("Time to activate, p99", "s", (quantile(0.99, "grange_activation_duration_seconds", TYPE, "type"),)),
        Panel("State", "ops", (
            per_second("grange_state_writes_total", TYPE, "type", "writes {{type}}"),
            per_second("grange_state_conflicts_total", TYPE, "type", "conflicts {{type}}"))),
        Panel("Units of work", "ops", (
            per_second("grange_turns_rolled_back_total", TYPE, "type method", "rolled back {{type}}/{{method}}"),
            per_second("grange_calls_replayed_total", TYPE, "type method", "kept answer {{type}}/{{method}}")), True),
    ),
)  # fmt: skip

MEMBERSHIP = Dashboard(
    "grange-membership", "grange: membership and directory", (),
    (
        Panel("Silos by status", "short", (
            Query(f"grange_membership_silos{{{JOB}}}", "{{instance}} sees {{status}}"),)),
        Panel("Version of the table", "short", (
            Query(f"grange_membership_version{{{JOB}}}", "version seen by {{instance}}"),
            Query(f"increase(grange_membership_changes_total{{{JOB}}}[5m])", "changes in 5 minutes, {{instance}}"))),
        Panel("Table", "short", (
            Query(f"grange_table_unreachable{{{JOB}}}", "unreachable {{instance}}"),
            Query(f"grange_table_lost{{{JOB}}}", "lost {{instance}}"))),
        Panel("Votes and deaths in 5 minutes", "short", (
            Query(f"increase(grange_suspicions_total{{{JOB}}}[5m])", "votes of {{instance}}"),
            Query(f"increase(grange_false_suspicions_total{{{JOB}}}[5m])", "false votes of {{instance}}"),
            Query(f"increase(grange_votes_withheld_total{{{JOB}}}[5m])", "withheld by {{instance}}"),
            Query(f"increase(grange_deaths_total{{{JOB}}}[5m])", "deaths seen by {{instance}}"))),
        Panel("Deaths declared in 5 minutes, by evidence", "short", (
            Query(f"increase(grange_deaths_declared_total{{{JOB}}}[5m])", "{{evidence}}, declared by {{instance}}"),),
            only_in_failure=True),
        Panel("Round trip of probes", "s", (
            quantile(0.5, "grange_probe_rtt_seconds", JOB, "instance"),
            quantile(0.99, "grange_probe_rtt_seconds", JOB, "instance"))),
        Panel("Local health (0 is healthy)", "short", (Query(f"grange_health_score{{{JOB}}}"),)),
        Panel("Fenced", "short", (
            Query(f"grange_fenced{{{JOB}}}", "fenced {{instance}}"),
            Query(f"increase(grange_self_fenced_total{{{JOB}}}[5m])", "in 5 minutes, {{instance}}"))),
        Panel("Directory: lookups and cache hits", "ops", (
            per_second("grange_directory_lookups_total", JOB, "instance", "lookups {{instance}}"),
            per_second("grange_directory_cache_hits_total", JOB, "instance", "hits {{instance}}"))),
        Panel("Directory: registrations", "ops", (
            per_second("grange_directory_registrations_total", JOB, "instance", "won {{instance}}"),
            per_second("grange_directory_conflicts_total", JOB, "instance", "lost {{instance}}"))),
        Panel("Directory: findings of the consistency checker", "short", (
            Query(f"increase(grange_directory_duplicates_total{{{JOB}}}[5m])", "duplicates {{instance}}"),
            Query(f"increase(grange_directory_repairs_total{{{JOB}}}[5m])", "restored {{instance}}"),
            Query(f"increase(grange_directory_stale_total{{{JOB}}}[5m])", "removed {{instance}}"))),
        Panel("Directory: entries", "short", (
            Query(f"grange_directory_entries{{{JOB}}}", "entries {{instance}}"),
            Query(f"grange_directory_cached{{{JOB}}}", "cached {{instance}}"))),
        Panel("Directory: time to take over a range", "s", (
            Query(f"grange_directory_range_transfer_seconds_sum{{{JOB}}} / "
                  f"(grange_directory_range_transfer_seconds_count{{{JOB}}} > 0)", "mean {{instance}}"),)),
    ),
)  # fmt: skip

STORAGE = Dashboard(
    "grange-storage", "grange: storage", (),
    (
        Panel("Operations", "ops", (
            per_second("grange_storage_duration_seconds_count", JOB, "provider operation"),)),
        Panel("Duration, p50", "s", (
            quantile(0.5, "grange_storage_duration_seconds", JOB, "provider operation"),)),
        Panel("Duration, p99", "s", (
            quantile(0.99, "grange_storage_duration_seconds", JOB, "provider operation"),)),
        Panel("Errors", "ops", (per_second("grange_storage_errors_total", JOB, "provider error"),), True),
        Panel("Conflicts", "ops", (per_second("grange_storage_conflicts_total", JOB, "provider"),)),
        Panel("Writes refused after a death", "ops", (
            per_second("grange_storage_fenced_writes_total", JOB, "provider"),)),
        Panel("Writes by type", "ops", (per_second("grange_state_writes_total", JOB, "type"),)),
        Panel("Conflicts by type", "ops", (per_second("grange_state_conflicts_total", JOB, "type"),)),
    ),
)  # fmt: skip

REMINDERS = Dashboard(
    "grange-reminders", "grange: reminders and jobs", (),
    (
        Panel("Deliveries", "ops", (
            per_second("grange_reminders_delivered_total", JOB, "instance", "taken {{instance}}"),
            per_second("grange_reminders_failed_total", JOB, "instance", "failed {{instance}}"),
            per_second("grange_reminders_refused_total", JOB, "instance", "repeated {{instance}}"))),
        Panel("Lateness", "s", (
            quantile(0.5, "grange_reminder_lateness_seconds", JOB, "instance"),
            quantile(0.99, "grange_reminder_lateness_seconds", JOB, "instance")), True),
        Panel("Missed and given up in 5 minutes", "short", (
            Query(f"increase(grange_reminders_missed_total{{{JOB}}}[5m])", "missed {{instance}}"),
            Query(f"increase(grange_reminders_given_up_total{{{JOB}}}[5m])", "given up {{instance}}"))),
        Panel("Held in memory", "short", (
            Query(f"grange_reminders_loaded{{{JOB}}}", "due soon {{instance}}"),
            Query(f"grange_reminders_under_way{{{JOB}}}", "under way {{instance}}"))),
        Panel("Slots of the ring", "short", (Query(f"grange_reminder_slots{{{JOB}}}"),), stacked=True),
    ),
)  # fmt: skip

SECURITY = Dashboard(
    "grange-security", "grange: security", (),
    (
        Panel("Time until certificates end", "s", (
            Query(f"grange_certificate_expiry_seconds{{{JOB}}}", "{{certificate}} {{instance}}"),), True),
        Panel("Certificates taken and refused in an hour", "short", (
            Query(f"increase(grange_certificates_taken_total{{{JOB}}}[1h])", "taken {{instance}}"),
            Query(f"increase(grange_certificates_refused_total{{{JOB}}}[1h])", "refused {{instance}}"))),
        Panel("Revoked certificates", "short", (Query(f"grange_certificates_revoked{{{JOB}}}"),)),
        Panel("Connections without TLS", "short", (
            Query(f"sum by (instance, peer) (grange_plain_connections{{{JOB}}})", "open, {{peer}} {{instance}}"),
            Query(f"increase(grange_plain_connections_accepted_total{{{JOB}}}[1h])",
                  "accepted in an hour, {{peer}} {{instance}}")), only_with="TLS"),
        Panel("Peers refused because of TLS in an hour", "short", (
            Query(f"sum by (instance, reason) (increase(grange_tls_refused_total{{{JOB}}}[1h]))",
                  "{{reason}} {{instance}}"),), True),
        Panel("Connections replaced and cut in an hour", "short", (
            Query(f"increase(grange_connections_renewed_total{{{JOB}}}[1h])", "replaced {{instance}}"),
            Query(f"sum by (instance, reason) (increase(grange_connections_asked_to_renew_total{{{JOB}}}[1h]))",
                  "asked, {{reason}} {{instance}}"),
            Query(f"sum by (instance, reason) (increase(grange_connections_cut_total{{{JOB}}}[1h]))",
                  "cut, {{reason}} {{instance}}")), only_with="TLS"),
    ),
)  # fmt: skip

DASHBOARDS = (OVERVIEW, ONE_SILO, GRAIN_TYPE, MEMBERSHIP, STORAGE, REMINDERS, SECURITY)


def as_json(dashboard: Dashboard) -> str:
    """The file of one dashboard."""
    return json.dumps(_model(dashboard), indent=1) + "\n"


def _model(dashboard: Dashboard) -> dict[str, Any]:
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["grange"],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [{"type": "dashboards", "tags": ["grange"], "title": "grange", "asDropdown": True, "keepTime": True}],
        "templating": {"list": list(_variables(dashboard))},
        "panels": [_panel(number, panel) for number, panel in enumerate(dashboard.panels)],
    }


def _variables(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    for name in ("job", *dashboard.variables):
        metric = "grange_activations" if name == "type" else "grange_silo_info"
        query = f"label_values({metric}, job)" if name == "job" else f'label_values({metric}{{job=~"$job"}}, {name})'
        yield {
            "name": name,
            "label": name.capitalize(),
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": query, "refId": name},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "current": {"text": "All", "value": "$__all"},
        }


def _described(panel: Panel) -> str:
    if panel.only_in_failure:
        return "Has values only during a fault."
    return f"Has values only with {panel.only_with}." if panel.only_with else ""


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, COLUMNS)
    custom = {"lineWidth": 1, "fillOpacity": 20 if panel.stacked else 0, "spanNulls": False}
    if panel.stacked:
        custom["stacking"] = {"mode": "normal"}
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": _described(panel),
        "datasource": SOURCE,
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": custom}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + each), "datasource": SOURCE, "expr": query.expr, "legendFormat": query.legend}
            for each, query in enumerate(panel.queries)
        ],
    }


def file_of(dashboard: Dashboard) -> Path:
    """The path of its file."""
    return FOLDER / f"{dashboard.uid.removeprefix('grange-')}.json"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for each in DASHBOARDS:
        file_of(each).write_text(as_json(each))
