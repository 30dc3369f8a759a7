"""Agents on one memory table and a simulated network, in virtual time; shared by the tests of the agent."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import msgspec

from grange.errors import CallTimeout, MembershipError, MembershipUnavailable, SiloUnavailable
from grange.membership.agent import MembershipAgent
from grange.membership.detection.deps import MembershipDeps
from grange.membership.detection.detector import Silence, Suspicion
from grange.membership.detection.liveness import Liveness
from grange.membership.detection.processes import NoProcesses
from grange.membership.model.member import Member, SiloStatus, View
from grange.membership.model.messages import PROBE_SERVICE
from grange.membership.model.options import MembershipOptions
from grange.membership.model.provider import MembershipTable, Row, Table, TableVersion
from grange.membership.providers.memory import MemoryMembershipTable
from grange.observability.events import Events
from grange.proto.acts import Level
from grange.proto.ids import SiloAddress
from grange.runtime.gate import Gate
from grange.runtime.system_target import SystemTargets
from grange.testing.loop import VirtualTime

START = datetime(2026, 1, 1, tzinfo=UTC)


def address(number: int, generation: int = 1, host: str = "silo") -> SiloAddress:
    return SiloAddress(host, 11000 + number, generation)


def member(silo: SiloAddress, status: SiloStatus = SiloStatus.ACTIVE, alive: datetime = START) -> Member:
    return Member(silo, status, started=START, alive=alive)


BREAK_AFTER = 6.0
"""Seconds for which messages still pass in one direction after a cut in the other; then the connections break."""


PROBE = 10_000
"""The probe port of a silo is so far above its silo port. It only accepts: probes go by the ordinary connection."""


class Network:
    """Delivers questions at once. A silo that is down refuses them, a cut drops questions and answers, a paused silo
    answers after its pause. One that is shut refuses new connections only. An open port accepts in any case.
    """

    def __init__(self) -> None:
        self.silos: dict[SiloAddress, SystemTargets] = {}
        self.cuts: dict[tuple[SiloAddress, SiloAddress], float] = {}
        self.heard: dict[tuple[SiloAddress, SiloAddress], float] = {}
        self.deaf_threads: set[SiloAddress] = set()
        self.blocked: set[SiloAddress] = set()
        self.delay: Callable[[], float] = lambda: 0.0
        self.paused: dict[SiloAddress, asyncio.Event] = {}
        self.refused: set[tuple[SiloAddress, SiloAddress]] = set()
        self.rejected: set[tuple[SiloAddress, SiloAddress]] = set()
        self.shut: set[SiloAddress] = set()
        self.open: set[tuple[str, int]] = set()
        self.asked: list[tuple[SiloAddress, SiloAddress, str]] = []
        self.ended: set[str] = set()

    def ask_from(self, asker: SiloAddress):
        async def ask(silo: SiloAddress, service: str, question: bytes, timeout: float) -> bytes:
            await self._while_paused(asker, math.inf)
            self.asked.append((asker, silo, service))
            await asyncio.sleep(0)
            if (asker, silo) in self.cuts:
                await asyncio.sleep(timeout)
                raise CallTimeout(f"{silo} did not answer")
            if silo not in self.silos or (asker, silo) in self.refused | self.rejected:
                raise SiloUnavailable(f"{silo} is down")
            await self._while_paused(silo, timeout)
            self._arrives(asker, silo)
            if (late := self.delay()) > 0:
                await asyncio.sleep(min(late, timeout))
                if late >= timeout:
                    raise CallTimeout(f"the answer of {silo} is late")
            answer = self.silos[silo].find(service)
            assert answer is not None
            if service == PROBE_SERVICE and silo in self.deaf_threads:
                await asyncio.sleep(timeout)
                raise CallTimeout(f"{silo} does not answer probes")
            reply = await answer(question)
            await self._while_paused(asker, math.inf)
            if (silo, asker) in self.cuts:
                await asyncio.sleep(timeout)
                raise CallTimeout(f"the answer of {silo} was lost")
            if silo not in self.blocked:
                self._arrives(silo, asker)
            return reply

        return ask

    def refuses_for(self, asker: SiloAddress):
        """MembershipDeps.refuses of this silo."""

        async def refuses(host: str, port: int, timeout: float) -> bool:
            await self._while_paused(asker, math.inf)
            if (host, port) in self.open:
                return False
            silo = next(
                (each for each in self.silos if each.host == host and port in (each.port, each.port + PROBE)), None
            )
            if silo is None or silo in self.shut or (asker, silo) in self.rejected:
                return True
            if (asker, silo) in self.cuts or (silo, asker) in self.cuts:
                await asyncio.sleep(timeout)
            return False

        return refuses

    def reject(self, one: SiloAddress, other: SiloAddress, one_way: bool = False) -> None:
        """Have a firewall refuse what one silo sends to another; what that sends back is lost."""
        self.rejected.add((one, other))
        self.cut(other, one, one_way=True)
        if not one_way:
            self.rejected.add((other, one))

    def probed_by(self, asker: SiloAddress) -> set[SiloAddress]:
        return {to for who, to, service in self.asked if who == asker and service == PROBE_SERVICE}

    def heard_by(self, silo: SiloAddress):
        """MembershipDeps.heard_from of this silo."""
        return lambda other: self.heard.get((other, silo), -math.inf)

    def cut(self, one: SiloAddress, other: SiloAddress, one_way: bool = False) -> None:
        now = asyncio.get_running_loop().time()
        self.cuts[one, other] = now
        if not one_way:
            self.cuts[other, one] = now

    async def block(self, silo: Silo) -> None:
        """Block the event loop of a silo from now on; its probe thread still answers."""
        self.blocked.add(silo.address)
        silo.liveness.tick()
        ticked = silo.liveness._ticked
        await silo.agent.kill()
        silo.liveness._ticked = ticked  # the loop is blocked; its measurement was not stopped

    def pause(self, silo: SiloAddress) -> None:
        self.paused[silo] = asyncio.Event()

    def go_on(self, silo: SiloAddress) -> None:
        self.paused.pop(silo).set()

    async def _while_paused(self, silo: SiloAddress, timeout: float) -> None:
        if silo not in self.paused:
            return
        try:
            async with asyncio.timeout(None if timeout == math.inf else timeout):
                await self.paused[silo].wait()
        except TimeoutError:
            raise CallTimeout(f"{silo} did not answer") from None

    def _arrives(self, source: SiloAddress, target: SiloAddress) -> None:
        """Note that bytes arrive, for a while also on a connection whose acknowledgements are lost."""
        now = asyncio.get_running_loop().time()
        if now - self.cuts.get((target, source), math.inf) < BREAK_AFTER or (target, source) not in self.cuts:
            self.heard[source, target] = now


class FaultyTable:
    """One silo's connection to the shared table: it can be down, and it can lose the answer to a change."""

    def __init__(self, table: MembershipTable) -> None:
        self._table = table
        self.down = False
        self.damaged = False
        self.lose_answers = 0
        self.reads = 0
        self.failed = asyncio.Event()

    def _check(self) -> None:
        if self.down:
            self.failed.set()
            raise MembershipUnavailable("the table is down")
        if self.damaged:
            self.failed.set()
            raise MembershipError("a row of the membership table cannot be read: row: 'rubbish'")

    async def read(self) -> Table:
        self._check()
        self.reads += 1
        return await self._table.read()

    async def read_row(self, silo: SiloAddress) -> tuple[Row | None, TableVersion]:
        self._check()
        return await self._table.read_row(silo)

    async def insert(self, row: Member, version: TableVersion) -> bool:
        return await self._change(self._table.insert(row, version))

    async def update(self, row: Member, row_etag: str, version: TableVersion) -> bool:
        return await self._change(self._table.update(row, row_etag, version))

    async def _change(self, change) -> bool:
        try:
            self._check()
        except MembershipError:
            change.close()
            raise
        done = await change
        if self.lose_answers:
            self.lose_answers -= 1
            raise MembershipUnavailable("the answer was lost")
        return done

    async def rebuild(self, members: Sequence[Member], seen: TableVersion, number: int) -> bool:
        return await self._change(self._table.rebuild(members, seen, number))

    async def alive(self, silo: SiloAddress, time: datetime) -> bool:
        self._check()
        return await self._table.alive(silo, time)

    async def cleanup(self, before: datetime) -> int:
        return await self._table.cleanup(before)

    async def delete(self) -> None:
        await self._table.delete()


