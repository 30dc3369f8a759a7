"""Checks compose.yaml without Docker: its structure, its limits, and whether a silo accepts what it is given."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from grange.silo.config import SiloConfig
from tests.architecture.sources import ROOT
from tests.docs.test_code_blocks import check_grange
from tests.tools import tool

SILOS = ("silo-1", "silo-2")
SERVICES = frozenset({"redis", "postgres", *SILOS, "prometheus", "grafana"})
SECONDS = {"type": "string", "pattern": r"^[0-9]+s$"}
TEXTS = {"type": "array", "items": {"type": "string"}, "minItems": 1}
SERVICE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["image", "healthcheck", "stop_grace_period", "networks", "read_only", "cap_drop", "security_opt"],
    "properties": {
        "image": {"type": "string", "pattern": r"^[a-z0-9/-]+:[A-Za-z0-9.-]+$", "not": {"pattern": ":latest$"}},
        "build": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"context": {"type": "string"}, "target": {"type": "string"}},
        },
        "command": TEXTS,
        "user": {"type": "string", "pattern": r"^[1-9][0-9]*:[1-9][0-9]*$"},
        "environment": {"type": "object", "additionalProperties": {"type": "string"}},
        "secrets": TEXTS,
        "networks": TEXTS,
        "ports": {"type": "array", "items": {"type": "string", "pattern": r"^127\.0\.0\.1:[0-9]+:[0-9]+$"}},
        "tmpfs": TEXTS,
        "volumes": {
            "type": "array",
            "items": {"type": "string", "pattern": r"^([a-z-]+:/[\w/]+|\./[\w./-]+:/[\w./]+:ro)$"},
        },
        "depends_on": {"additionalProperties": {"const": {"condition": "service_healthy"}}},
        "healthcheck": {
            "type": "object",
            "additionalProperties": False,
            "required": ["test", "interval", "timeout", "retries"],
            "properties": {
                "test": {**TEXTS, "prefixItems": [{"const": "CMD"}], "minItems": 2},
                "interval": SECONDS,
                "timeout": SECONDS,
                "start_period": SECONDS,
                "retries": {"type": "integer", "minimum": 1},
            },
        },
        "stop_grace_period": SECONDS,
        "read_only": {"const": True},
        "cap_drop": {"const": ["ALL"]},
        "security_opt": {"const": ["no-new-privileges:true"]},
        "restart": {"const": "unless-stopped"},
    },
}  # fmt: skip
"""What a service of ours may say: a part of the compose specification, without what weakens a container."""


def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def services() -> Mapping[str, Any]:
    return compose()["services"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_has_only_known_keys_and_few_rights(name: str) -> None:
    jsonschema.Draft202012Validator(SERVICE).validate(services()[name])


def test_the_file_describes_the_whole_cluster() -> None:
    file = compose()
    assert set(file["services"]) == SERVICES
    assert {name for name in file if not name.startswith("x-")} == {
        "name",
        "services",
        "networks",
        "secrets",
        "volumes",
    }
    for name, service in file["services"].items():
        assert set(service.get("secrets", ())) <= set(file["secrets"]), name
        assert set(service["networks"]) <= set(file["networks"]), name
        assert set(service.get("depends_on", ())) <= SERVICES, name
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source in file["volumes"] or source.startswith("./"), f"{name}: {source}"
    published = [port for service in file["services"].values() for port in service.get("ports", ())]
    assert len({port.rsplit(":", 1)[0] for port in published}) == len(published), "two services publish one port"


def test_only_silos_reach_the_stores() -> None:
    file = compose()
    assert file["networks"]["stores"] == {"internal": True}
    inside = {name for name, service in file["services"].items() if "stores" in service["networks"]}
    assert inside == {"redis", "postgres", *SILOS}
    assert not any(file["services"][name].get("ports") for name in ("redis", "postgres"))


def test_a_published_port_has_a_network_that_is_not_internal() -> None:
    file = compose()
    for name, service in file["services"].items():
        if service.get("ports"):
            assert not all((file["networks"][each] or {}).get("internal") for each in service["networks"]), name


def test_no_secret_has_a_value_in_the_file() -> None:
    secret = re.compile("PASSWORD|TOKEN|STORAGE")
    for name, service in services().items():
        for variable, value in service.get("environment", {}).items():
            assert not secret.search(variable) or value.startswith("/run/secrets/"), f"{name}: {variable}"


def test_the_secrets_are_made_once(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    script = tmp_path / "scripts" / "compose-secrets"
    script.write_bytes((ROOT / "scripts" / "compose-secrets").read_bytes())
    made = [_made_by(script, tmp_path) for _ in range(2)]
    assert made[0] == made[1]
    assert {f".secrets/{name}" for name in made[0]} == {each["file"] for each in compose()["secrets"].values()}
    assert made[0]["postgres-password"] in made[0]["storage-url"]
    assert all(len(text) >= 32 for text in made[0].values())
    assert stat.S_IMODE((tmp_path / ".secrets").stat().st_mode) == 0o700


def _made_by(script: Path, folder: Path) -> dict[str, str]:
    subprocess.run(["bash", script], check=True, capture_output=True)
    return {path.name: path.read_text() for path in (folder / ".secrets").iterdir()}


def test_redis_keeps_the_membership_table() -> None:
    command = " ".join(services()["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


@pytest.mark.parametrize("name", SILOS)
def test_a_silo_starts_after_its_databases_and_has_time_to_drain(name: str) -> None:
    silo = services()[name]
    assert set(silo["depends_on"]) == {"redis", "postgres"}
    drain = float(silo["environment"]["GRANGE_DRAIN_TIMEOUT"])
    assert int(silo["stop_grace_period"].rstrip("s")) == drain + 60


@pytest.mark.parametrize("name", SILOS)
def test_a_silo_accepts_the_options_of_the_compose_file(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    silo = services()[name]
    contents = {
        "storage-url": "postgresql://grange:word@postgres:5432/grange",
        "admin-token": "t" * 32,
        "viewer-token": "v" * 32,
    }
    for variable, value in silo["environment"].items():
        if variable.endswith("_FILE"):
            secret = tmp_path / Path(value).name
            secret.write_text(contents[secret.name])
            value = str(secret)
        monkeypatch.setenv(variable, value)
    assert "--insecure" in silo["command"]
    config = SiloConfig(insecure=True)
    assert config.public_host == config.name == name
    assert config.membership_url.startswith("redis://redis:")
    assert config.storage_urls["default"].partition("?url_file=")[0] == contents["storage-url"]
    check_grange(silo["command"], f"compose.yaml: {name}")


def test_a_silo_is_healthy_when_it_takes_calls() -> None:
    """The same program as in the image, which asks `/livez`."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    (image,) = (
        json.loads(line[line.index("[") :]) for line in dockerfile.splitlines() if line.startswith("HEALTHCHECK")
    )
    for name in SILOS:
        assert services()[name]["healthcheck"]["test"] == [
            "CMD",
            *(word.replace("/livez", "/readyz") for word in image),
        ]


def test_prometheus_accepts_its_configuration(tmp_path: Path) -> None:
    """With the alert rules where the compose file puts them."""
    shutil.copy(ROOT / "deploy" / "compose" / "prometheus.yaml", tmp_path)
    shutil.copytree(ROOT / "deploy" / "prometheus", tmp_path / "rules")
    command = [tool("promtool"), "check", "config", "--syntax-only", tmp_path / "prometheus.yaml"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_prometheus_reads_both_silos_and_grafana_reads_prometheus() -> None:
    folder = ROOT / "deploy" / "compose"
    (job,) = yaml.safe_load((folder / "prometheus.yaml").read_text())["scrape_configs"]
    assert Path(job["authorization"]["credentials_file"]).name in services()["prometheus"]["secrets"]
    assert job["static_configs"] == [{"targets": [f"{name}:8080" for name in SILOS]}]
    (source,) = yaml.safe_load((folder / "grafana" / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((folder / "grafana" / "dashboards" / "grange.yaml").read_text())["providers"]
    assert f"./deploy/grafana:{provider['options']['path']}:ro" in services()["grafana"]["volumes"]
    assert "./deploy/prometheus:/etc/prometheus/rules:ro" in services()["prometheus"]["volumes"]
