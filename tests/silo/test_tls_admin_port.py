"""The admin port over TLS: a certificate of the client is optional, and new certificates of the silo are taken."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from grange.security.authority import IssuedPair, write_pair
from grange.security.pair import describe_pem
from grange.silo.silo import Silo
from grange.testing.certificates import CertificateAuthority
from tests.silo.secured import CLUSTER, Secured, secured

NAME = f"silo.{CLUSTER}.grange"
PASSED_ON: Mapping[str, str] = MappingProxyType({"via": "1.1 proxy"})
"""A header of a proxy: so this program does not count as one of this machine that asks for itself."""


class Browser:
    """Asks by HTTPS with the authority of the cluster, and perhaps with a certificate."""

    def __init__(self, folder: Path, ca: bytes, pair: IssuedPair | None = None) -> None:
        self.context = ssl.create_default_context(cadata=ca.decode())
        if pair is not None:
            write_pair(folder, pair)
            self.context.load_cert_chain(folder / "tls.crt", folder / "tls.key")

    async def get(self, place: str, path: str, headers: Mapping[str, str] = PASSED_ON) -> int:
        """The status of the answer. The name of the silos is checked."""
        return await asyncio.to_thread(self._get, place, path, headers)

    def _get(self, place: str, path: str, headers: Mapping[str, str]) -> int:
        host, _, port = place.rpartition(":")
        lines = [
            f"GET {path} HTTP/1.1",
            f"host: {NAME}",
            "connection: close",
            *(f"{k}: {v}" for k, v in headers.items()),
        ]
        with (
            socket.create_connection((host, int(port)), timeout=20) as plain,
            self.context.wrap_socket(plain, server_hostname=NAME) as wrapped,
        ):
            wrapped.sendall("\r\n".join([*lines, "", ""]).encode())
            if not (answer := wrapped.recv(64)):
                raise ConnectionResetError("closed without an answer")
            return int(answer.split()[1])


REFUSED = (ssl.SSLError, ConnectionError)
"""With TLS 1.3 the server may close the connection before its alert is read."""


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Secured]:
    async with secured(tmp_path) as made:
        yield made


async def plain_status(place: str, path: str) -> int | str:
    """The status by HTTP without TLS, or the error."""

    def get() -> int | str:
        connection = http.client.HTTPConnection(place, timeout=20)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
        finally:
            connection.close()

    return await asyncio.to_thread(get)


async def test_probes_need_no_certificate_and_metrics_that_of_an_admin(shop: Secured, tmp_path: Path) -> None:
    """S10: a client's certificate is a name, not a role of management."""
    silo = await shop.start(shop.table(), http=0)
    ca, authority = shop.authority.ca, shop.authority
    statuses = {}
    for name, pair in (
        ("none", None), ("client", authority.client("web")), ("admin", authority.admin("ann")),
        ("silo", authority.silo()), ("foreign admin", authority.issue(["spiffe://depot/admin/ann"])),
        ("no name", authority.issue([], ["a.example"])),
    ):  # fmt: skip
        browser = Browser(tmp_path / name, ca, pair)
        statuses[name] = (await browser.get(silo.http, "/livez"), await browser.get(silo.http, "/metrics"))
    assert statuses == {
        "none": (200, 401), "client": (200, 401), "admin": (200, 200), "silo": (200, 401),
        "foreign admin": (200, 401), "no name": (200, 401),
    }  # fmt: skip


async def test_a_certificate_of_another_authority_is_refused(shop: Secured, tmp_path: Path) -> None:
    silo = await shop.start(shop.table(), http=0)
    foreign = Browser(tmp_path / "foreign", shop.authority.ca, CertificateAuthority(CLUSTER).admin("ann"))
    with pytest.raises(REFUSED):
        await foreign.get(silo.http, "/livez")
    with pytest.raises(ssl.SSLCertVerificationError):
        await Browser(tmp_path / "other", CertificateAuthority(CLUSTER).ca).get(silo.http, "/livez")


async def test_where_tls_is_required_http_without_it_has_no_answer(shop: Secured) -> None:
    silo = await shop.start(shop.table(), http=0)
    assert isinstance(await plain_status(silo.http, "/livez"), str)


async def test_both_ports_answer_during_a_rollout(shop: Secured, tmp_path: Path) -> None:
    silo = await shop.start(shop.table(mode="both"), http=0)
    with_tls = silo._running.ports.admin.tls_place
    assert await plain_status(silo.http, "/livez") == 200
    assert await Browser(tmp_path / "none", shop.authority.ca).get(with_tls, "/livez") == 200


async def test_new_certificates_are_taken_at_the_next_handshake(shop: Secured, tmp_path: Path) -> None:
    """A change of the authority too: a browser that trusts the new one alone, and an admin with a certificate of it."""
    table = shop.table(check_every=0.05)
    silo = await shop.start(table, http=0)
    new = CertificateAuthority(CLUSTER)
    before = Browser(tmp_path / "before", shop.authority.ca, shop.authority.admin("ann"))
    after = Browser(tmp_path / "after", new.ca, new.admin("ann"))
    assert await before.get(silo.http, "/metrics") == 200
    with pytest.raises(REFUSED):
        await after.get(silo.http, "/metrics")
    write_pair(Path(table["certificate"]).parent, new.silo())
    await renewed(silo)
    assert await after.get(silo.http, "/metrics") == 200
    with pytest.raises(REFUSED):
        await before.get(silo.http, "/metrics")


async def test_a_certificate_that_is_revoked_counts_no_more_on_an_open_connection(
    shop: Secured, tmp_path: Path
) -> None:
    """S8: the requests that follow have the level of a client without a certificate."""
    revoked, admin = tmp_path / "revoked.txt", shop.authority.admin("ann")
    revoked.write_text("")
    silo = await shop.start(shop.table(check_every=0.05, revoked=str(revoked)), http=0)
    browser = Browser(tmp_path / "ann", shop.authority.ca, admin)
    host, _, port = silo.http.rpartition(":")
    connection = http.client.HTTPSConnection(host, int(port), timeout=20, context=browser.context)
    connection.sock = browser.context.wrap_socket(
        socket.create_connection((host, int(port)), timeout=20), server_hostname=NAME
    )

    def status() -> int:
        connection.request("GET", "/metrics", headers={"host": NAME, **PASSED_ON})
        answer = connection.getresponse()
        answer.read()
        return answer.status

    assert await asyncio.to_thread(status) == 200
    opened = connection.sock
    tls = silo._running.ports.tls
    assert tls is not None
    changed = asyncio.Event()
    end = tls.material.on_revoked(changed.set)
    revoked.write_text(describe_pem(admin.certificate, "ann")[0].fingerprint)
    async with asyncio.timeout(20):
        await changed.wait()
    end()
    assert await asyncio.to_thread(status) == 401
    assert connection.sock is opened
    connection.close()


async def renewed(silo: Silo) -> None:
    """Wait until the silo uses another pair."""
    tls = silo._running.ports.tls
    assert tls is not None
    changed = asyncio.Event()
    end = tls.material.on_change(lambda _: changed.set())
    async with asyncio.timeout(20):
        while tls.material.current.number == 1:
            await changed.wait()
    end()
