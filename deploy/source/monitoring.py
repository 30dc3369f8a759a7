"""What monitoring needs: the Prometheus operator's objects, and the dashboards for Grafana. All are behind values."""

from __future__ import annotations

from typing import Any

import yaml

from deploy.source import tls
from deploy.source.tree import Given, Late, More, When, value
from deploy.source.workload import SELECTOR, labels, metadata

ALERTS = "alerts.yaml"
"""The alert rules inside the chart, as Prometheus reads them."""

NO_RULES = "groups: []"

DASHBOARDS = "dashboards/"
"""The folder of Grafana's dashboards inside the chart."""


def service_monitor() -> dict[str, Any]:
    seconds = Late(
        'printf "%ds" (int .Values.serviceMonitor.intervalSeconds) | toJson',
        lambda given: f"{given.value('serviceMonitor.intervalSeconds')}s",
    )
    token = {"type": "Bearer", "credentials": {"name": value("tokens.secret"), "key": value("tokens.viewer")}}
    secret = Late(
        "default .Values.tls.secretName .Values.serviceMonitor.caSecret | toJson",
        lambda given: given.value("serviceMonitor.caSecret") or given.value("tls.secretName"),
    )
    authority = {"name": secret, "key": "ca.crt"}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": _labelled("serviceMonitor.labels"),
        "spec": {
            "selector": {"matchLabels": SELECTOR},
            "endpoints": [
                {
                    "port": "admin",
                    "path": "/metrics",
                    "interval": seconds,
                    "authorization": token,
                    "scheme": When(tls.REQUIRED, "https"),
                    "tlsConfig": When(tls.REQUIRED, {"serverName": tls.server_name(), "ca": {"secret": authority}}),
                }
            ],
        },
    }


def prometheus_rule() -> dict[str, Any]:
    """The rules as they are: Helm must not read Prometheus' own templates in them."""
    rules = Late(
        f'.Files.Get "{ALERTS}" | default "{NO_RULES}"',
        lambda given: yaml.safe_load(given.files.get(ALERTS, NO_RULES)),
        block=True,
    )
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": _labelled("prometheusRule.labels"),
        "spec": rules,
    }


def dashboards() -> dict[str, Any]:
    """Each dashboard as it is, by the name of its file."""

    def plain(given: Given) -> dict[str, str]:
        found = ((path, text) for path, text in given.files.items() if path.startswith(DASHBOARDS))
        return {path.removeprefix(DASHBOARDS): text for path, text in found}

    files = Late(f'(.Files.Glob "{DASHBOARDS}*.json").AsConfig', plain, block=True)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _labelled("grafana.labels", "-dashboards"),
        "data": files,
    }


def _labelled(path: str, suffix: str = "") -> dict[str, Any]:
    return {**metadata(suffix), "labels": {**labels(), "more": More(path)}}
