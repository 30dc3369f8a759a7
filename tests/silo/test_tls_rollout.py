"""The rollout of TLS: silos without it, then with both kinds of ports, then with TLS alone; no call fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from grange.client import Client
from grange.errors import GrangeError, SiloUnavailable
from grange.servers.process import free_port
from grange.silo.silo import Silo
from tests.silo.secured import Counter, Secured, secured, settled

SILOS = 3
CALLERS = 8
KEYS = [f"counter-{number}" for number in range(24)]


class Place:
    """The ports of one silo, which stay through the rollout."""

    def __init__(self, shop: Secured) -> None:
        self.shop = shop
        self.port, self.gateway, self.tls, self.gateway_tls = (free_port() for _ in range(4))
        self.silo: Silo | None = None

    @property
    def plain_gateway(self) -> str:
        return f"127.0.0.1:{self.gateway}"

    @property
    def tls_gateway(self) -> str:
        return f"127.0.0.1:{self.gateway_tls}"

    async def roll(self, mode: str, road: str) -> None:
        """Stop the silo in order and start it anew in this mode; empty: without TLS."""
        if self.silo is not None:
            await self.silo.stop()
        ports: dict[str, Any] = {"gateway_port": self.gateway_tls} | ({"port": self.tls} if mode == "both" else {})
        tls = self.shop.table(mode=mode, **ports) if mode else None
        self.silo = await self.shop.start(tls, port=self.port, gateway_port=self.gateway, road=road)


class Load:
    """Callers of counters through one client: how many calls succeeded, and the errors of the others."""

    def __init__(self) -> None:
        self.done = 0
        self.errors: list[GrangeError] = []

    @asynccontextmanager
    async def running(self, client: Client) -> AsyncGenerator[None]:
        ended = asyncio.Event()
        callers = [asyncio.create_task(self._call(client, number, ended)) for number in range(CALLERS)]
        try:
            yield
        finally:
            ended.set()
            await asyncio.gather(*callers)

    async def _call(self, client: Client, number: int, ended: asyncio.Event) -> None:
        turn = number
        while not ended.is_set():
            turn += CALLERS + 1
            try:
                await client.get_grain(Counter, KEYS[turn % len(KEYS)]).add_to(KEYS[(turn * 7) % len(KEYS)] + "-b")
                self.done += 1
            except GrangeError as error:
                self.errors.append(error)

    async def more(self, calls: int) -> None:
        """Wait until so many more calls have succeeded."""
        goal = self.done + calls
        async with asyncio.timeout(60):
            while self.done < goal and not self.errors:
                await asyncio.sleep(0)


@pytest.mark.parametrize("road", ["grpc", "tcp"])
async def test_no_call_fails_from_plain_to_both_to_required(tmp_path: Path, road: str) -> None:
    async with secured(tmp_path) as shop:
        places = [Place(shop) for _ in range(SILOS)]
        for place in places:
            await place.roll("", road)
        load = Load()
        plain = shop.plain_client(*(each.plain_gateway for each in places), road=road)
        secure = shop.client(*(each.tls_gateway for each in places), road=road)
        async with AsyncExitStack() as clients:
            async with plain, load.running(plain):
                for place in places:
                    await place.roll("both", road)
                    await load.more(100)
                assert plain_connections(places) >= 1
                await clients.enter_async_context(secure)
                await clients.enter_async_context(load.running(secure))
                await load.more(200)
            for place in places:
                await place.roll("required", road)
                await load.more(100)
            await settled(secure, *silos(places))
            await load.more(200)
            assert plain_connections(places) == 0
            assert {member.tls for member in secure.view.active} == {place.port for place in places}
        assert load.errors == []
        with pytest.raises(SiloUnavailable, match="the port uses TLS, and this side has no certificate"):
            await shop.plain_client(places[0].plain_gateway).__aenter__()


def silos(places: list[Place]) -> list[Silo]:
    return [place.silo for place in places if place.silo is not None]


def plain_connections(places: list[Place]) -> int:
    """The open connections without TLS that the silos have accepted, of silos and clients."""
    return sum(
        each.connection.certificate is None
        for silo in silos(places)
        for inbound in (silo._running.hosting.silo_inbound, silo._running.hosting.client_inbound)
        for each in inbound.connected
    )
