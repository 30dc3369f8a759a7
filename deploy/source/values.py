"""The values of the chart: defaults, meanings, and what is allowed. `values.yaml` and its schema come from here."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from deploy.source.tls import RULES
from deploy.source.yaml_text import yaml_text

QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi)?$"
DNS_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
LARGEST_PORT = 65535

RESERVED = (
    "GRANGE_ADVERTISE", "GRANGE_NAME", "GRANGE_HOST", "GRANGE_CLUSTER", "GRANGE_SERVICE", "GRANGE_PORT",
    "GRANGE_PROBE_PORT", "GRANGE_GATEWAY_PORT", "GRANGE_HTTP", "GRANGE_HTTP_HOST", "GRANGE_HTTP_HOSTS",
    "GRANGE_DRAIN_TIMEOUT", "GRANGE_INSECURE", "GRANGE_DATA", "GRANGE_MEMBERSHIP", "GRANGE_MEMBERSHIP_FILE",
    "GRANGE_STORAGE", "GRANGE_STORAGE_FILE", "GRANGE_ADMIN_TOKEN", "GRANGE_ADMIN_TOKEN_FILE", "GRANGE_OPERATOR_TOKEN",
    "GRANGE_OPERATOR_TOKEN_FILE", "GRANGE_VIEWER_TOKEN", "GRANGE_VIEWER_TOKEN_FILE", "GRANGE_TLS__CERTIFICATE",
    "GRANGE_TLS__KEY", "GRANGE_TLS__CA", "GRANGE_TLS__MODE", "GRANGE_TLS__PORT", "GRANGE_TLS__PROBE_PORT",
    "GRANGE_TLS__GATEWAY_PORT", "GRANGE_TLS__HTTP_PORT",
)  # fmt: skip
"""Variables that the manifests set, or whose content is a secret: `env` must not hold them."""


@dataclass(frozen=True)
class Setting:
    """One value: its default, its meaning, and its JSON schema."""

    default: Any
    text: str
    schema: Mapping[str, Any]


def text(default: str, meaning: str, pattern: str = "", empty: bool = False) -> Setting:
    schema: dict[str, Any] = {"type": "string", "maxLength": 1024} | ({} if empty else {"minLength": 1})
    if pattern:
        schema["pattern"] = f"^$|{pattern}" if empty else pattern
    return Setting(default, meaning, schema)


def whole(default: int, meaning: str, least: int, most: int) -> Setting:
    return Setting(default, meaning, {"type": "integer", "minimum": least, "maximum": most})


def flag(default: bool, meaning: str) -> Setting:
    return Setting(default, meaning, {"type": "boolean"})


def texts(meaning: str, **limits: Any) -> Setting:
    return Setting({}, meaning, {"type": "object", "additionalProperties": {"type": "string"}, **limits})


def objects(default: list[Any], meaning: str) -> Setting:
    """A list of Kubernetes' own objects, which Kubernetes checks."""
    return Setting(default, meaning, {"type": "array", "items": {"type": "object"}})


Group = Mapping[str, "Setting | Group"]

