"""All figures of one silo: the objects that its parts count in, and the snapshot of them for readers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version

import msgspec

from grange.directory.cluster import ClusterDirectory
from grange.membership.agent import MembershipAgent
from grange.membership.model.member import SiloStatus
from grange.observability.process import process_snapshot
from grange.observability.snapshot import (
    DirectorySnapshot,
    MembershipSnapshot,
    ProcessSnapshot,
    Snapshot,
    TypeSnapshot,
)
from grange.proto.ids import SiloAddress
from grange.runtime.activations.catalog import Catalog
from grange.runtime.calls.inbound import Inbound


class FigureSources(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """The parts of a silo whose figures a snapshot holds, and the silo's names. `now` is the wall clock."""

    address: SiloAddress
    name: str
    cluster: str
    labels: tuple[str, ...]
    catalog: Catalog
    agent: MembershipAgent
    directory: ClusterDirectory
    silo_inbound: Inbound
    client_inbound: Inbound
    now: Callable[[], datetime]
    process: Callable[[], ProcessSnapshot] = process_snapshot


class Figures:
    """The figures of one silo. Make it in the event loop of the silo, and call it there."""

    def __init__(self, sources: FigureSources) -> None:
        self._sources = sources
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._release = version("grange")

    @property
    def uptime(self) -> float:
        """Seconds since the silo started."""
        return self._loop.time() - self._started

    def snapshot(self) -> Snapshot:
        """All figures now. It looks at no activation: its cost grows with types, methods and connections only."""
        sources, agent = self._sources, self._sources.agent
        own = agent.view.get(sources.address)
        return Snapshot(
            address=sources.address,
            name=sources.name,
            cluster=sources.cluster,
            release=self._release,
            time=sources.now().timestamp(),
            uptime=self.uptime,
            span=self.uptime,
            status="" if own is None else own.status.name.lower(),
            ready=own is not None and own.status is SiloStatus.ACTIVE,
            labels=sources.labels,
            types=self._types(),
            in_flight=sources.silo_inbound.in_progress + sources.client_inbound.in_progress,
            clients=len(sources.client_inbound.connected),
            directory=self._directory(),
            membership=self._membership(),
            process=sources.process(),
        )

    def _types(self) -> tuple[TypeSnapshot, ...]:
        hosted = self._sources.catalog.hosted
        return tuple(TypeSnapshot(name, activations=each.live) for name, each in hosted.items())

    def _directory(self) -> DirectorySnapshot:
        directory = self._sources.directory
        repairs = directory.repairs
        return DirectorySnapshot(
            duplicates=repairs.duplicates,
            repaired=repairs.repaired,
            stale=repairs.stale,
            entries=len(directory.partition),
        )

    def _membership(self) -> MembershipSnapshot:
        agent = self._sources.agent
        return MembershipSnapshot(
            version=agent.view.version,
            silos=dict(Counter(member.status.name.lower() for member in agent.view.members)),
            withheld=agent.withheld,
            score=agent.score,
            fenced=agent.fenced,
            table=agent.table,
        )
