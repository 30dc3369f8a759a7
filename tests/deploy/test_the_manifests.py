"""The objects fit Kubernetes' strict schemas, the Pod Security Standard `restricted`, and our own rules (S13)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kubernetes_validate
import pytest

from grange.silo.config import SiloConfig
from tests.deploy.rendered import by_source
from tests.deploy.value_sets import GOOD
from tests.docs.test_code_blocks import check_grange

VERSIONS = ("1.34", "1.35", "1.36", "1.37")
OPERATORS = frozenset({"ServiceMonitor", "PrometheusRule"})
"""Kinds of the Prometheus operator, for which Kubernetes has no schema."""


def pod_template(values: dict[str, Any] | None = None) -> dict[str, Any]:
    return by_source(values or {})["deployment"]["spec"]["template"]


def container(values: Mapping[str, Any] | None = None) -> dict[str, Any]:
    (only,) = pod_template(dict(values or {}))["spec"]["containers"]
    return only


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", GOOD)
def test_every_object_fits_the_strict_schema(name: str, version: str) -> None:
    objects = [each for each in by_source(GOOD[name]).values() if each["kind"] not in OPERATORS]
    assert len(objects) >= 4
    for each in objects:
        assert kubernetes_validate.validate(each, version, strict=True) == version


def test_the_strict_schema_finds_a_misspelt_probe() -> None:
    deployment = by_source({})["deployment"]
    deployment["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenesProbe"):
        kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("name", GOOD)
def test_a_pod_is_admitted_by_pod_security_restricted(name: str) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, rule by rule."""
    pod = pod_template(dict(GOOD[name]))["spec"]
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"} & pod.keys()
    assert all(volume.keys() <= {"name", "projected", "emptyDir", "csi"} for volume in pod["volumes"])
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for each in pod["containers"]:
        assert each["securityContext"]["allowPrivilegeEscalation"] is False
        assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert not {"privileged", "procMount", "runAsUser", "seccompProfile"} & each["securityContext"].keys()
        assert not any("hostPort" in port for port in each["ports"])


def test_a_pod_has_no_rights_and_no_writable_disk() -> None:
    pod = pod_template()["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert container()["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["securityContext"]["runAsUser"] == 10001


@pytest.mark.parametrize("name", GOOD)
def test_memory_has_a_limit_and_the_processor_none(name: str) -> None:
    (silo,) = pod_template(dict(GOOD[name]))["spec"]["containers"]
    request, limit = (int(silo["resources"][each]["memory"].removesuffix("Mi")) for each in ("requests", "limits"))
    assert limit == request * 3 // 2
    assert "cpu" in silo["resources"]["requests"]
    assert "cpu" not in silo["resources"]["limits"]


@pytest.mark.parametrize("name", GOOD)
def test_the_grace_of_a_pod_is_longer_than_its_drain(name: str) -> None:
    pod = pod_template(dict(GOOD[name]))["spec"]
    variables = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
    assert pod["terminationGracePeriodSeconds"] == int(variables["GRANGE_DRAIN_TIMEOUT"]) + 60


def test_a_roll_never_has_fewer_pods_and_one_surplus() -> None:
    spec = by_source({})["deployment"]["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert spec["minReadySeconds"] == 15
    assert by_source({})["disruption-budget"]["spec"]["maxUnavailable"] == 1


def test_the_autoscaler_alone_decides_the_number_of_pods() -> None:
    found = by_source({"autoscaling": {"enabled": True}})
    assert "replicas" not in found["deployment"]["spec"]
    assert found["autoscaler"]["spec"]["minReplicas"] >= 2
    assert found["autoscaler"]["spec"]["metrics"][0]["pods"]["metric"] == {"name": "grange_load"}


def test_probes_ask_the_admin_port() -> None:
    silo = container()
    (admin,) = (port["containerPort"] for port in silo["ports"] if port["name"] == "admin")
    assert {"name": "GRANGE_HTTP", "value": str(admin)} in silo["env"]
    found = {
        name: (probe["httpGet"]["path"], probe["httpGet"]["port"], probe["periodSeconds"], probe["failureThreshold"])
        for name, probe in silo.items()
        if name.endswith("Probe")
    }
    assert found == {
        "startupProbe": ("/startupz", "admin", 2, 90),
        "livenessProbe": ("/livez", "admin", 10, 6),
        "readinessProbe": ("/readyz", "admin", 2, 2),
    }


@pytest.mark.parametrize("name", GOOD)
def test_only_silos_reach_the_ports_of_silos(name: str) -> None:
    found = by_source(GOOD[name])
    if "network-policy" not in found:
        return
    rules = found["network-policy"]["spec"]["ingress"]
    selector = found["deployment"]["spec"]["selector"]["matchLabels"]
    reached = {port["port"]: rule["from"] for rule in reversed(rules) for port in rule["ports"]}
    silos = [{"podSelector": {"matchLabels": selector}}]
    opened = {each["name"]: each["containerPort"] for each in container(GOOD[name])["ports"]}
    assert reached.keys() <= set(opened.values())
    for port in ("silo", "probe", "silo-tls", "probe-tls"):
        assert port not in opened or reached[opened[port]] == silos
    assert all(rule["from"] for rule in rules), "an empty list of peers lets in all of them"


def test_no_secret_has_a_value_in_the_manifests() -> None:
    for each in by_source(GOOD["everything"]).values():
        assert each["kind"] != "Secret"
    variables = {each["name"]: each.get("value", "") for each in container()["env"]}
    secret = ("STORAGE", "MEMBERSHIP", "TOKEN")
    assert all(value.startswith("/run/secrets/") for name, value in variables.items() if any(s in name for s in secret))


def test_a_silo_accepts_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    downward = {"status.podIP": "10.0.0.7", "metadata.name": "grange-5d8-x2x"}
    for each in container()["env"]:
        name = each["name"]
        if name.endswith("_FILE"):  # the files are in the pod
            name, each = name.removesuffix("_FILE"), {"value": f"redis://cache/0#{each['value']}"}
        field = each.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        monkeypatch.setenv(name, downward[field] if field else each["value"])
    config = SiloConfig()
    assert (config.public_host, config.name) == ("10.0.0.7", "grange-5d8-x2x")
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert (config.port, config.probe_port, config.gateway_port, config.http) == tuple(
        ports[name] for name in ("silo", "probe", "gateway", "admin")
    )
    check_grange(container()["args"], "the pod")
