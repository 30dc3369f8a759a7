"""The pods: a Deployment, its disruption budget and its autoscaler.

A Deployment, not a StatefulSet: a silo's identity is its address and generation, and its state is in the stores.
"""

from __future__ import annotations

import json
from typing import Any

from deploy.source import tls
from deploy.source.tree import Given, Late, More, Spread, When, block, has, lacks, release, text_of, value

SILO_PORT, PROBE_PORT, GATEWAY_PORT, HTTP_PORT = 11111, 11112, 30000, 8080
USER = 10001
GRACE_AFTER_DRAIN = 60
"""Seconds of a stop besides `drain_timeout`: the other steps of a drain, and closing the parts."""

SECRETS = "/run/secrets/grange"

SELECTOR = {"app.kubernetes.io/name": "grange", "app.kubernetes.io/instance": release()}


def labels() -> dict[str, Any]:
    """Labels of every object."""
    return {**SELECTOR, "app.kubernetes.io/component": "silo"}


def metadata(suffix: str = "") -> dict[str, Any]:
    return {"name": release(suffix), "labels": labels()}


def deployment() -> dict[str, Any]:
    """One surplus pod at a time, and no pod fewer: an old pod goes when a new one has been ready for 15 s."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(),
        "spec": {
            "replicas": When(lacks("autoscaling.enabled"), value("replicas")),
            "minReadySeconds": 15,
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 5,
            "selector": {"matchLabels": SELECTOR},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {
                    "labels": {**labels(), "podLabels": More("podLabels")},
                    "annotations": When(has("podAnnotations"), block("podAnnotations")),
                },
                "spec": pod(),
            },
        },
    }


def pod() -> dict[str, Any]:
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # a Service `grange` would set variables such as GRANGE_PORT
        "terminationGracePeriodSeconds": Late(
            f"add .Values.drainTimeout {GRACE_AFTER_DRAIN}",
            lambda given: given.value("drainTimeout") + GRACE_AFTER_DRAIN,
        ),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "imagePullSecrets": When(has("image.pullSecrets"), block("image.pullSecrets")),
        "priorityClassName": When(has("priorityClassName"), value("priorityClassName")),
        "nodeSelector": When(has("nodeSelector"), block("nodeSelector")),
        "tolerations": When(has("tolerations"), block("tolerations")),
        "topologySpreadConstraints": [spread("kubernetes.io/hostname"), spread("topology.kubernetes.io/zone")],
        "containers": [container()],
        "volumes": [
            {"name": "secrets", "projected": {"defaultMode": 0o440, "sources": secrets()}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            *tls.volumes(USER),
        ],
    }


def spread(key: str) -> dict[str, Any]:
    """Pods of one version spread over nodes or zones, where they can."""
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": SELECTOR},
        "matchLabelKeys": ["pod-template-hash"],
    }


def container() -> dict[str, Any]:
    ports = {"silo": SILO_PORT, "probe": PROBE_PORT, "gateway": GATEWAY_PORT, "admin": HTTP_PORT}
    return {
        "name": "silo",
        "image": image(),
        "imagePullPolicy": value("image.pullPolicy"),
        "args": ["run", value("app"), "--log-json"],
        "env": environment(),
        "ports": [
            *(container_port(name, port) for name, port in ports.items()),
            *(When(condition, container_port(name, port)) for name, (port, condition) in tls.PORTS.items()),
        ],
        "startupProbe": probe("/startupz", period=2, failures=90),
        # The silo itself counts its loop as dead after a minute. `/livez` looks at no store and no other silo.
        "livenessProbe": probe("/livez", period=10, failures=6),
        "readinessProbe": probe("/readyz", period=2, failures=2),
        "lifecycle": When(has("preStopSleep"), {"preStop": {"sleep": {"seconds": value("preStopSleep")}}}),
        "resources": {
            "requests": {"cpu": value("resources.cpu"), "memory": memory("resources.memoryMiB", 1, 1)},
            "limits": {"memory": memory("resources.memoryMiB", 3, 2)},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "secrets", "mountPath": SECRETS, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
            tls.mount(),
        ],
    }


def container_port(name: str, port: int) -> dict[str, Any]:
    return {"name": name, "containerPort": port, "protocol": "TCP"}


def image() -> Late:
    """By its digest if there is one, else by its tag."""

    def plain(given: Given) -> str:
        digest = given.value("image.digest")
        return given.value("image.repository") + (f"@{digest}" if digest else f":{given.value('image.tag')}")

    by_tag = 'printf ":%s" .Values.image.tag'
    by_digest = 'printf "@%s" .Values.image.digest'
    chosen = f'ternary ({by_digest}) ({by_tag}) (ne .Values.image.digest "")'
    return Late(f'printf "%s%s" .Values.image.repository ({chosen}) | toJson', plain)


def memory(path: str, times: int, divided_by: int) -> Late:
    return Late(
        f'printf "%dMi" (div (mul {times} .Values.{path}) {divided_by}) | toJson',
        lambda given: f"{given.value(path) * times // divided_by}Mi",
    )


def probe(path: str, period: int, failures: int) -> dict[str, Any]:
    return {
        # A node shows no certificate and checks none.
        "httpGet": {"path": path, "port": "admin", "scheme": When(tls.REQUIRED, "HTTPS")},
        "periodSeconds": period,
        "timeoutSeconds": min(period, 5),
        "failureThreshold": failures,
    }


def environment() -> list[Any]:
    """The options of the silo. Secrets are files, which `kubectl describe` and child processes do not show."""
    fixed = {
        "GRANGE_HOST": "0.0.0.0",
        "GRANGE_PORT": str(SILO_PORT),
        "GRANGE_PROBE_PORT": str(PROBE_PORT),
        "GRANGE_GATEWAY_PORT": str(GATEWAY_PORT),
        "GRANGE_HTTP": str(HTTP_PORT),
        "GRANGE_DATA": "/tmp/grange",
        "GRANGE_CLUSTER": value("cluster"),
        "GRANGE_SERVICE": value("service"),
        "GRANGE_DRAIN_TIMEOUT": text_of("drainTimeout"),
        "GRANGE_MEMBERSHIP_FILE": f"{SECRETS}/membership",
        "GRANGE_STORAGE_FILE": f"{SECRETS}/storage",
        "GRANGE_ADMIN_TOKEN_FILE": f"{SECRETS}/admin-token",
        "GRANGE_VIEWER_TOKEN_FILE": f"{SECRETS}/viewer-token",
    }
    return [
        {"name": "GRANGE_ADVERTISE", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "GRANGE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        *({"name": name, "value": content} for name, content in fixed.items()),
        *tls.environment(),
        When(has("tokens.operator"), {"name": "GRANGE_OPERATOR_TOKEN_FILE", "value": f"{SECRETS}/operator-token"}),
        When(has("dashboardHosts"), {"name": "GRANGE_HTTP_HOSTS", "value": hosts()}),
        Spread("env", lambda name, content: {"name": name, "value": content}),
    ]


def hosts() -> Late:
    """A list of names as one option: JSON."""
    return Late(
        "toJson .Values.dashboardHosts | toJson",
        lambda given: json.dumps(given.value("dashboardHosts"), separators=(",", ":")),
    )


def secrets() -> list[dict[str, Any]]:
    """Keys of the Secrets, as files."""
    roles = [
        {"key": value("tokens.admin"), "path": "admin-token"},
        {"key": value("tokens.viewer"), "path": "viewer-token"},
        When(has("tokens.operator"), {"key": value("tokens.operator"), "path": "operator-token"}),
    ]
    stores = [{"key": value(f"stores.{name}"), "path": name} for name in ("membership", "storage")]
    return [
        {"secret": {"name": value("stores.secret"), "items": stores}},
        {"secret": {"name": value("tokens.secret"), "items": roles}},
    ]


def disruption_budget() -> dict[str, Any]:
    """Emptying nodes takes one pod at a time."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": SELECTOR}},
    }


def autoscaler() -> dict[str, Any]:
    """Up fast, down one pod in two minutes: each departure moves grains."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": release()},
            "minReplicas": value("autoscaling.minReplicas"),
            "maxReplicas": value("autoscaling.maxReplicas"),
            "metrics": [
                {
                    "type": "Pods",
                    "pods": {
                        "metric": {"name": "grange_load"},
                        "target": {"type": "AverageValue", "averageValue": target_load()},
                    },
                }
            ],
            "behavior": {
                "scaleUp": {"policies": [{"type": "Percent", "value": 100, "periodSeconds": 30}]},
                "scaleDown": {
                    "stabilizationWindowSeconds": 300,
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}],
                },
            },
        },
    }


def target_load() -> Late:
    """A load of 1.0 is a full pod; Kubernetes counts in thousandths."""
    return Late(
        'printf "%dm" (mul 10 .Values.autoscaling.targetLoadPercent) | toJson',
        lambda given: f"{10 * given.value('autoscaling.targetLoadPercent')}m",
    )
