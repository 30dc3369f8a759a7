"""Silos and clients over TLS with real ports."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.silo.secured import Counter, Secured, secured, settled


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Secured]:
    async with secured(tmp_path) as made:
        yield made


@pytest.mark.parametrize("road", ["grpc", "tcp"])
async def test_two_silos_and_a_client_speak_tls_only(shop: Secured, road: str) -> None:
    first, second = await shop.start(shop.table(), road=road), await shop.start(shop.table(), road=road)
    async with shop.client(first.gateway, road=road) as client:
        await settled(client, first, second)
        for member in client.view.active:
            assert (member.tls, member.gateway_tls, member.probe_tls) == (
                member.address.port,
                member.gateway,
                member.probe,
            )
        for number in range(20):
            assert await client.get_grain(Counter, f"a-{number}").add_to(f"b-{number}") == 1
    certificates = [
        each.connection.certificate
        for silo in (first, second)
        for inbound in (silo._running.hosting.silo_inbound, silo._running.hosting.client_inbound)
        for each in inbound.connected
    ]
    assert certificates
    assert all(each is not None for each in certificates)
