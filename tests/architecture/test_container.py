"""Checks the image and the compose file without Docker: stages, user, pins, health checks."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from grange.silo.config import SiloConfig
from tests.architecture.sources import ROOT
from tests.docs.test_code_blocks import check_grange

SILOS = ("silo-1", "silo-2")


def instructions() -> list[tuple[str, str]]:
    """(instruction, rest of it) of the Dockerfile, comments dropped and continuations joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def of_kind(kind: str) -> list[str]:
    return [rest for name, rest in instructions() if name == kind]


def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def test_the_image_is_built_in_two_stages_on_a_pinned_slim_base() -> None:
    bases = [re.fullmatch(r"(\S+) AS (\w+)", base) for base in of_kind("FROM")]
    assert [base and base[2] for base in bases] == ["build", "silo"]
    for base in bases:
        assert base
        assert re.fullmatch(r"python:3\.\d+-slim-\w+", base[1])


def test_the_silo_is_pid_1_and_not_root() -> None:
    assert json.loads(of_kind("ENTRYPOINT")[0]) == ["grange"]
    user = of_kind("USER")[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    names = [name for name, _ in instructions()]
    assert "RUN" not in names[names.index("USER") :]


def test_every_package_in_the_image_is_pinned_to_its_hash() -> None:
    installs = [step for run in of_kind("RUN") for step in run.split("&&") if "pip install" in step]
    assert len(installs) == 3
    for step in installs:
        assert ("--require-hashes" in step and "requirements/" in step) or ("--no-deps" in step and "dist/" in step)


def test_the_health_check_of_the_image_asks_its_own_silo() -> None:
    (check,) = of_kind("HEALTHCHECK")
    assert json.loads(check[check.index("[") :]) == ["grange", "status", "--here"]
    assert compose()["x-silo"]["healthcheck"]["test"] == ["CMD", "grange", "status", "--here"]


def test_the_image_exposes_the_ports_that_its_silos_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe port is fixed in the image, because a free one could not be exposed."""
    for setting in of_kind("ENV"):
        for name, _, value in (pair.partition("=") for pair in setting.split()):
            if name.startswith("GRANGE_"):
                monkeypatch.setenv(name, value)
    config = SiloConfig()
    (ports,) = of_kind("EXPOSE")
    assert list(map(int, ports.split())) == [config.port, config.probe_port, config.gateway_port]


def test_the_files_that_the_image_copies_exist_and_reach_the_builder() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for copy in of_kind("COPY"):
        if copy.startswith("--from"):
            continue
        for source in copy.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert source.split("/")[0] in sent, source


def test_the_compose_file_describes_redis_postgres_and_two_silos() -> None:
    services = compose()["services"]
    assert set(services) == {"redis", "postgres", *SILOS}
    for name, service in services.items():
        image, _, tag = service["image"].partition(":")
        assert image, name
        assert tag not in {"", "latest"}, name
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert re.fullmatch(r"\d+s", service["stop_grace_period"]), name
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), f"{name} would be open to other machines"


def test_redis_keeps_the_membership_table() -> None:
    command = " ".join(compose()["services"]["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


@pytest.mark.parametrize("name", SILOS)
def test_a_silo_starts_after_its_databases_and_has_time_to_drain(name: str) -> None:
    silo = compose()["services"][name]
    assert {need: how["condition"] for need, how in silo["depends_on"].items()} == {
        "redis": "service_healthy",
        "postgres": "service_healthy",
    }
    drain = float(silo["environment"]["GRANGE_DRAIN_TIMEOUT"])
    assert int(silo["stop_grace_period"].rstrip("s")) > drain


@pytest.mark.parametrize("name", SILOS)
def test_a_silo_accepts_the_options_of_the_compose_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    silo = compose()["services"][name]
    for key, value in silo["environment"].items():
        assert key.removeprefix("GRANGE_").lower() in SiloConfig.model_fields, key
        monkeypatch.setenv(key, str(value))
    assert "--insecure" in silo["command"]
    config = SiloConfig(insecure=True)
    assert config.public_host == name
    assert config.membership_url.startswith("redis://redis:")
    assert config.storage_urls["default"].startswith("postgresql://")
    check_grange(silo["command"], f"compose.yaml: {name}")
