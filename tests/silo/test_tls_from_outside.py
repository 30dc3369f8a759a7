"""S1: `openssl s_client` at the ports of a silo: the network's own view of what is accepted, without code of ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from grange.security.authority import IssuedPair
from grange.testing.certificates import CertificateAuthority
from tests.silo.secured import CLUSTER, Secured, secured
from tests.tools import tool

pytestmark = pytest.mark.tools

PORTS = ("silo", "gateway", "probe", "road", "http")


class Said(NamedTuple):
    """What `openssl s_client` printed."""

    text: str

    @property
    def is_open(self) -> bool:
        """Whether the server let the caller in: it waits for more, or a socket of grange misses the Hello.

        With TLS 1.3 the server judges the certificate of the client after the client's side of the handshake.
        """
        return "alert" not in self.text and any(sign in self.text for sign in ("STILL OPEN", "no Hello came in time"))


class Ports:
    def __init__(self, shop: Secured, numbers: dict[str, int]) -> None:
        self.shop = shop
        self.numbers = numbers

    async def try_each(self, *options: str, pair: IssuedPair | None = None) -> dict[str, Said]:
        """`try_port` on all ports at once."""
        found = await asyncio.gather(*(self.try_port(port, *options, pair=pair) for port in PORTS))
        return dict(zip(PORTS, found, strict=True))

    async def try_port(self, port: str, *options: str, pair: IssuedPair | None = None) -> Said:
        """Connect, and stay until the server ends the connection or a second passes without it."""
        files: list[str] = []
        if pair is not None:
            written = self.shop.options(pair)
            files = ["-cert", written.certificate, "-key", written.key]
        alpn = [] if port in ("road", "http") else ["-alpn", "h2"]
        command = [
            tool("openssl"), "s_client", "-connect", f"127.0.0.1:{self.numbers[port]}", "-CAfile",
            self.shop.options(self.shop.authority.silo()).ca, *alpn, *files, *options,
        ]  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        assert process.stdout is not None
        text = b""
        try:
            async with asyncio.timeout(1.5):
                while data := await process.stdout.read(65536):
                    text += data
        except TimeoutError:
            text += b"STILL OPEN"
        if process.returncode is None:
            process.kill()
        await process.wait()
        return Said(text.decode("latin-1"))

    async def wrong_pair(self, kind: str) -> IssuedPair:
        """The pair of a caller that says it is a silo of this cluster."""
        uri, name = f"spiffe://{CLUSTER}/silo", f"silo.{CLUSTER}.grange"
        if kind == "another authority":
            return CertificateAuthority(CLUSTER).silo()
        if kind == "expired":
            long_ago = datetime(2020, 1, 1, tzinfo=UTC)
            return self.shop.authority.issue([uri], [name], not_before=long_ago, valid=timedelta(days=1))
        folder = self.shop.folder
        made = await asyncio.create_subprocess_exec(
            *(tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", "self.key", "-out", "self.crt", "-days", "1", "-subj", "/CN=silo"),
            *("-addext", f"subjectAltName=URI:{uri},DNS:{name}"),
            cwd=folder,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert await made.wait() == 0
        certificate = (folder / "self.crt").read_bytes()
        return IssuedPair(certificate, (folder / "self.key").read_bytes(), certificate)


@pytest.fixture
async def ports(tmp_path: Path) -> AsyncIterator[Ports]:
    async with secured(tmp_path) as shop:
        silo = await shop.start(shop.table(), road="tcp", http=0)
        async with shop.client(silo.gateway) as client:
            (member,) = client.view.active
        http = int(silo.http.rpartition(":")[2])
        numbers = {
            "silo": member.address.port, "gateway": member.gateway, "probe": member.probe, "road": member.road,
            "http": http,
        }  # fmt: skip
        yield Ports(shop, numbers)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_a_certificate_of_the_cluster_is_let_in_by_tls_1_2_and_1_3(ports: Ports, version: str) -> None:
    said = await ports.try_each(version, "-verify_return_error", pair=ports.shop.authority.silo())
    assert {port: each.is_open for port, each in said.items()} == dict.fromkeys(PORTS, True)
    assert all("Verify return code: 0 (ok)" in each.text for each in said.values())


async def test_older_versions_are_refused(ports: Ports) -> None:
    """Also where the caller allows the weak algorithms that those need."""
    said = await ports.try_each("-tls1_1", "-cipher", "ALL:@SECLEVEL=0", pair=ports.shop.authority.silo())
    assert {port: each.is_open for port, each in said.items()} == dict.fromkeys(PORTS, False)
    assert all("Cipher is (NONE)" in each.text for each in said.values())


async def test_callers_without_a_certificate_are_refused(ports: Ports) -> None:
    """F37. HTTP lets them in: there a certificate is optional."""
    said = await ports.try_each()
    assert {port: each.is_open for port, each in said.items()} == {**dict.fromkeys(PORTS, False), "http": True}


@pytest.mark.parametrize("caller", ["another authority", "expired", "signed by itself"])
async def test_callers_with_a_wrong_certificate_are_refused(ports: Ports, caller: str) -> None:
    """F37, S1: on each port, before any byte of a call."""
    said = await ports.try_each(pair=await ports.wrong_pair(caller))
    assert {port: each.is_open for port, each in said.items()} == dict.fromkeys(PORTS, False)


async def test_the_name_in_the_certificate_of_the_silo_is_that_of_the_cluster(ports: Ports) -> None:
    pair = ports.shop.authority.silo()
    for name, is_right in ((f"silo.{CLUSTER}.grange", True), ("silo.depot.grange", False)):
        said = await ports.try_each("-verify_hostname", name, "-verify_return_error", pair=pair)
        assert {port: each.is_open for port, each in said.items()} == dict.fromkeys(PORTS, is_right)
        assert all(("ostname mismatch" in each.text) is not is_right for each in said.values())
