"""How pods are reached: a Service for clients, one for operators, and the policy that keeps all others out."""

from __future__ import annotations

from typing import Any

from deploy.source import tls
from deploy.source.tree import When, block, has
from deploy.source.workload import GATEWAY_PORT, HTTP_PORT, PROBE_PORT, SELECTOR, SILO_PORT, metadata


def gateway_service() -> dict[str, Any]:
    """Where a client begins. Not headless: each new connection goes to a ready pod, also for a client whose answer from
    DNS is old. From there on the client reaches the pods by the addresses in the cluster's view.
    """
    ports = _service_ports("gateway", GATEWAY_PORT)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(),
        "spec": {"type": "ClusterIP", "selector": SELECTOR, "ports": ports},
    }


def admin_service() -> dict[str, Any]:
    """Metrics and the dashboard. Also of pods that are not ready: a joining or draining silo must be seen.

    A browser stays with one pod, because each pod has its own logins.
    """
    ports = _service_ports("admin", HTTP_PORT)
    spec = {
        "type": "ClusterIP",
        "publishNotReadyAddresses": True,
        "sessionAffinity": "ClientIP",
        "selector": SELECTOR,
        "ports": ports,
    }
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata("-admin"), "spec": spec}


def network_policy() -> dict[str, Any]:
    """Silos reach the ports of silos, others what they need. A node always reaches its own pods, for its probes."""
    silos = {"podSelector": {"matchLabels": SELECTOR}}
    rules = {  # an empty list of peers would let in all of them, so then there is no rule
        peers: {"from": block(f"networkPolicy.{peers}"), "ports": [*_tcp(port), *_tls(name)]}
        for peers, port, name in (("clients", GATEWAY_PORT, "gateway-tls"), ("monitoring", HTTP_PORT, "admin-tls"))
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(),
        "spec": {
            "podSelector": {"matchLabels": SELECTOR},
            "policyTypes": ["Ingress"],
            "ingress": [
                {
                    "from": [silos],
                    "ports": [
                        *_tcp(SILO_PORT, PROBE_PORT, GATEWAY_PORT),
                        *_tls("silo-tls", "probe-tls", "gateway-tls"),
                    ],
                },
                *(When(has(f"networkPolicy.{peers}"), rule) for peers, rule in rules.items()),
            ],
        },
    }


def _tcp(*ports: int) -> list[dict[str, Any]]:
    return [{"protocol": "TCP", "port": port} for port in ports]


def _tls(*names: str) -> list[When]:
    ports = (tls.PORTS[name] for name in names)
    return [When(condition, each) for port, condition in ports for each in _tcp(port)]


def _service_ports(name: str, port: int) -> list[Any]:
    """A port of the pods, and the one with TLS beside it."""
    further, condition = tls.PORTS[f"{name}-tls"]
    return [_service_port(name, port), When(condition, _service_port(f"{name}-tls", further))]


def _service_port(name: str, port: int) -> dict[str, Any]:
    return {"name": name, "port": port, "targetPort": name, "protocol": "TCP"}
