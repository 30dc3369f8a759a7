"""The directories of several silos in one process: a network with delays and losses, late views, small catalogs."""

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
from grange.observability.events import Events
from grange.placement.filters import builtin_strategies
from grange.placement.loads import Loads
from grange.proto.acts import Asker, Level
from grange.proto.ids import GrainAddress, GrainId, SiloAddress
from grange.proto.message import Request, Response
from grange.runtime.observers.routes import ClientState
from grange.runtime.system_target import SystemTargets, system_id

THEN = datetime(2026, 1, 1, tzinfo=UTC)
TYPES = {"cart": "ring", "dice": "random", "pet": "prefer_local"}


class Host:
    """One silo: its directory, and a small catalog of its activations."""

    def __init__(self, cluster: Cluster, me: SiloAddress) -> None:
        self.cluster = cluster
        self.me = me
        self.claiming: dict[GrainId, GrainAddress] = {}
        self.won: dict[GrainId, GrainAddress] = {}
        self.releasing: set[GrainId] = set()
        self.lost: list[GrainAddress] = []
        self.ended_if_stateful: list[GrainAddress] = []
        self.clients: dict[str, ClientState] = {}
        """The clients of which this silo knows."""
        self.deaf = False
        """Whether views are not delivered to this silo, so that it must read them from the table."""
        self.table_gate: asyncio.Event | None = None
        """If not None, the table's answers to this silo wait for this event."""
        self.gate: asyncio.Event | None = None
        """If not None, this silo's answers to other silos wait for this event."""
        self.targets = SystemTargets(lambda _: Level.ADMIN)
        self.directory = ClusterDirectory(
            DirectoryDeps(
                me=me,
                ask=self._ask,
                refresh=self._refresh,
                registered=self._registered,
                is_registered=self._is_registered,
                has_activation=self._has_activation,
                end_unregistered=self._end_unregistered,
                end_if_stateful=self.ended_if_stateful.append,
                client_state=lambda client: self.clients.get(client, ClientState.UNKNOWN),
                strategies=cluster.strategies,
                rng=cluster.random,
                events=Events(str(me)),
                loads=Loads(me, lambda: asyncio.get_running_loop().time(), 10.0),
                options=cluster.options,
            )
        )
        self.directory.serve(self.targets)
        self.locator = self.directory.locator

    def address(self, grain_id: GrainId) -> GrainAddress:
        """A new activation of this grain here."""
        return GrainAddress(grain_id, self.me, self.cluster.random.getrandbits(128))

    async def activate(self, grain_id: GrainId) -> GrainAddress | None:
        """Claim the grain unless it is active here, as a catalog does. Returns None during a claim or a release."""
        if grain_id in self.claiming or grain_id in self.releasing:
            return None
        if grain_id in self.won:
            return self.won[grain_id]
        address = self.address(grain_id)
        self.claiming[grain_id] = address
        try:
            winner = self.locator.claim_now(address) or await self.locator.claim(address)
            if winner.same_activation(address):
                self.won[grain_id] = winner
                self.cluster.check_single(grain_id)
            return winner
        finally:
            del self.claiming[grain_id]

    async def deactivate(self, grain_id: GrainId) -> None:
        """Release the grain as a catalog does: registered until the release begins, existing until it has ended."""
        if grain_id in self.won and grain_id not in self.releasing:
            self.releasing.add(grain_id)
            try:
                await self.locator.release(self.won[grain_id])
            finally:
                del self.won[grain_id]
                self.releasing.discard(grain_id)

    def runs(self, grain_id: GrainId) -> bool:
        """Whether this silo would run user code of the grain."""
        return grain_id in self.won and grain_id not in self.releasing

    def _registered(self, start: int = 0, count: int | None = None) -> Iterator[GrainAddress]:
        return iter([address for grain_id, address in self.won.items() if grain_id not in self.releasing])

    def _is_registered(self, address: GrainAddress) -> bool:
        return self.runs(address.grain_id) and address.same_activation(self.won[address.grain_id])

    def _has_activation(self, address: GrainAddress) -> bool:
        grain_id = address.grain_id
        return address.same_activation(self.won.get(grain_id)) or address.same_activation(self.claiming.get(grain_id))

    def _end_unregistered(self, address: GrainAddress) -> None:
        self.lost.append(address)
        if self._is_registered(address):
            del self.won[address.grain_id]

    async def _ask(self, silo: SiloAddress, service: str, request: bytes, timeout: float) -> bytes:
        return await self.cluster.carry(self.me, silo, service, request, timeout)

    async def _refresh(self, at_least: int) -> None:
        await self.cluster.pause()
        if self.table_gate is not None:
            await self.table_gate.wait()
        self.directory.on_view(self.cluster.view)


