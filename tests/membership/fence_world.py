"""A scripted cluster around one self-fence, shared by the tests of the fence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from grange.errors import MembershipUnavailable, SelfFenced
from grange.membership.detection.liveness import Liveness
from grange.membership.fencing.self_fence import FenceDeps, SelfFence
from grange.membership.model.member import Member, SiloStatus, make_view
from grange.membership.model.options import MembershipOptions
from grange.membership.model.provider import Row, Table, table_version
from grange.observability.events import Events
from grange.proto.ids import SiloAddress
from grange.runtime.gate import Gate
from grange.testing.loop import VirtualTime

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OPTIONS = MembershipOptions()
ACTIVE, DEAD = SiloStatus.ACTIVE, SiloStatus.DEAD
ME, B, C, D = (SiloAddress("127.0.0.1", 11111 + number, 1) for number in range(4))
MINUTE = 60.0


class World:
    """The cluster as a fence sees it: a table, other silos that answer or not, and their probes."""

    def __init__(self, time: VirtualTime, *others: SiloAddress) -> None:
        self.time = time
        self.loop = asyncio.get_running_loop()
        self.gate = Gate()
        self.liveness = Liveness(self.gate.clock, OPTIONS.probe_interval)
        self.statuses = {ME: ACTIVE, **dict.fromkeys(others, ACTIVE)}
        self.version = 7
        self.seen_by = dict.fromkeys(others, 7)
        self.table_is_there = True
        self.table_is_broken = False
        self.read_takes = 0.0
        self.reads: list[float] = []
        self.asked: list[float] = []
        self.fetched: list[SiloAddress] = []
        self.reachable = set(others)
        self.errors: list[SelfFenced] = []
        self.probing: dict[SiloAddress, asyncio.Task[None]] = {}
        self.hints: list[int] = []
        deps = FenceDeps(
            read=self._read,
            ask_version=self._ask,
            fetch=self._fetch,
            hint=self.hints.append,
            end_process=self.errors.append,
            events=Events(str(ME)),
        )
        self.fence = SelfFence(ME, self.gate, self.liveness, deps, OPTIONS)
        self.fence.on_view(self.view())
        self.task = asyncio.create_task(self.fence.run())
        for other in others:
            self.probe(other)

    @property
    def now(self) -> float:
        return self.loop.time()

    def view(self):
        return make_view(self.version, (Member(silo, status, NOW, NOW) for silo, status in self.statuses.items()))

    def probe(self, other: SiloAddress) -> None:
        """Have this silo probe from now on; it receives the answers."""
        self.probing[other] = asyncio.create_task(self._probe(other))

    def cut(self, *others: SiloAddress) -> None:
        """Make these silos unreachable for this one."""
        for other in others:
            self.probing.pop(other).cancel()
            self.reachable.discard(other)

    def heal(self, *others: SiloAddress) -> None:
        for other in others:
            self.reachable.add(other)
            self.probe(other)

    def stand_still(self, seconds: float) -> None:
        """Stop the process for so long: no task runs, and all timers are late afterwards."""
        self.time._now += seconds

    async def closed(self) -> float:
        """Wait until the gate closes; returns the time."""
        async with asyncio.timeout(MINUTE):
            while not self.gate.closed:
                await asyncio.sleep(0.001)
        return self.now

    async def opened(self) -> float:
        async with asyncio.timeout(MINUTE):
            while self.gate.closed:
                await asyncio.sleep(0.001)
        return self.now

    async def close(self) -> None:
        for task in (self.task, *self.probing.values()):
            task.cancel()
        await asyncio.wait((self.task, *self.probing.values()))

    async def _probe(self, other: SiloAddress) -> None:
        mutual = False
        while True:
            self.liveness.probe_received(other, mutual, self.seen_by[other])
            mutual = True
            await asyncio.sleep(OPTIONS.probe_interval)

    async def _read(self) -> Table:
        self.reads.append(self.now)
        await asyncio.sleep(self.read_takes)
        if self.table_is_broken:
            raise KeyError("the driver has a bug")
        if not self.table_is_there:
            raise MembershipUnavailable("away")
        return Table(table_version("x", self.version), tuple(Row(member, "e") for member in self.view().members))

    async def _ask(self, silo: SiloAddress, timeout: float) -> int | None:
        self.asked.append(self.now)
        if silo not in self.reachable:
            await asyncio.sleep(timeout)
            return None
        await asyncio.sleep(0.001)
        return self.seen_by[silo]

    async def _fetch(self, silo: SiloAddress) -> None:
        self.fetched.append(silo)


Make = Callable[..., World]