class OneHost:
    """The processes of silos that share a host."""

    def __init__(self, network: Network, silo: SiloAddress) -> None:
        self.network = network
        self.own = f"machine {silo.port} {silo.generation}"

    def is_gone(self, process: str) -> bool:
        return process in self.network.ended


class Silo:
    """One agent with its table connection, its `declared_dead` task and the views that it published."""

    def __init__(self, cluster: Cluster, silo: SiloAddress) -> None:
        self.cluster = cluster
        self.address = silo
        self.table = FaultyTable(cluster.table)
        self.liveness = Liveness(cluster.time.time, cluster.options.probe_interval)
        self.gate = Gate(cluster.time.time)
        self.clock_error = timedelta()
        self.events = Events(str(silo), cluster.time.utc_now)
        self.processes = OneHost(cluster.network, silo) if cluster.one_host else NoProcesses()
        self.agent = MembershipAgent(
            self.table,
            msgspec.structs.replace(member(silo), probe=silo.port + PROBE, process=self.processes.own),
            MembershipDeps(
                ask=cluster.network.ask_from(silo),
                liveness=self.liveness,
                gate=self.gate,
                rng=random.Random(silo.port),
                now=lambda: cluster.time.utc_now() + self.clock_error,
                uptime=cluster.time.time,
                heard_from=cluster.network.heard_by(silo),
                refuses=cluster.network.refuses_for(silo),
                processes=self.processes,
                events=self.events,
            ),
            cluster.options,
        )
        self.views: list[View] = []
        self.agent.subscribe(self.views.append)
        self.fatal = asyncio.ensure_future(self.agent.declared_dead())

    async def start(self) -> None:
        targets = SystemTargets(lambda _: Level.ADMIN)
        self.agent.serve(targets)
        await self.agent.start()
        self.cluster.network.silos[self.address] = targets

    async def accuse(self, silo: SiloAddress, witness: SiloAddress | None = None) -> None:
        """Vote as after missed probes, without any later message of the suspect."""
        silence = Silence(3, began=self.cluster.time.time() - 4, answer_due=math.inf)
        await self.agent._voter.suspect(Suspicion(silo, silence, witness))

    @property
    def last_probed(self) -> float:
        """Time of the last proof of contact by a probe."""
        return max(self.liveness.contacts().values(), default=-math.inf)

    async def crash(self) -> None:
        self.cluster.network.silos.pop(self.address, None)
        self.cluster.network.ended.add(self.processes.own)
        await self.agent.kill()


