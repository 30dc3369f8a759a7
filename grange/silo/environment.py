"""What a silo takes from outside: a network, a membership table, databases, chance and the date.

`ConfiguredEnvironment` opens the real ones that the configuration names; a test cluster hands in its own.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import datetime
from random import Random
from typing import Protocol

from grange import clock
from grange.membership.model.provider import MembershipTable
from grange.membership.providers.urls import open_table
from grange.silo.config import SiloConfig
from grange.silo.store_checks import check_at_start
from grange.storage.provider import GrainStorage
from grange.storage.urls import open_storage
from grange.transport.grpc import GrpcTransport
from grange.transport.provider import Transport


class SiloEnvironment(Protocol):
    """One silo's view of the outside. Each thing is opened once and closed by the silo."""

    @property
    def random(self) -> Random:
        """All chance of the silo comes from here."""
        ...

    def utc_now(self) -> datetime:
        """The date, for what is written down."""
        ...

    def generation(self) -> int:
        """A number that is higher at each start of the same silo."""
        ...

    def transport(self) -> AbstractAsyncContextManager[Transport]:
        """The network."""
        ...

    def table(self) -> AbstractAsyncContextManager[MembershipTable]:
        """The cluster's membership table."""
        ...

    def storages(self) -> AbstractAsyncContextManager[Mapping[str, GrainStorage]]:
        """All storages by name; one is named "default"."""
        ...


class ConfiguredEnvironment:
    """The real ones, as the configuration says."""

    def __init__(self, config: SiloConfig) -> None:
        self._config = config
        self._checked: set[str] = set()
        self.random = Random()

    def utc_now(self) -> datetime:
        """The machine's clock."""
        return clock.utc_now()

    def generation(self) -> int:
        """Milliseconds since 1970."""
        return clock.start_generation()

    @asynccontextmanager
    async def transport(self) -> AsyncGenerator[Transport]:
        """gRPC."""
        transport = GrpcTransport(self._config.transport_options())
        try:
            yield transport
        finally:
            await transport.close()

    @asynccontextmanager
    async def table(self) -> AsyncGenerator[MembershipTable]:
        """By its URL."""
        await self._check(self._config.membership_url)
        async with open_table(self._config.membership_url, self._config.cluster) as table:
            yield table

    @asynccontextmanager
    async def storages(self) -> AsyncGenerator[Mapping[str, GrainStorage]]:
        """By their URLs; two names with one URL share one storage."""
        opened: dict[str, GrainStorage] = {}
        async with AsyncExitStack() as stack:
            for url in dict.fromkeys(self._config.storage_urls.values()):
                await self._check(url)
                storage = open_storage(url, self._config.service, self._config.storage_settings())
                opened[url] = await stack.enter_async_context(storage)
            yield {name: opened[url] for name, url in self._config.storage_urls.items()}

    async def _check(self, url: str) -> None:
        """Each place once; a file of our own is looked at by `grange doctor` only, because that reads all of it."""
        if url not in self._checked and not url.startswith("sqlite:"):
            self._checked.add(url)
            await check_at_start(url)
