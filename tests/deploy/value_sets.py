"""Values for the chart: sets that people use, and sets that its schema must refuse."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

GOOD: Mapping[str, Mapping[str, Any]] = MappingProxyType({
    "defaults": {},
    "an application of one's own": {
        "image": {"repository": "registry.example:5000/shop", "tag": "1.4.2"},
        "app": "shop.app:silo",
        "cluster": "shop: eu \"west\" #1",
        "service": "shop",
    },
    "an image by its digest, from a private registry": {
        "image": {"digest": "sha256:" + "0a" * 32, "pullPolicy": "Always", "pullSecrets": [{"name": "registry"}]},
    },
    "one silo": {"replicas": 1, "drainTimeout": 5},
    "hundreds of large silos": {
        "replicas": 300, "resources": {"cpu": "4", "memoryMiB": 16385}, "drainTimeout": 1800,
    },
    "a process that also serves HTTP": {"preStopSleep": 5},
    "a dashboard behind an Ingress": {"dashboardHosts": ["silos.shop.example", "silos"]},
    "autoscaling": {"autoscaling": {"enabled": True, "minReplicas": 4, "maxReplicas": 40, "targetLoadPercent": 75}},
    "the Prometheus operator and Grafana": {
        "serviceMonitor": {"enabled": True, "intervalSeconds": 30, "labels": {"release": "kube-prometheus"}},
        "prometheusRule": {"enabled": True, "labels": {"release": "kube-prometheus"}},
        "grafana": {"enabled": True},
    },
    "all roles": {"tokens": {"secret": "shop.tokens", "admin": "a", "operator": "o", "viewer": "v"}},
    "stores elsewhere": {"stores": {"secret": "vault-stores", "membership": "redis-url", "storage": "pg-url"}},
    "options and hostile texts in the environment": {
        "env": {
            "GRANGE_RUNTIME__IDLE_TIMEOUT": "600",
            "GRANGE_LABELS": '["ssd"]',
            "SWITCH": "yes",
            "NUMBER": "0x10",
            "HOSTILE": "{{ .Values.stores }}\n- name: x # \"'",
        },
    },
    "certain nodes": {
        "nodeSelector": {"disk": "ssd", "zone": "1"},
        "tolerations": [{"key": "silos", "operator": "Exists", "effect": "NoSchedule"}],
        "priorityClassName": "high",
        "podLabels": {"team": "shop", "grange.client": "true"},
        "podAnnotations": {"note": "a: b"},
    },
    "no network policy": {"networkPolicy": {"enabled": False}},
    "clients of another namespace, no monitoring": {
        "networkPolicy": {
            "clients": [{"namespaceSelector": {"matchLabels": {"team": "web"}}}, {"ipBlock": {"cidr": "10.0.0.0/8"}}],
            "monitoring": [],
        },
    },
    "mutual TLS by cert-manager": {"tls": {"enabled": True}},
    "mutual TLS from a Secret, with monitoring": {
        "tls": {"enabled": True, "secretName": "silo-tls"}, "serviceMonitor": {"enabled": True}, "cluster": "Shop-1",
    },
    "the rollout of TLS": {
        "tls": {"enabled": True, "mode": "both", "issuer": {"name": "shop", "kind": "ClusterIssuer"}},
        "serviceMonitor": {"enabled": True, "caSecret": "authority"},
    },
    "everything": {
        "replicas": 5,
        "autoscaling": {"enabled": True},
        "serviceMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "grafana": {"enabled": True, "labels": {"dashboards": "yes"}},
        "tokens": {"operator": "operator", "viewer": "viewer"},
        "env": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"},
        "preStopSleep": 1,
    },
})  # fmt: skip

BAD: Mapping[str, Mapping[str, Any]] = MappingProxyType({
    "a misspelt name": {"replica": 3},
    "a misspelt name inside a group": {"autoscaling": {"maxReplica": 3}},
    "a number as a text": {"replicas": "3"},
    "a text as a number": {"image": {"tag": 1.0}},
    "no pods": {"replicas": 0},
    "half a second": {"drainTimeout": 0.5},
    "a tag that moves": {"image": {"tag": "latest"}},
    "a digest that is none": {"image": {"digest": "sha256:abc"}},
    "an application without a silo": {"app": "shop.app"},
    "autoscaling to one pod": {"autoscaling": {"enabled": True, "minReplicas": 1}},
    "a full pod as the target": {"autoscaling": {"enabled": True, "targetLoadPercent": 100}},
    "an address that the manifest sets": {"env": {"GRANGE_ADVERTISE": "10.0.0.1"}},
    "a secret in the environment": {"env": {"GRANGE_STORAGE": "postgresql://user:word@db/shop"}},
    "a number in the environment": {"env": {"GRANGE_RUNTIME__IDLE_TIMEOUT": 600}},
    "no Secret for the stores": {"stores": {"secret": ""}},
    "no tokens": {"tokens": None},
    "a removed value": {"cluster": None},
    "a label that selects": {"podLabels": {"app.kubernetes.io/name": "other"}},
    "a host with a scheme": {"dashboardHosts": ["https://silos.shop.example"]},
    "a cluster that no DNS name can hold, with TLS": {"tls": {"enabled": True}, "cluster": "shop.eu"},
    "Prometheus without the authority": {"tls": {"enabled": True}, "serviceMonitor": {"enabled": True}},
    "TLS that checks nothing": {"tls": {"enabled": True, "mode": "optional"}},
    "a key of TLS in the environment": {"env": {"GRANGE_TLS__KEY": "/tmp/key"}},
    "little memory": {"resources": {"memoryMiB": 8}},
    "memory with a unit": {"resources": {"memoryMiB": "512Mi"}},
})  # fmt: skip


def merged(values: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """The values with others over them, as Helm merges them: maps member by member."""
    result = dict(values)
    for name, each in over.items():
        old = result.get(name)
        result[name] = merged(old, each) if isinstance(old, Mapping) and isinstance(each, Mapping) else each
    return result
