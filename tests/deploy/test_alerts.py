"""The alert rules of deploy/prometheus: each fires on its fault, none on a quiet cluster, each names its runbook."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from grange.observability.metric import Kind
from grange.observability.metrics import METRICS
from tests.architecture.sources import ROOT
from tests.tools import tool

RULES = ROOT / "deploy" / "prometheus" / "alerts.yaml"
NAME = re.compile(r"\bgrange_\w+")

SILO = {"job": "grange", "instance": "silo-1:8080"}
JOB = {"job": "grange"}
STORE = {**SILO, "provider": "default"}
TYPE = {**JOB, "type": "cart"}


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def series(name: str, values: str, /, **labels: str) -> dict[str, str]:
    return {
        "series": name + "{" + ",".join(f'{k}="{v}"' for k, v in {**SILO, **labels}.items()) + "}",
        "values": values,
    }


def slow(share: float) -> list[dict[str, str]]:
    """100 calls a minute, this share of them slower than the objective."""
    return [
        series(
            "grange_call_duration_seconds_bucket", f"0+{100 * (1 - share):g}x45", type="cart", method="add", le="0.5"
        ),
        series("grange_call_duration_seconds_bucket", "0+100x45", type="cart", method="add", le="+Inf"),
        series("grange_call_duration_seconds_count", "0+100x45", type="cart", method="add"),
    ]


QUIET = [
    series("grange_ready", "1x45"),
    series("grange_membership_silos", "1x45", status="active"),
    series("grange_silo_info", "1x45", name="silo-1", address="a", cluster="c", version="1"),
    series("grange_silo_generation", "5x45"),
    *(
        series(name, "0x45")
        for name in (
            "grange_deaths_total", "grange_false_suspicions_total", "grange_self_fenced_total", "grange_health_score",
            "grange_table_unreachable", "grange_table_lost", "grange_directory_duplicates_total", "grange_stuck_turns",
            "grange_directory_repairs_total", "grange_requests_shed_total", "grange_reminders_given_up_total",
            "grange_certificates_refused_total", "grange_audit_lost_total",
        )
    ),
    series("grange_certificate_expiry_seconds", "86400x45", certificate="own"),
    series("grange_secrets_unread", "0x45", source="vault"),
    series("grange_storage_fenced_writes_total", "0x45", provider="default"),
    series("grange_storage_errors_total", "3x45", provider="default", error="StorageUnavailable"),
    series("grange_calls_total", "0+1000x45", type="cart", method="add", status="ok"),
    series("grange_calls_total", "0+1x45", type="cart", method="add", status="failed"),
    series("grange_calls_rejected_total", "0+1x45", type="cart", method="add", reason="overloaded"),
    series("grange_activations_failed_total", "0x45", type="cart"),
    series("grange_event_loop_lag_seconds_bucket", "0+100x45", le="1"),
    series("grange_event_loop_lag_seconds_bucket", "0+100x45", le="2.5"),
    series("grange_event_loop_lag_seconds_bucket", "0+100x45", le="+Inf"),
    series("grange_load", "0.3x45", cause="cpu"),
    series("grange_reminder_lateness_seconds_bucket", "0+100x45", le="1"),
    series("grange_reminder_lateness_seconds_bucket", "0+100x45", le="2.5"),
    series("grange_reminder_lateness_seconds_bucket", "0+100x45", le="+Inf"),
    *slow(0.001),
]  # fmt: skip
"""A silo that serves: what each alert looks at, without its fault. 45 minutes, by the minute."""

FAULTS: Mapping[str, tuple[list[dict[str, str]], dict[str, str]]] = {
    "GrangeSiloDead": ([series("grange_deaths_total", "0x37 1x8")], JOB),
    "GrangeSiloNotScraped": ([series("grange_membership_silos", "2x45", status="active")], JOB),
    "GrangeNotReady": ([series("grange_ready", "1x30 0x15")], SILO),
    "GrangeRestartLoop": ([series("grange_silo_generation", "1x30 2 2 3 3 4x10")], SILO),
    "GrangeFalseSuspicion": ([series("grange_false_suspicions_total", "0x30 1x15")], SILO),
    "GrangeSelfFenced": ([series("grange_self_fenced_total", "0x30 1x15")], SILO),
    "GrangeHealthDegraded": ([series("grange_health_score", "0x30 4x15")], SILO),
    "GrangeTableUnreachable": ([series("grange_table_unreachable", "0x30 1x15")], SILO),
    "GrangeTableLost": (
        [series("grange_table_lost", "0x30 1x15"), series("grange_table_unreachable", "0x30 1x15")], SILO,
    ),
    "GrangeDuplicateActivation": ([series("grange_directory_duplicates_total", "0x30 1x15")], SILO),
    "GrangeRegistrationRepaired": ([series("grange_directory_repairs_total", "0x30 2x15")], SILO),
    "GrangeFencedWrite": (
        [series("grange_storage_fenced_writes_total", "0x30 1x15", provider="default")], STORE,
    ),
    "GrangeStorageErrors": (
        [series("grange_storage_errors_total", "3x30 4+1x15", provider="default", error="StorageUnavailable")], STORE,
    ),
    "GrangeErrorRate": (
        [series("grange_calls_rejected_total", "0+1x25 26+100x20", type="cart", method="add", reason="overloaded")],
        TYPE,
    ),
    "GrangeLatencyBurnFast": (slow(0.2), JOB),
    "GrangeLatencyBurnSlow": (slow(0.1), JOB),
    "GrangeShedding": ([series("grange_requests_shed_total", "0x30 1+1x15")], SILO),
    "GrangeStuckActivation": ([series("grange_stuck_turns", "0x25 1x20")], SILO),
    "GrangeActivationsFail": ([series("grange_activations_failed_total", "0x30 1+1x15", type="cart")], TYPE),
    "GrangeLoopLag": ([series("grange_event_loop_lag_seconds_bucket", "0+90x45", le="1")], SILO),
    "GrangeRemindersLate": ([series("grange_reminder_lateness_seconds_bucket", "0+90x45", le="1")], JOB),
    "GrangeRemindersGivenUp": ([series("grange_reminders_given_up_total", "0x30 1x15")], SILO),
    "GrangeCertificateRefused": ([series("grange_certificates_refused_total", "0x30 1x15")], SILO),
    "GrangeCertificateEnds": (
        [series("grange_certificate_expiry_seconds", "18000-180x45", certificate="own")], SILO,
    ),
    "GrangeSecretUnread": (
        [series("grange_secrets_unread", "0x20 1x25", source="vault")], {**SILO, "source": "vault"},
    ),
    "GrangeAuditRowsLost": ([series("grange_audit_lost_total", "0x30 1x15")], SILO),
    "GrangeLoadHigh": ([series("grange_load", "0.3x20 0.97x25", cause="event loop lag")], SILO),
}  # fmt: skip
"""The series of each fault in place of the quiet ones, and the labels of the alert that it raises."""

ALSO = {"GrangeLatencyBurnFast": {"GrangeLatencyBurnSlow"}}
"""Alerts that a fault raises beside its own."""

AT = "40m"


def round_of(name: str, changed: list[dict[str, str]], expected: list[dict[str, Any]]) -> dict[str, Any]:
    replaced = {each["series"] for each in changed}
    inputs = [each for each in QUIET if each["series"] not in replaced] + changed
    return {"name": name, "interval": "1m", "input_series": inputs, "alert_rule_test": expected}


def silent(name: str) -> dict[str, Any]:
    return {"eval_time": AT, "alertname": name, "exp_alerts": []}


def firing(name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    rule = next(rule for rule in alerts() if rule["alert"] == name)

    def filled(text: str) -> str:
        return re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], text)

    annotations = {key: filled(text) for key, text in rule["annotations"].items()}
    alert = {"exp_labels": {**rule["labels"], **labels}, "exp_annotations": annotations}
    return {"eval_time": AT, "alertname": name, "exp_alerts": [alert]}


def rounds() -> Iterator[dict[str, Any]]:
    """A quiet cluster, and one with each of the faults: its own alert fires, and no other."""
    names = [rule["alert"] for rule in alerts()]
    yield round_of("quiet", [], [silent(name) for name in names])
    for name, (changed, labels) in FAULTS.items():
        others = set(names) - {name} - ALSO.get(name, set())
        yield round_of(name, changed, [firing(name, labels), *map(silent, sorted(others))])


@pytest.mark.tools
def test_each_alert_fires_on_its_fault_and_none_on_a_quiet_cluster(tmp_path: Path) -> None:
    """All in one run, because each start of promtool takes a second."""
    test = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": list(rounds())}
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump(test, sort_keys=False))
    done = subprocess.run([tool("promtool"), "test", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_fault_that_raises_it() -> None:
    assert {rule["alert"] for rule in alerts()} == set(FAULTS)


def test_alerts_look_at_metrics_that_exist() -> None:
    known = {metric.name for metric in METRICS if metric.kind is not Kind.HISTOGRAM}
    known |= {
        f"{metric.name}_{part}"
        for metric in METRICS
        if metric.kind is Kind.HISTOGRAM
        for part in ("bucket", "count", "sum")
    }
    for rule in alerts():
        names = set(NAME.findall(rule["expr"]))
        assert names, rule["alert"]
        assert names - known == set(), rule["alert"]


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_every_alert_names_its_runbook_and_its_severity(rule: dict[str, Any]) -> None:
    assert (ROOT / rule["annotations"]["runbook"]).is_file()
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert len(rule["annotations"]["summary"]) < 120