class Cluster:
    """Starts silos, and kills those that still run at the end."""

    def __init__(self, time: VirtualTime, options: MembershipOptions, *, apart: bool, one_host: bool) -> None:
        self.time = time
        self.apart = apart
        self.one_host = one_host
        self.together: set[int] = set()
        self.options = options
        self.network = Network()
        self.table = MemoryMembershipTable()
        self.silos: list[Silo] = []

    def make(self, number: int, generation: int = 1) -> Silo:
        own_host = self.apart and number not in self.together
        silo = Silo(self, address(number, generation, f"silo-{number}" if own_host else "silo"))
        self.silos.append(silo)
        return silo

    async def join(self, number: int, generation: int = 1) -> Silo:
        silo = self.make(number, generation)
        await silo.start()
        await silo.agent.join()
        return silo

    async def joined(self, count: int) -> list[Silo]:
        silos = [await self.join(number) for number in range(count)]
        for silo in silos:
            await silo.agent.wait_for(lambda view: len(view.active) == count)
        return silos

    async def status(self, silo: SiloAddress) -> SiloStatus | None:
        row = (await self.table.read()).get(silo)
        return row.member.status if row else None


@asynccontextmanager
async def cluster(
    options: MembershipOptions | None = None, *, apart: bool = False, one_host: bool = False
) -> AsyncIterator[Cluster]:
    """Silos without a host that is known to others; `apart`: each on a host of its own; `one_host`: all on one."""
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        made = Cluster(time, options or MembershipOptions(), apart=apart, one_host=one_host)
        try:
            # Tests wait for virtual minutes; this bounds a wait for an event that never comes.
            async with asyncio.timeout(10_000):
                yield made
        finally:
            for silo in made.silos:
                await silo.crash()
                silo.fatal.cancel()
            await asyncio.gather(*(silo.fatal for silo in made.silos), return_exceptions=True)
