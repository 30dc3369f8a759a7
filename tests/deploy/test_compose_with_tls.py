"""S1, S13: compose.tls.yaml over compose.yaml gives every port of the silos mutual TLS, by certificates made there."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from grange.cli.commands import main
from grange.clock import utc_now
from grange.proto.identity import server_name
from grange.security.findings import Outcome, check_files
from grange.security.material import OF_CLIENT, OF_SILO
from grange.security.options import TlsOptions
from grange.silo.config import SiloConfig
from grange.silo.option_checks import check_insecure
from tests.architecture.sources import ROOT
from tests.deploy.test_the_compose_file import SILOS, compose
from tests.docs.test_code_blocks import check_grange
from tests.tools import tool

PLACE = "/data/certs"


def over() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "compose.tls.yaml").read_text())


def services() -> dict[str, Any]:
    """As compose merges two files: members of maps, volumes by their place in the container, commands as a whole."""
    merged = dict(compose()["services"])
    for name, each in over()["services"].items():
        merged[name] = _over(merged.get(name, {}), each)
    return merged


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping):
            result[key] = {**below.get(key, {}), **value}
        elif key == "volumes":
            both = [*below.get(key, ()), *value]
            result[key] = list({volume.split(":")[1]: volume for volume in both}.values())
        else:
            result[key] = value
    return result


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """The certificates that the service `certs` makes, by its own command."""
    command = [word.replace(PLACE, str(tmp_path / "certs")) for word in services()["certs"]["command"]]
    for _ in range(2):  # `up` runs it again
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 0, done.output
    assert "is kept" in done.output
    return tmp_path / "certs"


def test_only_the_certificates_and_what_uses_them_is_added() -> None:
    assert set(over()["services"]) == {"certs", *SILOS, "prometheus"}
    assert set(over()["volumes"]) == {"certificates"}
    for name, service in services().items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    certs = services()["certs"]
    assert (certs["restart"], certs["network_mode"]) == ("no", "none")
    assert certs["build"] == services()["silo-1"]["build"]
    assert certs["image"] == services()["silo-1"]["image"]
    check_grange(certs["command"], "compose.tls.yaml: certs")


@pytest.mark.parametrize("name", SILOS)
def test_a_silo_takes_tls_only_and_starts_after_its_certificates(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    silo = services()[name]
    assert silo["depends_on"]["certs"] == {"condition": "service_completed_successfully"}
    assert {"redis", "postgres"} < set(silo["depends_on"])
    assert "--insecure" not in silo["command"]
    check_grange(silo["command"], f"compose.tls.yaml: {name}")
    for variable, value in silo["environment"].items():
        if not variable.endswith("_FILE"):
            monkeypatch.setenv(variable, value)
    config = SiloConfig(storage="memory://")
    check_insecure(config)
    options = config.tls_options()
    assert config.public_host == name
    assert options == TlsOptions.of_folder(f"{PLACE}/silo")
    assert options.mode == "required"
    assert "certificates:/data:ro" in silo["volumes"]


def test_the_certificates_are_those_of_this_cluster_and_nothing_signs_others(made: Path) -> None:
    cluster = services()["silo-1"]["environment"]["GRANGE_CLUSTER"]
    for folder, roles in (("silo", OF_SILO), ("client/web", OF_CLIENT), ("admin/dev", OF_CLIENT)):
        findings = check_files(TlsOptions.of_folder(made / folder), cluster, roles, utc_now().timestamp())
        assert {each.outcome for each in findings} == {Outcome.OK}, folder
    assert not list(made.rglob("ca.key"))


def test_certificates_that_a_silo_would_refuse_are_not_kept(made: Path) -> None:
    command = [word.replace(PLACE, str(made)) for word in services()["certs"]["command"]]
    (made / "silo" / "tls.key").unlink()
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code != 0
    assert "cannot be kept" in refused.output
    assert "--force replaces its files" in refused.output


def test_prometheus_reads_the_silos_with_tls(made: Path, tmp_path: Path) -> None:
    folder = ROOT / "deploy" / "compose"
    plain, with_tls = (
        yaml.safe_load((folder / f"{name}.yaml").read_text()) for name in ("prometheus", "prometheus-tls")
    )
    (job,) = with_tls["scrape_configs"]
    tls = job.pop("tls_config")
    assert job.pop("scheme") == "https"
    assert with_tls == plain
    assert tls["server_name"] == server_name("flights")
    assert (made / Path(tls["ca_file"]).relative_to("/certificates/certs")).exists()
    mounted = services()["prometheus"]["volumes"]
    assert "certificates:/certificates:ro" in mounted
    assert "./deploy/compose/prometheus-tls.yaml:/etc/prometheus/prometheus.yaml:ro" in mounted
    assert not [volume for volume in mounted if volume.startswith("./deploy/compose/prometheus.yaml")]
    shutil.copy(folder / "prometheus-tls.yaml", tmp_path)
    shutil.copytree(ROOT / "deploy" / "prometheus", tmp_path / "rules")
    command = [tool("promtool"), "check", "config", "--syntax-only", tmp_path / "prometheus-tls.yaml"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