class Cluster:
    """The table, the network and the silos. Delays are random up to `delay` seconds; `loss` is a probability."""

    def __init__(self, seed: int = 0, delay: float = 0.0, loss: float = 0.0, **options: float) -> None:
        self.random = Random(seed)
        self.delay = delay
        self.loss = loss
        self.strategies = builtin_strategies()
        self.options = DirectoryOptions(**options)
        self.view = View(0)
        self.hosts: dict[SiloAddress, Host] = {}
        self.cut: set[tuple[SiloAddress, SiloAddress]] = set()
        """(caller, silo): requests that do not arrive."""
        self.unanswered: set[str] = set()
        """Services whose requests do not arrive at any silo."""
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
        """Add silos one after the other. Every view reaches every silo."""
        return [await self.join(types) for _ in range(count)]

    async def join(self, types: dict[str, str] | None = None, activate: bool = True) -> Host:
        """Add one silo. With `activate=False` it stays JOINING."""
        me = SiloAddress("silo", len(self.view.members) + 1, 1)
        host = Host(self, me)
        self.hosts[me] = host
        await self._stack.enter_async_context(host.directory)
        member = Member(me, SiloStatus.JOINING, THEN, THEN, grains=TYPES if types is None else types)
        self._publish([*self.view.members, member], host)
        if activate:
            self.set_status(host, SiloStatus.ACTIVE)
        return host

    def set_status(
        self, host: Host, status: SiloStatus, votes: tuple[Vote, ...] = (), hold: float | None = None
    ) -> None:
        """Write a status into the table. The silo itself gets the view at once unless it is dead, others with delay."""
        members = [
            msgspec.structs.replace(member, status=status, votes=votes or member.votes, hold=hold)
            if member.address == host.me
            else member
            for member in self.view.members
        ]
        self._publish(members, host if status is not SiloStatus.DEAD else None)

    def kill(self, host: Host) -> None:
        """End the silo's process at once, without a trace in the table."""
        self.hosts.pop(host.me, None)

    def mark_dead(self, host: Host, by_itself: bool = False, hold: float | None = None) -> None:
        """Write the silo's death into the table: by votes of others, or with `by_itself` by its own hand.

        `hold` is what the voters found out about its crash.
        """
        self.set_status(host, SiloStatus.DEAD, () if by_itself else self.vote_of(host), hold)

    def vote_of(self, host: Host) -> tuple[Vote, ...]:
        """A vote against a silo."""
        return (Vote(host.me, THEN),)

    def suspect(self, host: Host) -> None:
        """Publish a view in which no range moves. A silo that gets only the next view has missed a version."""
        member = self.view.get(host.me)
        assert member is not None
        self.set_status(host, member.status, self.vote_of(host))

    def replace(self, host: Host) -> None:
        """Start a newer generation at the endpoint of a killed silo. It writes the death of the older one."""
        self.mark_dead(host, by_itself=True)
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
        """Wait for one random network delay."""
        await asyncio.sleep(self._draw())

    async def carry(self, caller: SiloAddress, silo: SiloAddress, service: str, data: bytes, timeout: float) -> bytes:
        """Deliver a request and its answer, as `runtime/calls/sender.py` does."""
        self.carried.append((caller, silo, service))
        try:
            async with asyncio.timeout(timeout):
                await self.pause()
                if caller not in self.hosts or silo not in self.hosts or self._is_cut(caller, silo, service):
                    raise SiloUnavailable(f"{silo} cannot be reached")
                # A request that has arrived is answered even if its caller times out.
                answer = asyncio.get_running_loop().create_task(self._answer(self.hosts[silo], service, data))
                self.tasks.adopt(answer)
                reply = await asyncio.shield(answer)
                if self.random.random() < self.loss or silo not in self.hosts:
                    raise ConnectionLost(f"the answer of {silo} was lost")
                await self.pause()
                return reply
        except TimeoutError as error:
            raise CallTimeout(f"{silo} did not answer {service} within {timeout} s") from error

    def _is_cut(self, caller: SiloAddress, silo: SiloAddress, service: str) -> bool:
        return (caller, silo) in self.cut or service in self.unanswered

    async def _answer(self, host: Host, service: str, data: bytes) -> bytes:
        reply = await host.targets.answer(
            Request(1, system_id(service), "ask", data), _raise, Asker("a silo", Level.ADMIN, True)
        )
        assert isinstance(reply, Response), service
        if host.gate is not None:
            await host.gate.wait()
        return reply.payload

    # --- checks -----------------------------------------------------------------------------------

    def owner(self, grain_id: GrainId) -> Host:
        """The owner of the grain's range under the newest view."""
        owner = self._newest().topology.owner(grain_id.ring_hash)
        assert owner is not None
        return self.hosts[owner]

    def other(self, *hosts: Host) -> Host:
        """A live silo other than these."""
        return next(host for host in self.hosts.values() if host not in hosts)

    def grain(self, fits: Callable[[GrainId], bool], type: str = "cart") -> GrainId:
        """The first grain for which `fits` is true."""
        return next(grain for grain in (GrainId(type, f"k{number}") for number in range(10_000)) if fits(grain))

    def owned_by(self, host: Host, type: str = "cart") -> GrainId:
        """A grain whose range this silo owns."""
        return self.grain(lambda grain: self.owner(grain) is host, type)

    def check_single(self, grain_id: GrainId) -> None:
        """Assert that at most one silo runs user code of the grain."""
        running = [str(host.me) for host in self.hosts.values() if host.runs(grain_id)]
        assert len(running) <= 1, f"{grain_id} runs on {running}"

    async def quiet(self) -> None:
        """Wait until every silo has the newest view, no claim or release is in progress, and every range is ready."""
        while not self.is_quiet():
            await asyncio.sleep(0.01)

    async def quiet_but(self, *busy: Host) -> None:
        """Like `quiet`, except that these silos may still claim or release."""
        while not self.is_quiet(busy):
            await asyncio.sleep(0.01)

    def is_quiet(self, busy: tuple[Host, ...] = ()) -> bool:
        """Whether the condition of `quiet_but` holds now."""
        return all(
            (host in busy or not (host.claiming or host.releasing))
            and not host.directory.partition.not_ready
            and host.directory.topology.version == self.view.version
            for host in self.hosts.values()
        )

    def check_registered(self, strict: bool = True) -> None:
        """Assert that each running activation is registered exactly once, at its owner.

        With `strict`, also assert that nothing else is registered.
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
            assert not strict or grain_id in running.won, f"no silo runs {found[0][1]}"

    def _newest(self) -> ClusterDirectory:
        return max((host.directory for host in self.hosts.values()), key=lambda one: one.topology.version)


def _raise(error: BaseException) -> bytes:
    raise error
