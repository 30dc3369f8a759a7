"""Silos of this process with real ports and TLS, for tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from grange import Grain, SiloAddress
from grange.client import Client, ClientOptions
from grange.security.authority import IssuedPair
from grange.security.options import TlsOptions
from grange.silo.silo import Silo
from grange.testing.certificates import CertificateAuthority
from grange.testing.cluster import KeywordConfig

CLUSTER = "shop"


class Counter(Grain, key=str):
    """Counts, and tells its silo."""

    def __init__(self) -> None:
        self.value = 0

    async def add(self) -> int:
        self.value += 1
        return self.value

    async def add_to(self, key: str) -> int:
        """Through another activation, perhaps on another silo."""
        return await self.get_grain(Counter, key).add()


class Secured:
    """One cluster of this process. Its silos share the databases in one folder."""

    def __init__(self, folder: Path, *grains: type[Grain[Any]]) -> None:
        self.folder = folder
        self.grains = grains or (Counter,)
        self.authority = CertificateAuthority(CLUSTER)
        self._written = 0
        self._parts = AsyncExitStack()

    def options(self, pair: IssuedPair, ca: bytes | None = None) -> TlsOptions:
        """The options of TLS with these files."""
        self._written += 1
        return CertificateAuthority.write(self.folder / f"pair-{self._written}", pair, ca)

    def table(self, pair: IssuedPair | None = None, **options: Any) -> dict[str, Any]:
        """The table `tls` of a silo."""
        files = self.options(pair or self.authority.silo())
        return {"certificate": files.certificate, "key": files.key, "ca": files.ca, **options}

    async def start(self, tls: dict[str, Any] | None = None, **options: Any) -> Silo:
        """Start a silo; with TLS if a table is given."""
        defaults = {"data": self.folder / "data", "port": 0, "gateway_port": 0, "drain_timeout": 5.0}
        config = KeywordConfig(cluster=CLUSTER, tls=tls or {}, **{**defaults, **options})
        return await self._parts.enter_async_context(Silo(grains=self.grains, config=config))

    def client(self, *gateways: str, tls: TlsOptions | None = None, road: str = "grpc", **options: Any) -> Client:
        """A client, with the certificate of an admin unless it is given another."""
        given = tls or self.options(self.authority.admin("ann"))
        how = ClientOptions(road=road, connect_timeout=2.0)  # type: ignore[arg-type]
        return Client(gateways, cluster=CLUSTER, tls=given, options=how, **options)

    def plain_client(self, *gateways: str, road: str = "grpc", **options: Any) -> Client:
        how = ClientOptions(road=road, connect_timeout=2.0)  # type: ignore[arg-type]
        return Client(gateways, cluster=CLUSTER, options=how, **options)

    async def close(self) -> None:
        await self._parts.aclose()


@asynccontextmanager
async def secured(folder: Path, *grains: type[Grain[Any]]) -> AsyncGenerator[Secured]:
    """`grains`: those of the silos, by default `Counter`."""
    made = Secured(folder, *grains)
    try:
        yield made
    finally:
        await made.close()


async def settled(client: Client, *silos: Silo) -> None:
    """Wait until the client knows exactly these silos as active."""
    await client.wait_for([silo.address for silo in silos])


def address_of(endpoint: str) -> SiloAddress:
    host, _, port = endpoint.rpartition(":")
    return SiloAddress(host, int(port), 0)
