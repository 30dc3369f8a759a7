"""Several silos' directories in one process: a network with delays and losses, views that arrive late, small
catalogs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from random import Random

import msgspec

from grange.aio.tasks import Tasks
from grange.directory.cluster import ClusterDirectory
from grange.directory.options import DirectoryOptions
from grange.directory.slice.deps import DirectoryDeps
from grange.errors import CallTimeout, ConnectionLost, SiloUnavailable
from grange.membership.model.member import Member, SiloStatus, View, Vote, make_view
from grange.placement.strategies import builtin_strategies
from grange.proto.ids import GrainAddress, GrainId, SiloAddress
from grange.runtime.system_target import SystemTargets

THEN = datetime(2026, 1, 1, tzinfo=UTC)
TYPES = {"cart": "ring", "dice": "random", "pet": "prefer_local"}


class Host:
    """One silo: its directory, and a catalog that knows what it runs. `on_win` is told of each new
    activation.
    """

    def __init__(self, cluster: Cluster, me: SiloAddress) -> None:
        self.cluster = cluster
        self.me = me
        self.claiming: dict[GrainId, GrainAddress] = {}
        self.won: dict[GrainId, GrainAddress] = {}
        self.releasing: set[GrainId] = set()
        self.lost: list[GrainAddress] = []
        self.doubted: list[GrainAddress] = []
        self.deaf = False
        """Views do not come by themselves; it must ask for them."""
        self.table_gate: asyncio.Event | None = None
        """When set: the table does not answer us before it."""
        self.gate: asyncio.Event | None = None
        """When set: our answers to other silos wait for it. A test holds them back with this."""
        self.targets = SystemTargets()
        self.directory = ClusterDirectory(
            DirectoryDeps(
                me=me,
                ask=self._ask,
                refresh=self._refresh,
                registered=self._registered,
                is_registered=self._is_registered,
                is_here=self._is_here,
                lost=self._lose,
                doubted=self.doubted.append,
                strategies=cluster.strategies,
                random=cluster.random,
                options=cluster.options,
            )
        )
        self.directory.serve(self.targets)
        self.locator = self.directory.locator

    def address(self, grain_id: GrainId) -> GrainAddress:
        """A new activation of this grain here."""
        return GrainAddress(grain_id, self.me, self.cluster.random.getrandbits(128))

    async def activate(self, grain_id: GrainId) -> GrainAddress | None:
        """As a catalog does for a request: claim unless it is here. None: it is being claimed or released."""
        if grain_id in self.claiming or grain_id in self.releasing:
            return None
        if grain_id in self.won:
            return self.won[grain_id]
        address = self.address(grain_id)
        self.claiming[grain_id] = address
        try:
            winner = await self.locator.claim(address)
            if winner.same_activation(address):
                self.won[grain_id] = winner
                self.cluster.check_single(grain_id)
            return winner
        finally:
            del self.claiming[grain_id]

    async def deactivate(self, grain_id: GrainId) -> None:
        """As a catalog does: it is registered until the release begins, and here until that has ended."""
        if grain_id in self.won and grain_id not in self.releasing:
            self.releasing.add(grain_id)
            try:
                await self.locator.release(self.won[grain_id])
            finally:
                del self.won[grain_id]
                self.releasing.discard(grain_id)

    def believes(self, grain_id: GrainId) -> bool:
        """Whether this silo would run user code of the grain."""
        return grain_id in self.won and grain_id not in self.releasing

    def _registered(self) -> Iterator[GrainAddress]:
        return iter([address for grain_id, address in self.won.items() if grain_id not in self.releasing])

    def _is_registered(self, address: GrainAddress) -> bool:
        return self.believes(address.grain_id) and address.same_activation(self.won[address.grain_id])

    def _is_here(self, address: GrainAddress) -> bool:
        grain_id = address.grain_id
        return address.same_activation(self.won.get(grain_id)) or address.same_activation(self.claiming.get(grain_id))

    def _lose(self, address: GrainAddress) -> None:
        self.lost.append(address)
        if self._is_registered(address):
            del self.won[address.grain_id]

    async def _ask(self, silo: SiloAddress, service: str, question: bytes, timeout: float) -> bytes:
        return await self.cluster.carry(self.me, silo, service, question, timeout)

    async def _refresh(self, at_least: int) -> None:
        await self.cluster.pause()
        if self.table_gate is not None:
            await self.table_gate.wait()
        self.directory.on_view(self.cluster.view)


class Cluster:
    """The membership table, the network, and the silos. Delays are drawn up to `delay` seconds, losses by
    `loss`.
    """

    def __init__(self, seed: int = 0, delay: float = 0.0, loss: float = 0.0, **options: float) -> None:
        self.random = Random(seed)
        self.delay = delay
        self.loss = loss
        self.strategies = builtin_strategies()
        self.options = DirectoryOptions(**options)
        self.view = View(0)
        self.hosts: dict[SiloAddress, Host] = {}
        self.cut: set[tuple[SiloAddress, SiloAddress]] = set()
        """(asker, silo): questions that do not get through."""
        self.unanswered: set[str] = set()
        """Services whose questions do not get through to anybody."""
        self.carried: list[tuple[SiloAddress, SiloAddress, str]] = []
        self.tasks = Tasks()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Cluster:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.tasks.close()
        await self._stack.aclose()

    # --- membership -------------------------------------------------------------------------------

    async def start(self, count: int, types: dict[str, str] | None = None) -> list[Host]:
        """Silos that join one after the other, every view seen by all."""
        return [await self.join(types) for _ in range(count)]

    async def join(self, types: dict[str, str] | None = None, activate: bool = True) -> Host:
        """One more silo. With `activate=False` it stays JOINING."""
        me = SiloAddress("silo", len(self.view.members) + 1, 1)
        host = Host(self, me)
        self.hosts[me] = host
        await self._stack.enter_async_context(host.directory)
        member = Member(me, SiloStatus.JOINING, THEN, THEN, grains=TYPES if types is None else types)
        self._publish([*self.view.members, member], host)
        if activate:
            self.set_status(host, SiloStatus.ACTIVE)
        return host

    def set_status(self, host: Host, status: SiloStatus, votes: tuple[Vote, ...] = ()) -> None:
        """Write a status into the table; the silo itself sees it at once unless it is dead, the others by and
        by.
        """
        members = [
            msgspec.structs.replace(member, status=status, votes=votes or member.votes)
            if member.address == host.me
            else member
            for member in self.view.members
        ]
        self._publish(members, host if status is not SiloStatus.DEAD else None)

    def kill(self, host: Host) -> None:
        """The process is gone at once; nobody knows."""
        self.hosts.pop(host.me, None)

    def bury(self, host: Host, by_itself: bool = False) -> None:
        """The others find out, or declare it dead though it lives; or it wrote its own death."""
        self.set_status(host, SiloStatus.DEAD, () if by_itself else self.vote_of(host))

    def vote_of(self, host: Host) -> tuple[Vote, ...]:
        """What makes a silo suspected."""
        return (Vote(host.me, THEN),)

    def suspect(self, host: Host) -> None:
        """A view in which nothing moves: somebody who sees only the next one has missed a version."""
        member = self.view.get(host.me)
        assert member is not None
        self.set_status(host, member.status, self.vote_of(host))

    def replace(self, host: Host) -> None:
        """A newer run at the endpoint of a killed silo, which wrote the death of the older one."""
        self.bury(host, by_itself=True)
        newer = msgspec.structs.replace(host.me, generation=host.me.generation + 1)
        self._publish([*self.view.members, Member(newer, SiloStatus.JOINING, THEN, THEN, grains=TYPES)], None)

    def _publish(self, members: list[Member], first: Host | None) -> None:
        self.view = make_view(self.view.version + 1, members)
        if first is not None:
            first.directory.on_view(self.view)
        for host in self.hosts.values():
            if host.deaf:
                continue
            if self.delay:
                asyncio.get_running_loop().call_later(self._draw(), host.directory.on_view, self.view)
            else:
                host.directory.on_view(self.view)

    # --- network ----------------------------------------------------------------------------------

    def _draw(self) -> float:
        return self.random.random() * self.delay

    async def pause(self) -> None:
        """One trip through the network."""
        await asyncio.sleep(self._draw())

    async def carry(self, asker: SiloAddress, silo: SiloAddress, service: str, data: bytes, timeout: float) -> bytes:
        """A question and its answer, as `runtime/calls/sender.py` does it."""
        self.carried.append((asker, silo, service))
        try:
            async with asyncio.timeout(timeout):
                await self.pause()
                if asker not in self.hosts or silo not in self.hosts or self._is_cut(asker, silo, service):
                    raise SiloUnavailable(f"{silo} is not there")
                # What has arrived is answered even if the asker gives up.
                answer = asyncio.get_running_loop().create_task(self._answer(self.hosts[silo], service, data))
                self.tasks.adopt(answer)
                reply = await asyncio.shield(answer)
                if self.random.random() < self.loss or silo not in self.hosts:
                    raise ConnectionLost(f"the answer of {silo} was lost")
                await self.pause()
                return reply
        except TimeoutError as error:
            raise CallTimeout(f"{silo} did not answer {service} within {timeout} s") from error

    def _is_cut(self, asker: SiloAddress, silo: SiloAddress, service: str) -> bool:
        return (asker, silo) in self.cut or service in self.unanswered

    async def _answer(self, host: Host, service: str, data: bytes) -> bytes:
        answer = host.targets.find(service)
        assert answer is not None, service
        reply = await answer(data)
        if host.gate is not None:
            await host.gate.wait()
        return reply

    # --- looking on -------------------------------------------------------------------------------

    def owner(self, grain_id: GrainId) -> Host:
        """Who owns the grain's slice under the table's newest view."""
        owner = self._newest().topology.owner(grain_id.ring_hash)
        assert owner is not None
        return self.hosts[owner]

    def other(self, *hosts: Host) -> Host:
        """A live silo that is none of these."""
        return next(host for host in self.hosts.values() if host not in hosts)

    def grain(self, fits: Callable[[GrainId], bool], type: str = "cart") -> GrainId:
        """The first grain that fits."""
        return next(grain for grain in (GrainId(type, f"k{number}") for number in range(10_000)) if fits(grain))

    def owned_by(self, host: Host, type: str = "cart") -> GrainId:
        """A grain whose slice this silo owns."""
        return self.grain(lambda grain: self.owner(grain) is host, type)

    def check_single(self, grain_id: GrainId) -> None:
        """Nobody may believe in an activation while another live silo does."""
        believers = [str(host.me) for host in self.hosts.values() if host.believes(grain_id)]
        assert len(believers) <= 1, f"{grain_id} runs on {believers}"

    async def quiet(self) -> None:
        """Everybody has the newest view, nobody claims or releases, every range is ready."""
        while not self.is_quiet():
            await asyncio.sleep(0.01)

    async def quiet_but(self, *busy: Host) -> None:
        """The same, except that these still claim or release."""
        while not self.is_quiet(busy):
            await asyncio.sleep(0.01)

    def is_quiet(self, busy: tuple[Host, ...] = ()) -> bool:
        """See `quiet`."""
        return all(
            (host in busy or not (host.claiming or host.releasing))
            and not host.directory.partition.not_ready
            and host.directory.topology.version == self.view.version
            for host in self.hosts.values()
        )

    def check_registered(self, strict: bool = True) -> None:
        """Each believer is registered exactly once, at its owner; with `strict` nothing else is
        registered.
        """
        entries: dict[GrainId, list[tuple[Host, GrainAddress]]] = {}
        for host in self.hosts.values():
            for entry in host.directory.partition.entries:
                entries.setdefault(entry.grain_id, []).append((host, entry))
        for host in self.hosts.values():
            for grain_id, address in host.won.items():
                self.check_single(grain_id)
                assert entries.get(grain_id) == [(self.owner(grain_id), address)], f"{grain_id} on {host.me}"
        for grain_id, found in entries.items():
            assert len(found) == 1, f"{grain_id} has entries on {[str(host.me) for host, _ in found]}"
            running = self.hosts.get(found[0][1].silo)
            assert running is not None, f"an entry of a dead silo: {found[0][1]}"
            assert not strict or grain_id in running.won, f"nobody runs {found[0][1]}"

    def _newest(self) -> ClusterDirectory:
        return max((host.directory for host in self.hosts.values()), key=lambda one: one.topology.version)
