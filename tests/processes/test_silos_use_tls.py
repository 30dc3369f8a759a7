"""Silos of their own processes with TLS from the environment, commands with the certificate of an admin."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from grange.cli.exit_codes import ExitCode
from grange.client import Client, ClientOptions
from grange.security.options import TlsOptions
from grange.testing.certificates import CertificateAuthority
from tests.processes.counters import Probe
from tests.processes.silo_process import PATIENCE, SiloProcess, Silos

pytestmark = pytest.mark.processes


class Files:
    """The certificates of one cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = CertificateAuthority("default")
        self.silo = CertificateAuthority.write(folder / "silo", self.authority.silo())
        self.admin = CertificateAuthority.write(folder / "admin", self.authority.admin("ann"))
        self.web = CertificateAuthority.write(folder / "web", self.authority.client("web"))

    def environment(self, **options: str) -> dict[str, str]:
        """The variables of a silo."""
        given = {"certificate": self.silo.certificate, "key": self.silo.key, "ca": self.silo.ca, **options}
        return {f"GRANGE_TLS__{name.upper()}": value for name, value in given.items()}


def options_of(files: TlsOptions) -> list[str]:
    return ["--tls-certificate", files.certificate, "--tls-key", files.key, "--tls-ca", files.ca]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "certs")


@pytest.mark.parametrize("road", ["grpc", "tcp"])
async def test_commands_and_clients_ask_silos_with_tls(silos: Silos, files: Files, road: str) -> None:
    """A grain on each silo calls one on the other, while turns block loops; the commands find the gateways."""
    first, second = await silos.run_two("--road", road, **files.environment())
    how = ClientOptions(road=road)  # type: ignore[arg-type]
    async with Client([first.gateway], tls=files.web, options=how) as client:
        async with asyncio.timeout(PATIENCE):
            await client.wait_for([first.address, second.address])
        here, there = await probe_on(client, first), await probe_on(client, second)
        assert await client.get_grain(Probe, here).pid_of(there) == second.pid
    shown = await asked(silos, "silos", "--json", *options_of(files.admin))
    assert [row["tls"] for row in json.loads(shown)] == ["required", "required"]
    state = json.loads(await asked(silos, "status", "--json", "--gateway", first.gateway, *options_of(files.admin)))
    assert [row["plain"] for row in state["silos"]] == [0, 0]
    assert [await first.stop(), await second.stop()] == [0, 0]


async def test_commands_name_what_is_missing(silos: Silos, files: Files) -> None:
    silo = await silos.run(**files.environment())
    plain = await silos.command("silos", "--gateway", silo.gateway, "--connect-timeout", "0.5")
    assert await plain.ended() == ExitCode.FAILED, plain.errors
    assert "the port uses TLS, and this side has no certificate" in plain.errors
    with_that_of_a_silo = await silos.command("silos", "--gateway", silo.gateway, **files.environment())
    assert await with_that_of_a_silo.ended() == 2
    assert "is used as admin or client" in with_that_of_a_silo.errors
    half = await silos.command("silos", "--gateway", silo.gateway, "--tls-certificate", files.admin.certificate)
    assert await half.ended() == 2
    assert "--tls-certificate and --tls-key belong together" in half.errors
    assert await silo.stop() == 0


async def test_commands_find_the_ports_with_tls_beside_the_plain_ones(silos: Silos, files: Files) -> None:
    silo = await silos.run(**files.environment(mode="both"))
    shown = await asked(silos, "silos", "--json", *options_of(files.admin))
    assert [row["tls"] for row in json.loads(shown)] == ["both"]
    plain = await asked(silos, "silos", "--json", "--gateway", silo.gateway)
    assert [row["gateway"] for row in json.loads(plain)] == [silo.gateway]
    assert await silo.stop() == 0


async def asked(silos: Silos, *arguments: str) -> str:
    command = await silos.command(*arguments)
    assert await command.ended() == 0, command.errors
    return "".join(command.printed)


async def probe_on(client: Client, silo: SiloProcess) -> str:
    """The key of a probe that runs in this process."""
    for attempt in range(1000):
        key = f"probe-{attempt}"
        if await client.get_grain(Probe, key).pid() == silo.pid:
            return key
    raise AssertionError(f"of 1000 probes none runs on {silo.pid}")
