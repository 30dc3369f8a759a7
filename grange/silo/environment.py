"""The inputs of a silo from outside: network, membership table, storages, random numbers, date.

`ConfiguredEnvironment` opens the real ones that the configuration names. A test cluster passes its own.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    nullcontext,
)
from datetime import datetime
from random import Random
from typing import Protocol

from grange import clock
from grange.audit.provider import AuditTable, Origin
from grange.audit.urls import open_audit
from grange.local_records import recorded_gateway
from grange.membership.detection.processes import NoProcesses, Processes, processes_of_this_host
from grange.membership.model.provider import MembershipTable
from grange.membership.urls import open_table
from grange.proto.ids import SiloAddress
from grange.silo.config import SiloConfig
from grange.silo.identities import Tokens, configured_tokens, tokens_of
from grange.silo.store_checks import StoreReport, check_at_start, naming, reports
from grange.silo.tls import SiloTls, open_tls
from grange.storage.provider import GrainStorage
from grange.storage.urls import open_storage
from grange.transport.grpc import GrpcTransport
from grange.transport.provider import Transport
from grange.transport.roads import TwoRoads
from grange.transport.tls import Tls


class SiloEnvironment(Protocol):
    """The inputs of one silo. The silo opens each resource once and closes it."""

    @property
    def random(self) -> Random:
        """The source of every random number of the silo."""
        ...

    @property
    def real_time(self) -> bool:
        """Whether the loop's time passes by itself. In virtual time no thread and no measurement is started."""
        ...

    def utc_now(self) -> datetime:
        """The date and time, for people who read stored records. It may be set; durations use the loop's time."""
        ...

    def uptime(self) -> float:
        """Seconds on a clock that is never set; it counts while the machine sleeps, if the system can tell."""
        ...

    def processes(self) -> Processes:
        """The process of this silo, and those of the other silos on its host."""
        ...

    def generation(self) -> int:
        """The lowest generation for a silo that starts now. The silo takes a higher one if the table requires it."""
        ...

    def writer(self, silo: SiloAddress) -> SiloAddress:
        """The identity of a silo of this cluster in the stores: its stamps and its recorded death carry it.

        Two clusters of one process have equal addresses. If they may share a store, their identities must differ.
        """
        ...

    def first_change(self) -> int:
        """The number of this silo's first change, below 2**62: see `Stamps`."""
        ...

    def tokens(self) -> Tokens:
        """The tokens of clients with a role in management. Raises ConfigurationError."""
        ...

    def recorded(self, gateway: str) -> AbstractContextManager[None]:
        """Lets commands of this user find the tokens of the silo at this gateway (host:port)."""
        ...

    def tls(self) -> AbstractAsyncContextManager[SiloTls | None]:
        """TLS of the network; None without it. Raises ConfigurationError for certificates that cannot be used."""
        ...

    def transport(self, tls: Tls | None, /) -> AbstractAsyncContextManager[Transport]:
        """The network."""
        ...

    def table(self) -> AbstractAsyncContextManager[MembershipTable]:
        """The cluster's membership table."""
        ...

    def storages(self) -> AbstractAsyncContextManager[Mapping[str, GrainStorage]]:
        """All storages by name; one of them is named "default"."""
        ...

    def audit_table(self, origin: Origin, /) -> AbstractAsyncContextManager[AuditTable | None]:
        """The table of the audit, for the rows of this silo; None: there is none."""
        ...

    async def check_stores(self) -> list[StoreReport]:
        """The findings about the stores while the silo runs; none about those that cannot be checked then."""
        ...


class InMemoryEnvironment:
    """What all environments have in common whose network and stores are in memory."""

    async def check_stores(self) -> list[StoreReport]:
        """SiloEnvironment: there is nothing to check."""
        return []

    def processes(self) -> Processes:
        """SiloEnvironment: the silos share one process."""
        return NoProcesses()

    def recorded(self, gateway: str) -> AbstractContextManager[None]:
        """SiloEnvironment: no record, because the tokens are those of a test."""
        return nullcontext()

    def audit_table(self, origin: Origin, /) -> AbstractAsyncContextManager[AuditTable | None]:
        """SiloEnvironment: the rows are in the log and in the memory of the silo."""
        return nullcontext()

    def tls(self) -> AbstractAsyncContextManager[None]:
        """SiloEnvironment: there is no wire to protect."""
        return nullcontext()


