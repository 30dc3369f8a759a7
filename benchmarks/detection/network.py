"""The network and the table of a simulated cluster. Both count what they carry."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar

from benchmarks.detection.disturbance import CALM, Disturbance
from grange.errors import CallTimeout, SiloUnavailable
from grange.membership.model.member import Member, SiloStatus
from grange.membership.model.provider import Row, Table, TableVersion
from grange.membership.providers.memory import MemoryMembershipTable
from grange.proto.ids import SiloAddress
from grange.runtime.system_target import SystemTargets
from grange.testing.simulation.loop import Process, SimulatedLoop

PROBE = "probe"
T = TypeVar("T")


class Endpoint:
    """What the network knows of one silo. `answer_probe` is its probe thread, `targets` its ordinary services."""

    def __init__(
        self, silo: SiloAddress, process: Process, targets: SystemTargets, answer_probe: Callable[[bytes], bytes]
    ) -> None:
        self.silo = silo
        self.process = process
        self.targets = targets
        self.answer_probe = answer_probe
        self.heard: dict[SiloAddress, float] = {}


class Network:
    """Carries questions and answers between processes. Both directions of a line keep the order of their messages.

    A message for a process that stands still waits for it. No silo is ever refused: a silo that hangs answers nothing.
    """

    def __init__(self, loop: SimulatedLoop, rng: random.Random) -> None:
        self.disturbance: Disturbance = CALM
        self.messages: Counter[str] = Counter()
        self._loop = loop
        self._rng = rng
        self._endpoints: dict[SiloAddress, Endpoint] = {}
        self._arrivals: dict[tuple[SiloAddress, SiloAddress, bool], float] = {}
        self._answering: set[asyncio.Task[None]] = set()

    def add(self, endpoint: Endpoint) -> None:
        """A silo listens from now on."""
        self._endpoints[endpoint.silo] = endpoint

    async def ask(
        self, source: SiloAddress, target: SiloAddress, service: str, question: bytes, timeout: float
    ) -> bytes:
        """A question and its answer. Raises CallTimeout, SiloUnavailable, or what the answering silo raised."""
        if target not in self._endpoints:
            raise SiloUnavailable(f"silo {target} does not listen")
        answer: asyncio.Future[bytes] = self._loop.create_future()
        self._carry(source, target, service, lambda: self._take(source, target, service, question, answer))
        try:
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            if answer.done() and not answer.cancelled():  # both came while this process stood still
                return answer.result()
            raise CallTimeout(f"silo {target} did not answer within {timeout} s") from None

    async def close(self) -> None:
        """End the answers that are under way."""
        answering = tuple(self._answering)
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)

    def _take(
        self, source: SiloAddress, target: SiloAddress, service: str, question: bytes, answer: asyncio.Future[bytes]
    ) -> None:
        """The question has arrived; runs in the process that it is for."""
        endpoint = self._endpoints[target]
        if service == PROBE:
            reply = endpoint.answer_probe(question)
            self._carry(target, source, "probe answer", lambda: _settle(answer, reply))
            return
        self._endpoints[target].heard[source] = self._loop.time()
        task = self._loop.create_task(self._answer(source, endpoint, service, question, answer))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(
        self, source: SiloAddress, endpoint: Endpoint, service: str, question: bytes, answer: asyncio.Future[bytes]
    ) -> None:
        find = endpoint.targets.find(service)
        if find is None:
            return
        reply = await find(question)

        def arrive() -> None:
            self._endpoints[source].heard[endpoint.silo] = self._loop.time()
            _settle(answer, reply)

        self._carry(endpoint.silo, source, f"{service} answer", arrive)

    def _carry(self, source: SiloAddress, target: SiloAddress, purpose: str, arrive: Callable[[], None]) -> None:
        """Count a message, and have it arrive in the process of `target`, unless it is lost."""
        self.messages[purpose] += 1
        if self.disturbance.is_lost(self._rng):
            return
        line = (source, target, purpose.startswith(PROBE))
        at = max(self._loop.time() + self.disturbance.travel(self._rng), self._arrivals.get(line, -math.inf))
        self._arrivals[line] = at
        with self._loop.within(self._endpoints[target].process):
            self._loop.call_at(at, arrive)


def _settle(answer: asyncio.Future[bytes], reply: bytes) -> None:
    if not answer.done():
        answer.set_result(reply)


class Line:
    """The line of one silo to the shared table. A packet that is lost on it is sent again, so nothing is lost."""

    def __init__(self, table: MemoryMembershipTable, network: Network, rng: random.Random) -> None:
        self._table = table
        self._network = network
        self._rng = rng
        self.on_death: Callable[[Member], None] = _ignore

    async def read(self) -> Table:
        """See MembershipTable."""
        return await self._over("table read", self._table.read)

    async def read_row(self, address: SiloAddress) -> tuple[Row | None, TableVersion]:
        """See MembershipTable."""
        return await self._over("table read", lambda: self._table.read_row(address))

    async def insert(self, member: Member, version: TableVersion) -> bool:
        """See MembershipTable."""
        return await self._over("table write", lambda: self._table.insert(member, version))

    async def update(self, member: Member, row_etag: str, version: TableVersion) -> bool:
        """See MembershipTable."""

        async def change() -> bool:
            done = await self._table.update(member, row_etag, version)
            if done and member.status is SiloStatus.DEAD:
                self.on_death(member)
            return done

        return await self._over("table write", change)

    async def rebuild(self, members: Sequence[Member], seen: TableVersion, number: int) -> bool:
        """See MembershipTable."""
        return await self._over("table write", lambda: self._table.rebuild(members, seen, number))

    async def alive(self, address: SiloAddress, time: datetime) -> bool:
        """See MembershipTable."""
        return await self._over("alive write", lambda: self._table.alive(address, time))

    async def cleanup(self, before: datetime) -> int:
        """See MembershipTable."""
        return await self._over("table write", lambda: self._table.cleanup(before))

    async def delete(self) -> None:
        """See MembershipTable."""
        await self._table.delete()

    async def _over(self, purpose: str, operation: Callable[[], Awaitable[T]]) -> T:
        self._network.messages[purpose] += 1
        await asyncio.sleep(self._network.disturbance.travel(self._rng))
        result = await operation()
        await asyncio.sleep(self._network.disturbance.travel(self._rng))
        return result


def _ignore(_: Member) -> None:
    """Before the cluster has set another."""
