"""What a pod is to run, from the template of a Deployment. A field that this kubelet does not play is an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.deploy.kubelet.probe import ProbeSpec

PLAYED = frozenset({
    "terminationGracePeriodSeconds", "securityContext", "containers", "volumes",
})  # fmt: skip
NOT_FOR_A_NODE = frozenset({
    "automountServiceAccountToken", "enableServiceLinks", "imagePullSecrets", "priorityClassName", "nodeSelector",
    "tolerations", "topologySpreadConstraints",
})  # fmt: skip
"""Fields for the scheduler and the API: there is one node here, and no service has variables."""

Secrets = Mapping[str, Mapping[str, str]]
"""The texts of Secrets, by name and key."""


@dataclass(frozen=True)
class PodSpec:
    """One container, ready to start. `files` are the projected secrets, by path below `secrets_at`."""

    name: str
    ip: str
    args: tuple[str, ...]
    env: Mapping[str, str]
    files: Mapping[str, str]
    secrets_at: str
    scratch_at: str
    user: int
    grace: float
    pre_stop: float
    startup: ProbeSpec
    liveness: ProbeSpec
    readiness: ProbeSpec


def pod_spec(template: Mapping[str, Any], name: str, ip: str, secrets: Secrets) -> PodSpec:
    """The pod of a template, with the downward API answered. Raises ValueError for what is not played here."""
    pod = template["spec"]
    unknown = pod.keys() - PLAYED - NOT_FOR_A_NODE
    if unknown:
        raise ValueError(f"this kubelet does not play {sorted(unknown)}")
    (container,) = pod["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    kinds = {kind: volume["name"] for volume in pod["volumes"] for kind in volume if kind != "name"}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    fields = {"status.podIP": ip, "metadata.name": name}
    return PodSpec(
        name=name,
        ip=ip,
        args=tuple(container["args"]),
        env={each["name"]: _content(each, fields) for each in container["env"]},
        files=_files(pod, secrets),
        secrets_at=mounts[kinds["projected"]],
        scratch_at=mounts[kinds["emptyDir"]],
        user=pod["securityContext"]["runAsUser"],
        grace=pod["terminationGracePeriodSeconds"],
        pre_stop=container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0),
        startup=_probe(container["startupProbe"], ports),
        liveness=_probe(container["livenessProbe"], ports),
        readiness=_probe(container["readinessProbe"], ports),
    )


def _content(variable: Mapping[str, Any], fields: Mapping[str, str]) -> str:
    return variable["value"] if "value" in variable else fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]


def _files(pod: Mapping[str, Any], secrets: Secrets) -> dict[str, str]:
    (projected,) = (volume["projected"] for volume in pod["volumes"] if "projected" in volume)
    sources = [source["secret"] for source in projected["sources"]]
    return {item["path"]: secrets[source["name"]][item["key"]] for source in sources for item in source["items"]}


def _probe(probe: Mapping[str, Any], ports: Mapping[str, int]) -> ProbeSpec:
    return ProbeSpec(
        path=probe["httpGet"]["path"],
        port=ports[probe["httpGet"]["port"]],
        period=probe["periodSeconds"],
        timeout=probe["timeoutSeconds"],
        failures=probe["failureThreshold"],
    )
