"""A cluster of membership agents in virtual time, each in a process of its own that can be made to stand still."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from benchmarks.detection.disturbance import CALM, Disturbance
from benchmarks.detection.network import PROBE, Endpoint, Line, Network
from grange.membership.agent import MembershipAgent
from grange.membership.detection.deps import MembershipDeps
from grange.membership.detection.liveness import Liveness
from grange.membership.model.member import Member, SiloStatus
from grange.membership.model.options import MembershipOptions
from grange.membership.model.provider import FRESH
from grange.membership.providers.memory import MemoryMembershipTable
from grange.observability.events import Events
from grange.proto.ids import SiloAddress
from grange.runtime.gate import Gate
from grange.runtime.system_target import ITSELF, SystemTargets
from grange.testing.simulation.loop import Process, SimulatedLoop

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
SETTLE = 10.0
"""Seconds after the start until a figure is taken: the time-outs of probes adapt after four answers."""

T = TypeVar("T")


class Silo:
    """One agent and its process. `hung`: it stands still for ever."""

    def __init__(self, cluster: Cluster, member: Member, options: MembershipOptions, rng: random.Random) -> None:
        loop, network = cluster.loop, cluster.network
        self.address = me = member.address
        self.process = Process(str(me))
        self.hung = False
        self.gate = Gate(loop.time)
        self._loop = loop
        self._holds = 0
        liveness = Liveness(loop.time, options.probe_interval)
        self.line = Line(cluster.table, network, rng)
        self.line.on_death = cluster.on_death
        deps = MembershipDeps(
            ask=lambda silo, service, question, timeout: network.ask(me, silo, service, question, timeout),
            probe_line=lambda target, question, timeout: network.ask(me, target.address, PROBE, question, timeout),
            liveness=liveness,
            gate=self.gate,
            rng=rng,
            now=cluster.wall_clock,
            uptime=loop.time,
            heard_from=lambda other: endpoint.heard.get(other, float("-inf")),
            events=Events(str(me), cluster.wall_clock),
        )
        targets = SystemTargets(lambda _: ITSELF)
        self.agent = MembershipAgent(self.line, member, deps, options)
        endpoint = Endpoint(me, self.process, targets, self.agent.answer_probe)
        self.agent.serve(targets)
        network.add(endpoint)

    @property
    def may_start_turns(self) -> bool:
        """Whether its gate is open and its process runs."""
        return not self._holds and not self.gate.closed and self._loop.time() <= self.gate.until

    async def start(self) -> None:
        """Start the agent in its own process."""
        with self._loop.within(self.process):
            started = self._loop.create_task(self._start())
        await started

    def hold(self) -> None:
        """The process stands still until as many calls of `release`."""
        self._holds += 1
        self._loop.pause(self.process)

    def release(self) -> None:
        """The process goes on."""
        self._holds -= 1
        if not self._holds:
            self._loop.resume(self.process)

    def hang(self) -> None:
        """Stand still for ever."""
        self.hung = True
        self.hold()

    async def end(self) -> None:
        """End all tasks, so that the loop can close."""
        self._loop.resume(self.process)
        await self.agent.kill()

    async def _start(self) -> None:
        await self.agent.start()
        await self.agent.join()


class Cluster:
    """`size` silos that are active from the start. `deaths` are the silos declared dead, with the time."""

    def __init__(self, loop: SimulatedLoop, size: int, options: MembershipOptions, seed: str) -> None:
        self.loop = loop
        self.network = Network(loop, random.Random(f"{seed} network"))
        self.table = MemoryMembershipTable()
        self.deaths: dict[SiloAddress, float] = {}
        self.open_at_death: list[SiloAddress] = []
        self._rng = random.Random(f"{seed} cluster")
        self._driving: list[asyncio.Task[None]] = []
        self._members = [
            Member(SiloAddress(f"host-{number}", 11111, 1), SiloStatus.ACTIVE, EPOCH, EPOCH, probe=1)
            for number in range(size)
        ]
        self.silos = {
            member.address: Silo(self, member, options, random.Random(f"{seed} {member.address}"))
            for member in self._members
        }

    def wall_clock(self) -> datetime:
        """The time of day; every silo has the same."""
        return EPOCH + timedelta(seconds=self.loop.time())

    @property
    def messages(self) -> Counter[str]:
        """Messages by purpose, since they were cleared."""
        return self.network.messages

    @property
    def fences(self) -> int:
        """How often silos have fenced themselves."""
        return sum(silo.agent.figures.fences for silo in self.silos.values())

    @property
    def suspicions(self) -> int:
        """Votes that were written."""
        return sum(silo.agent.figures.suspicions for silo in self.silos.values())

    async def start(self) -> None:
        """Start all silos, and wait until their time-outs have adapted."""
        await self.table.rebuild(self._members, FRESH, 1)
        await asyncio.gather(*(silo.start() for silo in self.silos.values()))
        await asyncio.sleep(SETTLE)

    async def end(self) -> None:
        """End all silos."""
        for task in self._driving:
            task.cancel()
        await asyncio.gather(*self._driving, return_exceptions=True)
        await asyncio.gather(*(silo.end() for silo in self.silos.values()))
        await self.network.close()

    def disturb(self, disturbance: Disturbance) -> None:
        """Disturb the network and all processes from now on."""
        self.network.disturbance = disturbance
        for silo in self.silos.values():
            if disturbance.pause:
                self._drive(silo, disturbance.pause_every, (0.0, disturbance.pause))
            if disturbance.stalls[1]:
                self._drive(silo, disturbance.stall_every, disturbance.stalls)

    def on_death(self, member: Member) -> None:
        """A death was written to the table."""
        silo = self.silos[member.address]
        self.deaths[member.address] = self.loop.time()
        if silo.may_start_turns:
            self.open_at_death.append(member.address)

    async def death_of(self, silo: Silo, most: float) -> float | None:
        """Seconds until the death of this silo is written; None if it was not within `most` seconds."""
        began = self.loop.time()
        while silo.address not in self.deaths:
            if self.loop.time() > began + most:
                return None
            await asyncio.sleep(0.01)
        return self.deaths[silo.address] - began

    def _drive(self, silo: Silo, every: float, lengths: tuple[float, float]) -> None:
        self._driving.append(asyncio.ensure_future(self._hold_and_release(silo, every, lengths)))

    async def _hold_and_release(self, silo: Silo, every: float, lengths: tuple[float, float]) -> None:
        while True:
            await asyncio.sleep(self._rng.expovariate(1 / every))
            silo.hold()
            await asyncio.sleep(self._rng.uniform(*lengths))
            silo.release()


def with_cluster(size: int, options: MembershipOptions, seed: str, measure: Callable[[Cluster], Awaitable[T]]) -> T:
    """Start a cluster in a loop of its own, and return what `measure` finds in it."""

    async def run() -> T:
        cluster = Cluster(loop, size, options, seed)
        await cluster.start()
        try:
            return await measure(cluster)
        finally:
            cluster.network.disturbance = CALM
            await cluster.end()

    loop = SimulatedLoop(random.Random(f"{seed} loop"))
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(run())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
