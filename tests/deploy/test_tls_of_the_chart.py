"""S1, S2, S13: one value gives a whole cluster mutual TLS, and none of its ports goes on without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from deploy.source import tls
from grange.proto.identity import SpiffeId, parse_spiffe, server_name
from grange.silo.config import SiloConfig
from grange.silo.option_checks import check_insecure
from tests.deploy.rendered import by_source
from tests.deploy.test_the_manifests import container, pod_template
from tests.deploy.value_sets import GOOD

REQUIRED = GOOD["mutual TLS by cert-manager"]
SECRET = GOOD["mutual TLS from a Secret, with monitoring"]
BOTH = GOOD["the rollout of TLS"]


def variables(values: Mapping[str, Any]) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in container(values)["env"]}


def volume(values: Mapping[str, Any]) -> dict[str, Any]:
    (found,) = (each for each in pod_template(dict(values))["spec"]["volumes"] if each["name"] == "tls")
    return found


def ports(values: Mapping[str, Any]) -> dict[str, int]:
    return {each["name"]: each["containerPort"] for each in container(values)["ports"]}


def test_without_it_a_pod_has_no_certificate_and_says_that_it_is_insecure() -> None:
    assert variables({})["GRANGE_INSECURE"] == "true"
    assert not [name for name in variables({}) if name.startswith("GRANGE_TLS")]
    assert {each["name"] for each in pod_template()["spec"]["volumes"]} == {"secrets", "tmp"}
    assert set(ports({})) == {"silo", "probe", "gateway", "admin"}


@pytest.mark.parametrize("values", [REQUIRED, SECRET])
def test_one_value_requires_tls_on_every_port(values: Mapping[str, Any]) -> None:
    found = variables(values)
    assert "GRANGE_INSECURE" not in found
    assert found["GRANGE_TLS__MODE"] == "required"
    files = {found[f"GRANGE_TLS__{name}"] for name in ("CERTIFICATE", "KEY", "CA")}
    assert files == {f"{tls.FOLDER}/{name}" for name in ("tls.crt", "tls.key", "ca.crt")}
    assert {"name": "tls", "mountPath": tls.FOLDER, "readOnly": True} in container(values)["volumeMounts"]


def test_the_certificate_of_a_pod_is_that_of_a_silo_of_its_cluster() -> None:
    """By the functions that the silo itself uses."""
    attributes = volume({**REQUIRED, "cluster": "Shop-1"})["csi"]["volumeAttributes"]
    given = {name.removeprefix("csi.cert-manager.io/"): each for name, each in attributes.items()}
    assert parse_spiffe(given["uri-sans"]) == SpiffeId("Shop-1", "silo")
    assert given["dns-names"] == server_name("Shop-1")
    assert {"server auth", "client auth"} <= set(given["key-usages"].split(","))
    assert given["fs-group"] == str(pod_template()["spec"]["securityContext"]["fsGroup"])
    assert (given["issuer-name"], given["issuer-kind"]) == ("grange", "Issuer")


def test_a_secret_takes_the_place_of_cert_manager() -> None:
    assert volume(SECRET)["projected"]["sources"] == [{"secret": {"name": "silo-tls"}}]
    assert "csi" not in volume(SECRET)


@pytest.mark.parametrize(("values", "scheme"), [(REQUIRED, "HTTPS"), (BOTH, None), ({}, None)])
def test_probes_speak_what_the_admin_port_takes(values: Mapping[str, Any], scheme: str | None) -> None:
    probes = [each for name, each in container(values).items() if name.endswith("Probe")]
    assert [each["httpGet"].get("scheme") for each in probes] == [scheme] * 3


def test_a_rollout_has_both_kinds_of_ports_with_fixed_numbers() -> None:
    """A policy cannot let in a port that is taken by chance."""
    found = variables(BOTH)
    assert (found["GRANGE_INSECURE"], found["GRANGE_TLS__MODE"]) == ("true", "both")
    opened = ports(BOTH)
    for option, name in (
        ("PORT", "silo"),
        ("PROBE_PORT", "probe"),
        ("GATEWAY_PORT", "gateway"),
        ("HTTP_PORT", "admin"),
    ):
        assert int(found[f"GRANGE_TLS__{option}"]) == opened[f"{name}-tls"]
    assert len(set(opened.values())) == 8


def test_clients_that_moved_during_the_rollout_keep_their_port() -> None:
    during, after = by_source(BOTH), by_source(REQUIRED)
    for name in ("service", "service-admin"):
        assert during[name]["spec"]["ports"] == after[name]["spec"]["ports"]
        assert len(after[name]["spec"]["ports"]) == 2
    assert set(ports(REQUIRED)) == {"silo", "probe", "gateway", "admin", "gateway-tls", "admin-tls"}


@pytest.mark.parametrize("values", [REQUIRED, SECRET, BOTH])
def test_a_silo_accepts_the_options_of_the_chart(values: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """On an address that is not loopback, which is refused without TLS; a name that no option has is refused, too."""
    cluster = values.get("cluster", "default")
    for name, value in variables(values).items():
        if name.startswith("GRANGE_TLS__") or name in {"GRANGE_INSECURE", "GRANGE_HOST", "GRANGE_HTTP"}:
            monkeypatch.setenv(name, value)
    config = SiloConfig(cluster=cluster, advertise="10.0.0.7")
    options = config.tls_options()
    check_insecure(config)
    assert options.is_given
    assert options.mode == variables(values)["GRANGE_TLS__MODE"]
    opened = {name: port for name, port in ports(values).items() if name.endswith("-tls")}
    given = {"silo-tls": options.port, "probe-tls": options.probe_port, "gateway-tls": options.gateway_port}
    assert {name: port for name, port in {**given, "admin-tls": options.http_port}.items() if port} == opened


def test_prometheus_checks_the_name_of_the_silos() -> None:
    (endpoint,) = by_source(SECRET)["service-monitor"]["spec"]["endpoints"]
    assert endpoint["scheme"] == "https"
    assert endpoint["tlsConfig"] == {
        "serverName": server_name("Shop-1"), "ca": {"secret": {"name": "silo-tls", "key": "ca.crt"}},
    }  # fmt: skip
    (plain,) = by_source(BOTH)["service-monitor"]["spec"]["endpoints"]
    assert not {"scheme", "tlsConfig"} & plain.keys()
