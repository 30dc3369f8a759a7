"""The environment of each silo in a test cluster: a network and stores in memory that all of them share."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from grange.audit.provider import AuditTable, Origin
from grange.membership.detection.processes import NoProcesses, Processes
from grange.membership.model.provider import MembershipTable
from grange.proto.ids import SiloAddress
from grange.silo.environment import InMemoryEnvironment
from grange.silo.identities import Tokens
from grange.storage.provider import GrainStorage
from grange.transport.memory import MemoryTransport
from grange.transport.memory_network import MemoryNetwork
from grange.transport.provider import Transport


@dataclass(frozen=True)
class ClusterEnvironment(InMemoryEnvironment):
    """The environment of one silo of a test cluster (`SiloEnvironment`). `one_host`: silos see which are gone."""

    name: str
    number: int
    network: MemoryNetwork
    membership: MembershipTable
    databases: Mapping[str, GrainStorage]
    random: random.Random
    now: Callable[[], datetime]
    identity: Callable[[SiloAddress], SiloAddress]
    secrets: Tokens
    real_time: bool
    one_host: bool
    open_audit: Callable[[Origin], AbstractAsyncContextManager[AuditTable | None]]

    def utc_now(self) -> datetime:
        return self.now()

    def uptime(self) -> float:
        return asyncio.get_running_loop().time()

    def processes(self) -> Processes:
        return _OneHost(self.network, self.name) if self.one_host else NoProcesses()

    def generation(self) -> int:
        return self.number

    def writer(self, silo: SiloAddress) -> SiloAddress:
        return self.identity(silo)

    def audit_table(self, origin: Origin, /) -> AbstractAsyncContextManager[AuditTable | None]:
        return self.open_audit(origin)

    def first_change(self) -> int:
        return 1

    def tokens(self) -> Tokens:
        return self.secrets

    @asynccontextmanager
    async def transport(self, _tls: object) -> AsyncGenerator[Transport]:
        transport = MemoryTransport(self.network, self.name)
        try:
            yield transport
        finally:
            await transport.close()

    @asynccontextmanager
    async def table(self) -> AsyncGenerator[MembershipTable]:
        yield self.membership

    @asynccontextmanager
    async def storages(self) -> AsyncGenerator[Mapping[str, GrainStorage]]:
        yield self.databases


class _OneHost:
    """The processes of silos on one host (`Processes`). A silo that is killed is gone."""

    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self._network = network
        self.own = f"memory {network.number_of(name)} 0"

    def is_gone(self, process: str) -> bool:
        return not self._network.has_process(int(process.split(" ")[1]))
