"""The parts of a silo, in the order in which they start; they stop in reverse. Read `start` from top to bottom.

The ring "grains call and are called" is closed in one visible place: `listener.open`. Only then does the silo join, so
that nobody can know it before it answers.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack

import msgspec

from grange.aio.tasks import Tasks
from grange.directory.cluster import ClusterDirectory
from grange.directory.slice.deps import DirectoryDeps
from grange.errors import SiloUnavailable
from grange.grains.ref import GrainFactory
from grange.grains.travel import References
from grange.membership.agent import MembershipAgent
from grange.membership.detection.deps import MembershipDeps
from grange.membership.detection.liveness import Liveness
from grange.membership.model.member import Member, SiloStatus, View
from grange.proto.faults import Faults
from grange.proto.handshake import Hello, Role
from grange.proto.ids import SiloAddress
from grange.proto.values import ValueCodec
from grange.runtime.caller import Caller
from grange.runtime.catalog import Catalog
from grange.runtime.collector import Collector
from grange.runtime.deadlines import Deadlines
from grange.runtime.deps import ActivationDeps
from grange.runtime.gate import Gate
from grange.runtime.hosted import HostedType
from grange.runtime.inbound import Inbound
from grange.runtime.invoker import Invoker
from grange.runtime.outgoing import CallerDeps
from grange.runtime.plan import Plans
from grange.runtime.sender import Sender
from grange.runtime.status import tell_callers
from grange.runtime.system_target import SystemTargets
from grange.silo.definition import SiloDefinition
from grange.silo.departure import Departure, ShutdownDeps
from grange.silo.environment import SiloEnvironment
from grange.silo.gated_listener import GatedListener
from grange.silo.gateway import Gateway
from grange.silo.management import Management, Standing
from grange.silo.probing import Probing
from grange.storage.facet import PersistentStates
from grange.storage.guards.stores import StorageGuards
from grange.storage.state import PersistentState
from grange.transport.peers import Peers

log = logging.getLogger("grange.silo")


class Startup:
    """One silo being started, and then running. Each method starts one part and says how it stops."""

    def __init__(self, definition: SiloDefinition, environment: SiloEnvironment) -> None:
        self._definition = definition
        self._config = definition.config
        self._options = definition.config.runtime_options()
        self._environment = environment
        self._parts = AsyncExitStack()
        self._killed = False
        self._starting = False
        self._closing = asyncio.Lock()
        self._asked: asyncio.Task[None] | None = None
        self.asked_to_stop = asyncio.Event()

    async def start(self) -> None:
        """Start every part in order; what was started is stopped again if a later one fails."""
        self._definition.check()
        self._starting = True
        try:
            await self._open_ports()
            await self._open_stores()
            self._prepare_values()
            self._reach_known_silos()
            await self._know_the_cluster()
            self._call_grains()
            self._host_grains()
            self._answer_others()
            await self._open_doors_and_join()
        except BaseException:
            await self._parts.aclose()
            raise
        finally:
            self._starting = False

    async def stop(self) -> None:
        """Leave the cluster in order: no new grains, running calls end, activations end, the row says dead."""
        await self._close()
        if self._asked is not None:
            await self._asked  # what it raised must not be lost

    def ask_to_stop(self) -> None:
        """Somebody asked through management, so nobody waits: stop in a task of its own. Asking again is harmless."""
        if self._starting:
            raise SiloUnavailable(f"silo {self.address} is still starting; ask again when it is active")
        if self._asked is None:
            self._asked = asyncio.get_running_loop().create_task(self._close(), name="drain")
            self.asked_to_stop.set()

    async def kill(self) -> None:
        """End as by SIGKILL, as far as one process can: nobody is told and nothing is written."""
        self._killed = True
        await self._close()

    async def _close(self) -> None:
        """One at a time: a second caller must neither take away what the first still needs, nor return before it.

        Not during the start, because the parts that start meanwhile would be left running.
        """
        if self._starting:
            raise RuntimeError("this silo is still starting; cancel the task that starts it, which stops its parts")
        async with self._closing:
            await self._parts.aclose()

    async def _open_ports(self) -> None:
        """First, because the address contains the port. Nobody is let in before `_open_doors_and_join`."""
        self._transport = await self._parts.enter_async_context(self._environment.transport())
        self._probing = await self._parts.enter_async_context(Probing())
        await self._probing.open(self._transport, self._config.host, self._config.probe_port, self._config.cluster)
        self._silo_listener = GatedListener(Role.SILO, self._config.cluster)
        self._client_listener = GatedListener(Role.CLIENT, self._config.cluster)
        host = self._config.host
        port = await self._silo_listener.listen(self._transport, host, self._config.port)
        self.gateway_port = await self._client_listener.listen(self._transport, host, self._config.gateway_port)
        self.address = SiloAddress(self._config.public_host, port, self._environment.generation())
        self._name = self._config.name or self.address.endpoint

    async def _open_stores(self) -> None:
        self._table = await self._parts.enter_async_context(self._environment.table())
        storages = await self._parts.enter_async_context(self._environment.storages())
        timeout = self._config.storage_settings().operation_timeout
        guards = StorageGuards(storages, self.address, self._environment.random, timeout)
        self._stores = await self._parts.enter_async_context(guards)

    def _prepare_values(self) -> None:
        self._references = References()
        self._codec = ValueCodec([self._references])
        self._faults = Faults(self._definition.errors)
        self._plans = Plans(self._codec)
        self._deadlines = Deadlines()
        self._parts.callback(self._deadlines.close)

    def _reach_known_silos(self) -> None:
        hello = Hello(self._config.cluster, Role.SILO, self._name, self.address)
        self._sender = Sender(self._deadlines, self._faults)
        self._peers = Peers(
            self._transport,
            lambda silo: msgspec.structs.replace(hello, target=silo),
            self._sender.receiver_for,
            self._config.transport_options(),
            self._environment.random,
        )
        self._sender.connect_through(self._peers)
        self._parts.push_async_callback(self._peers.close)

    async def _know_the_cluster(self) -> None:
        """Who is there, and where grains live."""
        settings = self._config.membership_settings()
        self._gate = Gate()
        self._liveness = Liveness(self._gate.clock, settings.probe_interval)
        self.agent = MembershipAgent(
            self._table,
            self._row(),
            MembershipDeps(
                ask=self._sender.ask,
                liveness=self._liveness,
                gate=self._gate,
                probe_line=self._probing.ask,
                rng=self._environment.random,
                now=self._environment.utc_now,
                heard_from=self._heard_from,
            ),
            settings,
        )
        deps = DirectoryDeps(
            me=self.address,
            ask=self._sender.ask,
            refresh=self.agent.refresh,
            registered=lambda: self.catalog.registered(),
            is_registered=lambda address: self.catalog.is_registered(address),
            is_here=lambda address: self.catalog.is_here(address),
            lost=lambda address: self.catalog.lose(address),
            doubted=lambda address: self.catalog.renew(address),
            strategies=self._definition.strategies,
            random=self._environment.random,
            options=self._config.directory_options(),
        )
        self.directory = await self._parts.enter_async_context(ClusterDirectory(deps))

    def _call_grains(self) -> None:
        """To a grain, wherever it is."""
        self._deps = CallerDeps(self._sender, self._faults, self._deadlines, self._options, self.address)
        self._caller = Caller(self._deps, self.directory.locator, self._plans, self._environment.random)
        self.grains = GrainFactory(self._caller.call, lambda name: self.agent.view.implementations(name))
        self._references.bind(self.grains)

    def _host_grains(self) -> None:
        """The grains that are here."""
        self._tasks = Tasks()
        self._collector = Collector(self._options.collect_period)
        deps = ActivationDeps(
            self.address,
            self._options,
            self.grains,
            self._faults,
            Invoker(),
            self._tasks,
            self._environment.random,
            self._gate,
        )
        facets = {PersistentState: PersistentStates(self._stores.storages, self._codec, self._stores.stamps.next)}
        services = self._definition.services
        hosted = [HostedType(cls, self._plans, facets, services, self._options) for cls in self._definition.grains]
        self._faults.register(error for each in hosted for error in each.options.errors)
        self.catalog = Catalog(deps, {each.name: each for each in hosted}, self.directory.locator, self._collector)
        self._deps.catalog = self.catalog

    def _answer_others(self) -> None:
        self._gateway = Gateway(self.address, self._caller, self._sender, self.catalog)
        silos, clients = SystemTargets(), SystemTargets()
        self._silo_side = Inbound(self.catalog.deliver, silos, self._faults, self._tasks, self._options)
        self._client_side = Inbound(self._gateway.deliver, clients, self._faults, self._tasks, self._options)
        self.management = Management(
            self.address,
            self._name,
            self.catalog,
            lambda: Standing(self.agent.view, self.agent.table, self.agent.fenced, *self.agent.doubts),
            lambda: self._silo_side.in_progress + self._client_side.in_progress,
            lambda: self.directory.findings,
        )
        self._departure = Departure(
            ShutdownDeps(
                address=self.address,
                agent=self.agent,
                directory=self.directory,
                catalog=self.catalog,
                gateway=self._gateway,
                caller=self._caller,
                listeners=(self._client_listener, self._silo_listener),
                sides=(self._client_side, self._silo_side),
                tasks=self._tasks,
                drain_timeout=self._config.drain_timeout,
            )
        )
        self.drain = self._departure.drain
        self.agent.serve(silos)
        self.directory.serve(silos)
        for targets in (silos, clients):
            self.management.serve(targets)
            self.drain.serve(targets, self.ask_to_stop)

    async def _open_doors_and_join(self) -> None:
        """From `open` on this silo answers; then its name goes on the door; then clients may come."""
        self._parts.push_async_callback(lambda: self._departure.end(self._killed))
        self._tasks.start(self._collector.run())
        self._tasks.start(tell_callers(lambda: [*self._silo_side.connected, *self._client_side.connected]))
        self.agent.subscribe(self._stores.on_view)  # first: what the directory now gives away waits for the fence
        self.agent.subscribe(self.directory.on_view)
        self.agent.subscribe(self._bury)
        self._silo_listener.open(self.address, self._silo_side)
        await self.agent.start()
        self._probing.serve(self.address, self.agent.answer_probe, self._liveness)
        self.catalog.open()
        log.info("silo %s joins cluster %r", self.address, self._config.cluster, extra={"event": "silo_joining"})
        await self.agent.join()
        self._client_listener.open(self.address, self._client_side)
        log.info("silo %s of cluster %r is active", self.address, self._config.cluster, extra={"event": "silo_active"})

    def _row(self) -> Member:
        now = self._environment.utc_now()
        return Member(
            self.address,
            SiloStatus.JOINING,
            started=now,
            alive=now,
            name=self._name,
            gateway=self.gateway_port,
            probe=self._probing.port,
            labels=self._config.labels,
            grains=self._definition.placements(),
            interfaces=self._definition.interfaces(),
        )

    def _bury(self, view: View) -> None:
        """Calls in flight to a dead silo end now, not at their time-outs."""
        self._probing.bury(member.address for member in view.with_status(SiloStatus.DEAD))
        for member in view.with_status(SiloStatus.DEAD):
            self._peers.drop(member.address)
            self._sender.forget(member.address)

    def _heard_from(self, silo: SiloAddress) -> float:
        """When anything last came from this silo, in the event loop's time."""
        return max(self._peers.heard_at(silo), self._silo_side.heard_at(silo))
