"""The system targets that inspect and steer one silo, for clients, the command line and later the dashboard.

`proto/management.py` has the questions and answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from grange.directory.cluster import ClusterDirectory
from grange.errors import NoSuchGrain
from grange.management import AskMember
from grange.membership.agent import MembershipAgent
from grange.membership.model.member import Member, SiloStatus
from grange.proto.acts import Level
from grange.proto.ids import SiloAddress
from grange.proto.management import (
    METHODS,
    STATUS,
    SiloState,
    encode,
)
from grange.runtime.activations.catalog import Catalog
from grange.runtime.calls.inbound import Inbound
from grange.runtime.system_target import Ask, SystemTargets


class Management:
    """The answers of one silo, on its silo port and on its gateway."""

    def __init__(
        self,
        address: SiloAddress,
        name: str,
        catalog: Catalog,
        agent: MembershipAgent,
        directory: ClusterDirectory,
        inbound: Sequence[Inbound],
    ) -> None:
        self._address = address
        self._name = name
        self._catalog = catalog
        self._agent = agent
        self._directory = directory
        self._inbound = inbound
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system targets."""
        targets.serve(STATUS, self._answer_status, Level.VIEWER)
        targets.serve(METHODS, self._answer_methods, Level.VIEWER)

    def state(self) -> SiloState:
        """The state of this silo now."""
        agent, repairs = self._agent, self._directory.repairs
        own = agent.view.get(self._address)

        return SiloState(
            address=self._address,
            name=self._name,
            version=agent.view.version,
            uptime=self._loop.time() - self._started,
            activations=self._catalog.counts(),
            requests=sum(side.in_progress for side in self._inbound),
            ready=own is not None and own.status is SiloStatus.ACTIVE,
            duplicates=repairs.duplicates,
            repaired=repairs.repaired,
            stale=repairs.stale,
            table=agent.table,
            fenced=agent.fenced,
            score=agent.score,
            withheld=agent.withheld,
            plain=sum(side.plain for side in self._inbound),
        )

    async def _answer_status(self, _: bytes) -> bytes:
        return encode(self.state())

    async def _answer_methods(self, question: bytes) -> bytes:
        """The names of the methods of the grain type in the question; none if this silo does not host it."""
        hosted = self._catalog.hosted.get(question.decode())
        return msgspec.msgpack.encode([] if hosted is None else list(hosted.methods))


def asking_from(me: SiloAddress, targets: SystemTargets, ask: Ask) -> AskMember:
    """Asks a silo of the cluster from this one; the targets of this silo itself without a connection."""

    async def ask_member(member: Member, service: str, question: bytes, seconds: float) -> bytes:
        if member.address != me:
            return await ask(member.address, service, question, seconds)
        answer = targets.find(service)
        if answer is None:
            raise NoSuchGrain(f"there is no system target {service!r} here")
        return await answer(question)

    return ask_member