class ConfiguredEnvironment:
    """The real network and databases that the configuration names."""

    def __init__(self, config: SiloConfig) -> None:
        self._config = config
        self._checked: set[str] = set()
        self.random = Random()  # noqa: S311 no secret
        self.real_time = True

    def utc_now(self) -> datetime:
        """The machine's clock."""
        return clock.utc_now()

    def uptime(self) -> float:
        """The machine's clock since its start."""
        return clock.uptime()

    def processes(self) -> Processes:
        """Those of the host, if it can tell."""
        return processes_of_this_host()

    def generation(self) -> int:
        """Milliseconds since 1970."""
        return clock.start_generation()

    def writer(self, silo: SiloAddress) -> SiloAddress:
        """The address: real silos with one endpoint follow each other in time."""
        return silo

    def first_change(self) -> int:
        """At random."""
        return self.random.getrandbits(62)

    def tokens(self) -> Tokens:
        """Those of the options, or of the data folder."""
        return tokens_of(self._config)

    def recorded(self, gateway: str) -> AbstractContextManager[None]:
        """A record for a silo with the token of its data folder; configured tokens are known to those who may know."""
        return nullcontext() if configured_tokens(self._config) else recorded_gateway(gateway, self._config.data)

    def tls(self) -> AbstractAsyncContextManager[SiloTls | None]:
        """That of the options."""
        return open_tls(self._config)

    @asynccontextmanager
    async def transport(self, tls: Tls | None, /) -> AsyncGenerator[Transport]:
        """gRPC, with plain sockets beside it if the option `road` says so."""
        kind = TwoRoads if self._config.road == "tcp" else GrpcTransport
        transport = kind(self._config.transport_options(), tls)
        try:
            yield transport
        finally:
            await transport.close()

    @asynccontextmanager
    async def table(self) -> AsyncGenerator[MembershipTable]:
        """The table at `membership_url`, checked first."""
        url = self._config.membership_url
        async with AsyncExitStack() as stack:
            with naming(self._config, url), self._config.naming(self._config.membership_option):
                await self._check(url)
                table = await stack.enter_async_context(open_table(url, self._config.cluster))
            yield table

    @asynccontextmanager
    async def storages(self) -> AsyncGenerator[Mapping[str, GrainStorage]]:
        """The storages at `storage_urls`, each checked first. Two names with one URL share one storage."""
        opened: dict[str, GrainStorage] = {}
        async with AsyncExitStack() as stack:
            for name, url in self._config.storage_urls.items():
                if url in opened:
                    continue
                with naming(self._config, url), self._config.naming(*self._config.storage_option(name)):
                    await self._check(url)
                    storage = open_storage(url, self._config.service, self._config.storage_settings())
                    opened[url] = await stack.enter_async_context(storage)
            yield {name: opened[url] for name, url in self._config.storage_urls.items()}

    @asynccontextmanager
    async def audit_table(self, origin: Origin, /) -> AsyncGenerator[AuditTable | None]:
        """The table at the option `audit`, checked first."""
        url = self._config.audit_url
        if not url:
            yield None
            return
        async with AsyncExitStack() as stack:
            with naming(self._config, url), self._config.naming("audit"):
                await self._check(url)
                table = await stack.enter_async_context(open_audit(url, origin))
            yield table

    async def check_stores(self) -> list[StoreReport]:
        """Read the settings of each store anew; nothing is written."""
        return await reports(self._config, while_it_runs=True)

    async def _check(self, url: str) -> None:
        """Check each URL once. SQLite files are left to `grange doctor`, because that check reads the whole file."""
        if url not in self._checked and not url.startswith("sqlite:"):
            self._checked.add(url)
            await check_at_start(self._config, url)