VALUES: Group = MappingProxyType({
    "image": {
        "repository": text("grange-flights", "The image of your application: its Dockerfile begins with FROM grange."),
        "tag": Setting("0.1.0", "Its version. `latest` is refused: a roll could not tell two versions apart.",
                       {"type": "string", "pattern": r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$",
                        "not": {"const": "latest"}}),
        "digest": text("", "sha256:…, which then identifies the image in place of the tag.", r"^sha256:[0-9a-f]{64}$",
                       empty=True),
        "pullPolicy": Setting("IfNotPresent", "When a node fetches the image.",
                              {"enum": ["Always", "IfNotPresent", "Never"]}),
        "pullSecrets": objects([], "For a private registry: [{name: …}]."),
    },
    "app": text("examples.flights.app:silo", "MODULE:SILO of the application.", r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"),
    "cluster": text("flights", "Name of the cluster; silos and clients of another name are refused."),
    "service": text("default", "Name of the application in storage."),
    "replicas": whole(3, "Pods. Not used with autoscaling.", 1, 1000),
    "drainTimeout": whole(60, "Seconds for running calls to complete when a pod stops. Its grace is 60 s longer.",
                          1, 3600),
    "preStopSleep": whole(0, "Seconds that a pod serves on after its end was decided. 0 for silos, whose drain tells "
                             "their callers; 5 if the process also serves HTTP behind a Service.", 0, 60),
    "stores": {
        "secret": text("grange-stores", "The Secret with the URLs of the stores. You make it.", DNS_NAME),
        "membership": text("membership", "The key in it for the membership table, such as redis://…"),
        "storage": text("storage", "The key in it for the default storage, such as postgresql://…"),
    },
    "tokens": {
        "secret": text("grange-tokens", "The Secret with the tokens of operators. You make it.", DNS_NAME),
        "admin": text("admin", "The key in it for the role admin."),
        "operator": text("", "The key in it for the role operator; empty: there is none.", empty=True),
        "viewer": text("viewer", "The key in it for the role viewer, which Prometheus needs for the metrics."),
    },
    "tls": {
        "enabled": flag(False, "Mutual TLS on every port. The cluster's name must then be a label of a DNS name."),
        "mode": Setting("required", "`both` for the rollout of TLS on a running cluster: plain connections go on, and "
                                    "TLS has ports of its own. Then `required`.", {"enum": ["required", "both"]}),
        "secretName": text("", "A Secret with tls.crt, tls.key and ca.crt, for all pods. Empty: cert-manager's "
                               "csi-driver makes a pair for each pod.", DNS_NAME, empty=True),
        "issuer": {
            "name": text("grange", "cert-manager's issuer for the csi-driver. You make it.", DNS_NAME),
            "kind": Setting("Issuer", "In the namespace of the release, or of the cluster.",
                            {"enum": ["Issuer", "ClusterIssuer"]}),
            "group": text("cert-manager.io", "The API group of the issuer.", DNS_NAME),
        },
    },
    "dashboardHosts": Setting([], "Names by which browsers reach the dashboard, such as that of an Ingress. "
                                  "Addresses and localhost (kubectl port-forward) always work.",
                              {"type": "array", "items": {"type": "string", "pattern": DNS_NAME}}),
    "env": texts("Further environment variables, such as GRANGE_RUNTIME__IDLE_TIMEOUT. Never a secret.",
                 propertyNames={"pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "not": {"enum": sorted(RESERVED)}}),
    "resources": {
        "cpu": text("500m", "The request. There is no limit: one would stop the loop for parts of each 100 ms.",
                    QUANTITY),
        "memoryMiB": whole(512, "The request in MiB. The limit is one and a half of it.", 64, 1048576),
    },
    "podLabels": texts("Further labels of the pods.", propertyNames={"not": {"pattern": r"^app\.kubernetes\.io/"}}),
    "podAnnotations": texts("Annotations of the pods."),
    "nodeSelector": texts("Labels that a node must have."),
    "tolerations": objects([], "Taints of nodes that a pod tolerates."),
    "priorityClassName": text("", "The priority class of the pods.", DNS_NAME, empty=True),
    "networkPolicy": {
        "enabled": flag(True, "Let only silos, clients and monitoring reach a pod. The nodes' probes always may."),
        "clients": objects([{"podSelector": {"matchLabels": {"grange.client": "true"}}}],
                           "Peers that may call grains."),
        "monitoring": objects([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
                              "Peers that may read metrics and open the dashboard."),
    },
    "autoscaling": {
        "enabled": flag(False, "Scale by the gauge grange_load; see docs/operations/kubernetes.md for its source."),
        "minReplicas": whole(2, "Never below 2: one pod has no pod to hand its grains to.", 2, 1000),
        "maxReplicas": whole(10, "At most this many pods.", 2, 1000),
        "targetLoadPercent": whole(60, "Mean load to hold; 100 is a full pod.", 10, 95),
    },
    "serviceMonitor": {
        "enabled": flag(False, "Let the Prometheus operator read the metrics."),
        "intervalSeconds": whole(15, "Seconds between two readings.", 1, 300),
        "labels": texts("Labels by which your Prometheus selects it."),
        "caSecret": text("", "With TLS: a Secret with the authority's ca.crt; empty: that of tls.secretName.", DNS_NAME,
                         empty=True),
    },
    "prometheusRule": {
        "enabled": flag(False, "Install the alert rules of deploy/prometheus for the Prometheus operator."),
        "labels": texts("Labels by which your Prometheus selects it."),
    },
    "grafana": {
        "enabled": flag(False, "Install the dashboards of deploy/grafana as a ConfigMap for Grafana's sidecar."),
        "labels": Setting({"grafana_dashboard": "1"}, "Labels by which the sidecar selects it.",
                          {"type": "object", "additionalProperties": {"type": "string"}}),
    },
})  # fmt: skip


def defaults(group: Group = VALUES) -> dict[str, Any]:
    """The default of every value."""
    return {name: each.default if isinstance(each, Setting) else defaults(each) for name, each in group.items()}


def values_schema() -> str:
    """values.schema.json: an unknown name, a missing value and a wrong kind are refused."""
    top = {"$schema": "http://json-schema.org/draft-07/schema#", **_schema(VALUES)}
    top["allOf"] = RULES
    top["properties"] = {
        **top["properties"],
        "global": {"type": "object"},
    }  # Helm adds it to a chart inside another one
    return json.dumps(top, indent=2) + "\n"


def _schema(group: Group) -> dict[str, Any]:
    members = {
        name: {**each.schema, "description": each.text} if isinstance(each, Setting) else _schema(each)
        for name, each in group.items()
    }
    return {"type": "object", "additionalProperties": False, "required": list(group), "properties": members}


def values_yaml() -> str:
    """values.yaml: every value with its meaning above it."""
    return "\n".join(_explained(VALUES, "")) + "\n"


def _explained(group: Group, indent: str) -> list[str]:
    lines: list[str] = []
    for name, each in group.items():
        if isinstance(each, Setting):
            lines += textwrap.wrap(each.text, 116, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
            lines += [indent + line for line in yaml_text({name: each.default}).splitlines()]
        else:
            lines += ["", f"{indent}{name}:", *_explained(each, indent + "  "), ""]
    return [line for number, line in enumerate(lines) if line or (number and lines[number - 1])]
