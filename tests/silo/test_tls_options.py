"""The table `tls`: which options fit together, and what a public address needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from grange.client import Client
from grange.errors import ConfigurationError, OptionError
from grange.security.options import TlsOptions
from grange.servers.process import free_port
from grange.silo.silo import Silo
from grange.testing.certificates import CertificateAuthority
from grange.testing.cluster import KeywordConfig, TestCluster
from tests.silo.secured import Counter, Secured, secured

FILES = {"certificate": "tls.crt", "key": "tls.key", "ca": "ca.crt"}
PUBLIC = {"host": "10.0.0.5"}


def test_a_public_address_needs_tls_alone_or_insecure() -> None:
    """S2: with plain ports beside it TLS is not enough."""
    assert KeywordConfig(**PUBLIC, tls=FILES).public_host == "10.0.0.5"
    with pytest.raises(
        OptionError, match=r"'host': '10\.0\.0\.5' is not loopback, and traffic is neither.*certificates"
    ):
        KeywordConfig(**PUBLIC)
    with pytest.raises(OptionError, match="in mode 'both' connections without TLS go on"):
        KeywordConfig(**PUBLIC, tls={**FILES, "mode": "both"})
    assert KeywordConfig(**PUBLIC, tls={**FILES, "mode": "both"}, insecure=True).insecure


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tls": {"certificate": "a"}}, "tls': tls option key is missing"),
        ({"tls": {"mode": "both"}}, "tls': tls option certificate is missing"),
        ({"tls": {**FILES, "mode": "some"}}, "mode must be required or both"),
        ({"tls": {**FILES, "mode": "both", "http_port": 8443}}, r"tls\.http_port': the option http opens no port"),
        ({"tls": {**FILES, "port": 11112}}, r"tls\.port': in mode 'required' the option port itself has TLS"),
        ({"tls": {**FILES, "probe_port": 11112}}, r"tls\.probe_port': in mode 'required'"),
        ({"tls": {**FILES, "certficate": "a"}}, r"tls\.certficate'.*certificate"),
    ],
)
def test_options_that_do_not_fit_are_errors(options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        KeywordConfig(**options)


async def test_insecure_has_no_effect_where_tls_is_required(tmp_path: Path) -> None:
    async with secured(tmp_path) as shop:
        with pytest.raises(OptionError, match="'insecure': every port uses TLS"):
            await shop.start(shop.table(), insecure=True)


async def test_a_certificate_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    async with secured(tmp_path) as shop:
        with pytest.raises(OptionError, match=r"'tls': .*tls\.crt is not there"):
            await shop.start({**shop.table(), "certificate": str(tmp_path / "tls.crt")})
        with pytest.raises(OptionError, match=r"'tls': .*names a client.*is used as silo"):
            await shop.start(shop.table(shop.authority.client("web")))
        with pytest.raises(OptionError, match="belongs to the cluster 'depot'"):
            await shop.start(shop.table(CertificateAuthority("depot").silo()))


async def test_speakers_without_certificates_stop_the_start() -> None:
    """Only a network in memory shows certificates without files."""
    config = KeywordConfig(tls={"speaks_for": ["spiffe://shop/client/web"]}, port=0, gateway_port=0)
    with pytest.raises(OptionError, match=r"'tls.speaks_for': .* needs certificate, key, ca"):
        await Silo([Counter], config=config).start()


async def test_a_network_in_memory_has_no_tls(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="'tls': this silo is on a network in memory"):
        async with TestCluster(grains=[Counter], silos=1, tls=FILES):
            pass


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        ({}, "tls option certificate is missing"),
        ({"certificate": "a", "key": "b"}, "tls option ca is missing"),
        ({**FILES, "mode": "both"}, "mode is an option of silos"),
        ({**FILES, "speaks_for": ["spiffe://shop/client/web"]}, "speaks_for is an option of silos"),
        ({**FILES, "cert": "a"}, "no option 'cert'"),
        ({**FILES, "check_every": "often"}, "tls= of a client"),
        ("tls.crt", "is a TlsOptions, or a table"),
        (TlsOptions(), "tls option certificate is missing"),
    ],
)
def test_options_of_a_client_are_checked_when_it_is_made(tls: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Client(["127.0.0.1:30000"], tls=tls)


async def test_a_client_with_a_network_of_its_own_takes_no_tls() -> None:
    async with TestCluster(grains=[Counter], silos=1) as cluster:
        with pytest.raises(ConfigurationError, match="has no effect with transport="):
            Client(["127.0.0.1:1"], tls=FILES, transport=cluster.new_transport("other"))


async def test_a_client_whose_certificate_cannot_be_used_does_not_connect(tmp_path: Path) -> None:
    shop = Secured(tmp_path)
    with pytest.raises(ConfigurationError, match=r"names a silo .*is used as admin or client"):
        await shop.client("127.0.0.1:1", tls=shop.options(shop.authority.silo())).__aenter__()


async def test_a_further_port_is_open_where_it_is_given(tmp_path: Path) -> None:
    """In mode `required`, for clients that were moved to it before; the row names the main one."""
    async with secured(tmp_path) as shop:
        silo: Silo = await shop.start(shop.table(gateway_port=0))
        assert len(silo._running.ports.client_listener._listeners) == 1
        port = free_port()
        other = await shop.start(shop.table(gateway_port=port))
        async with shop.client(f"127.0.0.1:{port}") as client:
            assert await client.get_grain(Counter, "a").add() == 1
            member = client.view.get(other.address)
            assert member is not None
            assert (member.gateway_tls, member.tls) == (member.gateway, other.address.port)
