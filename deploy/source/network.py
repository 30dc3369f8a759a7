"""How pods are reached: a Service for clients, one for operators, and the policy that keeps all others out."""

from __future__ import annotations

from typing import Any

from deploy.source.tree import When, block, has
from deploy.source.workload import GATEWAY_PORT, HTTP_PORT, PROBE_PORT, SELECTOR, SILO_PORT, metadata


def gateway_service() -> dict[str, Any]:
    """Where a client begins. Not headless: each new connection goes to a ready pod, also for a client whose answer from
    DNS is old. From there on the client reaches the pods by the addresses in the cluster's view.
    """
    ports = [{"name": "gateway", "port": GATEWAY_PORT, "targetPort": "gateway", "protocol": "TCP"}]
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
    ports = [{"name": "admin", "port": HTTP_PORT, "targetPort": "admin", "protocol": "TCP"}]
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
        peers: {"from": block(f"networkPolicy.{peers}"), "ports": _tcp(port)}
        for peers, port in (("clients", GATEWAY_PORT), ("monitoring", HTTP_PORT))
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(),
        "spec": {
            "podSelector": {"matchLabels": SELECTOR},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [silos], "ports": _tcp(SILO_PORT, PROBE_PORT, GATEWAY_PORT)},
                *(When(has(f"networkPolicy.{peers}"), rule) for peers, rule in rules.items()),
            ],
        },
    }


def _tcp(*ports: int) -> list[dict[str, Any]]:
    return [{"protocol": "TCP", "port": port} for port in ports]
