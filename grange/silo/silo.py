"""`Silo`, the public class: one server process that hosts grains. `async with Silo(grains=[...])`, or `grange run`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, cast

import msgspec

from grange.directory.cluster import ClusterDirectory
from grange.errors import ConfigurationError, DeclaredDead, SelfFenced
from grange.grains.definition import Addressable
from grange.grains.filters import Filter
from grange.grains.finding import FindOptions, ListOptions, StoredGrain
from grange.grains.grain import Grain
from grange.grains.registry import Registry
from grange.grains.service import SiloService
from grange.grains.tick import Jobs
from grange.management import ClusterManagement
from grange.membership.model.member import View
from grange.observability.telemetry import Telemetry, as_telemetry
from grange.placement.provider import PlacementStrategy
from grange.proto.ids import SiloAddress, endpoint_of
from grange.proto.keys import Key
from grange.runtime.activations.catalog import Catalog
from grange.security.known import KnownSecrets
from grange.security.policy import Authorize
from grange.silo.config import SiloConfig
from grange.silo.control import Control
from grange.silo.definition import (
    SiloDefinition,
    as_authorize,
    as_classes,
    as_errors,
    as_silo_filters,
    as_silo_services,
    as_strategies,
    strategies_of,
)
from grange.silo.environment import ConfiguredEnvironment, SiloEnvironment
from grange.silo.hosted_client import HostedClient
from grange.silo.identities import Authenticate, as_authenticate
from grange.silo.inspection import Inspection
from grange.silo.lifecycle import Lifecycle
from grange.silo.management import Management, asking_from
from grange.silo.own_code import as_work
from grange.silo.running import RunningSilo
from grange.silo.secret_options import with_secrets
from grange.silo.services import Services
from grange.silo.startup import admit_and_join, assemble

G = TypeVar("G", bound=Addressable)
S = TypeVar("S", bound=SiloService)


class Silo:
    """A silo: the constructor takes its definition, `async with` runs it. One object runs once.

    `grains`: the classes that it hosts. `services`: the arguments of their constructors, as a function that
    fills the silo's svcs registry and frees what it made, or as a registry that stays yours.
    `errors`: exception classes of yours that callers receive as themselves. `placement`: further placement strategies.
    `silo_services`: classes of which each silo runs one object (`SiloService`). `startup`: async functions that take
    the silo and run once, when it is active and before clients are admitted; one that fails stops the start.
    `background`: such functions that run until the stop; one that fails runs again after a pause.
    `incoming_filters`: code around the methods and timers of its grains; `outgoing_filters`: around the calls of its
    grains, and those by `get_grain`. Both run in the order of the lists.
    `authorize`: a plain function of an identity (None: the caller has none) and `CallFacts`: it allows a call (True) or
    refuses it (False, or the reason as a text), beside the rules of the option `allow` and `@requires`.
    `telemetry`: trace calls (`grange.observability.Telemetry`); without it no call is traced.
    `authenticate`: a plain function that returns the `Identity` of a client's token, or None for an unknown one, with
    which the client is refused. The event loop and another thread call it, so it must not block.
    `known_secrets`: learns the secrets that the silo reads, for `HideSecrets` on the log handlers of your program.
    The other options are those of `SiloConfig`; they may also come from the environment or `grange.toml`.

    Raises ConfigurationError for a wrong option or class, here or at the start, and at the start StorageUnavailable,
    MembershipUnavailable, JoinFailed or StartupFailed. A silo belongs to the event loop and the process that started
    it: used in another, it and its references raise WrongLoop. After the stop its references raise CallerClosed.
    """

    def __init__(
        self,
        grains: Sequence[type[Grain[Any]]],
        *,
        services: Services | None = None,
        errors: Iterable[type[Exception]] = (),
        placement: Iterable[PlacementStrategy] = (),
        silo_services: Iterable[type[SiloService]] = (),
        startup: Iterable[Callable[[Silo], Awaitable[None]]] = (),
        background: Iterable[Callable[[Silo], Awaitable[None]]] = (),
        incoming_filters: Iterable[Filter] = (),
        outgoing_filters: Iterable[Filter] = (),
        authorize: Authorize | None = None,
        config: SiloConfig | None = None,
        telemetry: Telemetry | None = None,
        authenticate: Authenticate | None = None,
        known_secrets: KnownSecrets | None = None,
        **options: Any,
    ) -> None:
        self._grains = as_classes(grains)
        self._services: Services = Registry() if services is None else services
        self._errors = as_errors(errors)
        self._placement = as_strategies(placement)
        self._silo_services = as_silo_services(silo_services)
        self._startup = as_work("startup", startup)
        self._background = as_work("background", background)
        self._filters = as_silo_filters(incoming_filters, outgoing_filters)
        self._authorize = as_authorize(authorize)
        if config is not None and not isinstance(cast("object", config), SiloConfig):
            raise ConfigurationError(f"config= is a SiloConfig, not {config!r:.100}; give options by their names")
        self._config = config
        self._telemetry = as_telemetry(telemetry)
        self._authenticate = as_authenticate(authenticate)
        self._known_secrets = known_secrets
        self._options = options
        self._lifecycle: Lifecycle | None = None
        self._parts: RunningSilo | None = None

    def definition(
        self, *, telemetry: Telemetry | None = None, known_secrets: KnownSecrets | None = None, **overrides: Any
    ) -> SiloDefinition:
        """The input of the start, with the configuration read now. `overrides` win over all other sources.

        `telemetry` and `known_secrets` are those of the process: the silo's own win. Secrets are filled in later.
        """
        given = self._config.model_dump() if self._config is not None else {}
        kind = SiloConfig if self._config is None else type(self._config)  # the class of a test reads keywords only
        config = kind(**{**given, **self._options, **overrides})
        strategies = strategies_of(self._grains, self._placement)
        if self._telemetry is not None and telemetry is not None:
            provider = self._telemetry.set_global_provider or telemetry.set_global_provider
            telemetry = msgspec.structs.replace(self._telemetry, set_global_provider=provider)
        telemetry = telemetry or self._telemetry
        return SiloDefinition(
            self._grains, config, self._services, self._errors, strategies, telemetry, self, self._silo_services,
            self._startup, self._background, self._filters, self._authorize, self._authenticate,
            self._known_secrets or known_secrets,
        )  # fmt: skip

    async def start(self, environment: SiloEnvironment | None = None, **overrides: Any) -> None:
        """Start all parts and join the cluster. `async with` calls this.

        Tests replace network and stores by `environment`; `overrides` are options of `SiloConfig`. If the start fails,
        the parts that were started stop again.
        """
        if self._lifecycle is not None:
            raise RuntimeError("this silo was started already; make a new Silo to start again")
        definition = self.definition(**overrides)
        self._lifecycle = Lifecycle()
        async with self._lifecycle.starting() as parts:
            definition = await with_secrets(parts, definition)
            environment = environment or ConfiguredEnvironment(definition.config)
            self._parts = await assemble(parts, definition, environment, self._lifecycle)
            await admit_and_join(parts, self._parts)  # its grains may use this object from here on

    async def stop(self) -> None:
        """Drain, leave the cluster and close all parts. Running calls complete; later calls go to other silos."""
        await self._begun.stop()

    async def kill(self) -> None:
        """Close all parts at once, without a message to other silos, as in a crash. For tests."""
        await self._begun.kill()

    async def declared_dead(self) -> DeclaredDead | SelfFenced:
        """Wait until the cluster declares this silo dead, or the silo was fenced for too long.

        Returns the error with which the process should end.
        """
        return await self._here("Silo.declared_dead").cluster.agent.declared_dead()

    async def asked_to_stop(self) -> None:
        """Wait for an operator to drain this silo (`grange drain`). The silo then stops without a call of `stop`."""
        await self._here("Silo.asked_to_stop").lifecycle.asked_to_stop.wait()

    def get_grain(self, grain: type[G], key: Key, *, implementation: str | None = None) -> G:
        """Make a reference to a grain, for code in this process that is not a grain."""
        return self._running.calls.grains.get_grain(grain, key, implementation=implementation)

    def list_grains(self, grain: type[G], **options: Unpack[ListOptions]) -> AsyncGenerator[StoredGrain[G]]:
        """The stored grains of a class, page by page: see `GrainFinder.list_grains`."""
        return self._running.hosting.finder.list_grains(grain, **options)

    def find_grains(
        self, grain: type[G], where: Mapping[str, Any], **options: Unpack[FindOptions]
    ) -> AsyncGenerator[G]:
        """The grains with these values in indexed fields, page by page: see `GrainFinder.find_grains`."""
        return self._running.hosting.finder.find_grains(grain, where, **options)

    def get_service(self, service: type[S], key: Key) -> S:
        """A reference to the object of a silo service that owns this key, on any silo, typed as its class."""
        return self._running.calls.services.get_service(service, key)

    @property
    def jobs(self) -> Jobs:
        """Durable one-shot jobs for grains, scheduled by code of this process that is not a grain."""
        jobs = self._running.hosting.reminders.jobs
        if jobs is None:
            raise RuntimeError("the storage of this silo keeps no jobs; name one that does: reminders.provider")
        return jobs

    @property
    def client(self) -> HostedClient:
        """A client in this process, for code that is not a grain: calls grains, and has observers."""
        return HostedClient(self._running.calls.grains, self._running.hosting.finder, self._running.hosting.clients.own)

    @property
    def address(self) -> SiloAddress:
        """The address at which other silos reach this one."""
        return self._running.ports.address

    @property
    def name(self) -> str:
        """The name of this silo for people: the option `name`, or host and port."""
        return self._running.ports.name

    @property
    def gateway(self) -> str:
        """The gateway for clients: host:port, or [host]:port for an IPv6 address."""
        return endpoint_of(self._running.ports.address.host, self._running.ports.gateway_port)

    @property
    def http(self) -> str:
        """The admin port for probes and browsers: host:port, or empty without the option `http`."""
        return self._running.ports.admin.place

    @property
    def view(self) -> View:
        """The newest view of the cluster that this silo has."""
        return self._running.cluster.agent.view

    def subscribe(self, subscriber: Callable[[View], None]) -> Callable[[], None]:
        """Call `subscriber` with each newer view, once and in order. Returns a function that ends the subscription."""
        return self._running.cluster.agent.subscribe(subscriber)

    @property
    def management(self) -> Management:
        """The state of this silo, for tests and tools in this process."""
        return self._running.hosting.management

    @property
    def cluster_management(self) -> ClusterManagement:
        """The management of the whole cluster, for code of this silo, as an admin."""
        running = self._running
        ask = asking_from(running.ports.address, running.hosting.silo_targets, running.links.sender.ask)
        return ClusterManagement(ask, lambda: self.view, self.name)

    @property
    def inspection(self) -> Inspection:
        """The figures and activations of this silo, for tests and tools in this process."""
        return self._running.inspection

    @property
    def control(self) -> Control:
        """The acts of operators on this silo, states and schemas, for tests and tools in this process."""
        return self._running.control

    @property
    def catalog(self) -> Catalog:
        """The activations of this silo, for tests and tools in this process."""
        return self._running.hosting.catalog

    @property
    def directory(self) -> ClusterDirectory:
        """This silo's part of the grain directory, for tests and tools in this process."""
        return self._running.cluster.directory

    async def wait_for(self, active: Collection[SiloAddress]) -> None:
        """Wait until exactly these silos are active in the newest view of this silo."""
        await self._here("Silo.wait_for").cluster.agent.wait_for(
            lambda view: {member.address for member in view.active} == set(active)
        )

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._begun.binding.is_in_fork:
            return  # let a fork end as it ends
        await self.stop()

    def _here(self, action: str) -> RunningSilo:
        """The parts of this silo, for code that awaits them. Raises WrongLoop in another event loop or process."""
        self._begun.binding.check(action)
        return self._running

    @property
    def _running(self) -> RunningSilo:
        if self._parts is None:
            raise RuntimeError("this silo is not running; use it inside `async with silo:`")
        return self._parts

    @property
    def _begun(self) -> Lifecycle:
        if self._lifecycle is None:
            raise RuntimeError("this silo is not running; use it inside `async with silo:`")
        return self._lifecycle


async def run_until(silo: Silo, stop: asyncio.Event) -> DeclaredDead | SelfFenced | None:
    """Wait until `stop` is set, an operator drains the silo, or the cluster declares it dead.

    Returns the error in the last case, else None.
    """
    dead = asyncio.create_task(silo.declared_dead())
    tasks = (dead, asyncio.create_task(stop.wait()), asyncio.create_task(silo.asked_to_stop()))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return dead.result() if dead.done() else None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
