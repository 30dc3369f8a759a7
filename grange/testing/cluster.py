"""`TestCluster`: several silos and a client in one process, on a memory network, in virtual time."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import (
    AsyncExitStack,
)
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from grange import clock
from grange.aio.uninterrupted import uninterrupted
from grange.audit.memory import MemoryRows, table_of_test
from grange.client.client import Client
from grange.errors import ConfigurationError
from grange.grains.definition import Addressable
from grange.grains.filters import Filter
from grange.grains.grain import Grain
from grange.grains.service import SiloService
from grange.membership.model.provider import MembershipTable
from grange.membership.providers.memory import MemoryMembershipTable
from grange.observability.telemetry import Telemetry, as_telemetry
from grange.placement.provider import PlacementStrategy
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.keys import Key
from grange.runtime.activations.activation import Activation
from grange.security.certificate import Certificate
from grange.security.policy import Authorize
from grange.silo.config import SiloConfig
from grange.silo.definition import as_authorize, as_classes, as_errors, as_silo_filters, as_silo_services, as_strategies
from grange.silo.identities import Authenticate, as_authenticate, configured_tokens
from grange.silo.own_code import functions_of
from grange.silo.services import Services
from grange.silo.silo import Silo
from grange.storage.memory import MemoryStorage
from grange.storage.provider import GrainStorage
from grange.testing.cluster_environment import ClusterEnvironment
from grange.testing.loop import VirtualTime, clock_of_loop
from grange.transport.memory import MemoryTransport
from grange.transport.memory_network import MemoryNetwork
from grange.transport.provider import Transport

G = TypeVar("G", bound=Addressable)

STABLE_TIMEOUT = 60.0
"""Virtual seconds within which a healthy cluster agrees on its active silos."""


class KeywordConfig(SiloConfig):
    """A configuration from keywords only: neither the environment nor a file changes a test."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """See pydantic-settings: use the keywords of the test only."""
        return (init_settings,)


class TestCluster:
    """A whole cluster for one test: `async with TestCluster(grains=[Cart], silos=2) as cluster:`.

    Time is virtual: when no work is left, the clock jumps to the next timer, so minutes of cluster time take
    milliseconds. All randomness comes from `seed`. State is in memory and shared by all silos, including those added or
    restarted. Inside the block, `silos` are the running silos, `client` is a connected client, `network` the network.
    `client` is an admin in management, and so is another client with the token `admin_token`. Addresses repeat from
    run to run; in a store that several clusters use, `writer` tells their silos apart.

    `storage` replaces the default storage (for example by one that fails), `storages` adds named ones; other options
    are those of `SiloConfig`, and `authenticate` that of `Silo`. `services` are set up and closed with each silo, also
    with a silo that is killed. `telemetry` traces the calls of the silos and of the client. The filters are those of
    the silos; a client with filters is made as in `new_transport`.
    With `one_host` a silo finds at once that another one was killed, as on one machine; else by probes that it missed.
    `virtual_time=False` keeps the loop's real clock, as real databases need.

    Several clusters in one event loop share a virtual clock, nested or one after another. Entering
    raises ConfigurationError for virtual time in a loop where silos or clients run in real time, and the reverse.
    """

    __test__ = False  # pytest must not collect this class, although its name starts with Test

    time: VirtualTime | None = None
    _client: Client | None = None
    _entered = False
    _names = 0  # of silos, so that each gets one of its own

    def __init__(
        self,
        grains: Sequence[type[Grain[Any]]],
        *,
        silos: int = 2,
        seed: int = 0,
        services: Services | None = None,
        errors: Iterable[type[Exception]] = (),
        placement: Iterable[PlacementStrategy] = (),
        silo_services: Iterable[type[SiloService]] = (),
        startup: Iterable[Callable[[Silo], Awaitable[None]]] = (),
        background: Iterable[Callable[[Silo], Awaitable[None]]] = (),
        incoming_filters: Iterable[Filter] = (),
        outgoing_filters: Iterable[Filter] = (),
        authorize: Authorize | None = None,
        storage: GrainStorage | None = None,
        storages: Mapping[str, GrainStorage] | None = None,
        virtual_time: bool = True,
        one_host: bool = False,
        telemetry: Telemetry | None = None,
        authenticate: Authenticate | None = None,
        **options: Any,
    ) -> None:
        self._count = _at_least_one(silos)
        filters = as_silo_filters(incoming_filters, outgoing_filters)
        self._definition: dict[str, Any] = {
            "grains": as_classes(grains), "errors": as_errors(errors), "telemetry": as_telemetry(telemetry),
            "placement": as_strategies(placement), "silo_services": as_silo_services(silo_services),
            "startup": functions_of("startup", startup), "background": functions_of("background", background),
            "incoming_filters": filters.incoming, "outgoing_filters": filters.outgoing, "services": services,
            "authorize": as_authorize(authorize), "authenticate": as_authenticate(authenticate),
        }  # fmt: skip
        self._options, self._virtual, self._one_host = options, virtual_time, one_host
        self._parts, self._identity = AsyncExitStack(), f"test-{uuid.uuid4().hex}"
        self.admin_token: str = options.get("admin_token", self._identity)
        self.random, self.network = random.Random(seed), MemoryNetwork()
        self.storage: GrainStorage = storage or MemoryStorage(clock=self._store_clock)
        self.storages: dict[str, GrainStorage] = {**(storages or {}), "default": self.storage}
        self.table: MembershipTable = MemoryMembershipTable()
        self.silos, self._clocks, self.audit = list[Silo](), dict[Silo, _WallClock](), MemoryRows()

    def _store_clock(self) -> float:
        return (clock.utc_now() if self.time is None else self.time.utc_now()).timestamp()

    @property
    def client(self) -> Client:
        """The connected client. Its gateways are the silos with which the cluster started."""
        if self._client is None:
            raise RuntimeError("the cluster is not running; use it inside `async with cluster:`")
        return self._client

    def get_grain(self, grain: type[G], key: Key, *, implementation: str | None = None) -> G:
        """A reference that calls through the client."""
        return self.client.get_grain(grain, key, implementation=implementation)

    async def advance(self, seconds: float) -> None:
        """Let this many virtual seconds pass; run all timers and tasks that are due in them."""
        if self.time is None:
            raise RuntimeError("advance() needs virtual time; this cluster runs on the real clock")
        await self.time.advance(seconds)

    def new_transport(self, name: str, certificate: Certificate | None = None) -> Transport:
        """A transport for another client, as a separate process on the network; closed with the cluster.

        `certificate` is the one that it shows to the silos, as if the network had TLS.
        `Client([silo.gateway for silo in cluster.silos], transport=cluster.new_transport("other"))`
        """
        transport = MemoryTransport(self.network, name, certificate=certificate)
        self._parts.push_async_callback(transport.close)
        return transport

    async def add_silo(
        self,
        *,
        grains: Sequence[type[Grain[Any]]] | None = None,
        silo_services: Iterable[type[SiloService]] | None = None,
        **options: Any,
    ) -> Silo:
        """Start another silo and wait until it is active. What is given here is in place of the cluster's."""
        given = {"grains": grains, "silo_services": silo_services}
        silo = await self._start_silo(options, {name: each for name, each in given.items() if each is not None})
        await self.stable()
        return silo

    async def stop(self, silo: Silo) -> None:
        """Stop a silo in order, as SIGTERM does, and wait until the other silos no longer see it as active."""
        self.silos.remove(silo)
        await silo.stop()
        await self.stable()

    async def kill(self, silo: Silo) -> None:
        """Kill a silo, as SIGKILL does. The other silos detect its death later, or at once with `one_host`."""
        self.silos.remove(silo)
        self.network.kill(_node(silo))
        await silo.kill()

    async def restart(self, silo: Silo) -> Silo:
        """Kill a silo and start a new generation on the same endpoint."""
        await self.kill(silo)
        gateway = int(silo.gateway.rpartition(":")[2])
        return await self.add_silo(port=silo.address.port, gateway_port=gateway)

    def shift_clock(self, silo: Silo, seconds: float) -> None:
        """Set the wall clock of one silo forwards, or back (below 0), as an operator does. Timers go on unchanged."""
        self._clocks[silo].error += timedelta(seconds=seconds)

    def partition(self, one: Silo, other: Silo, *, one_way: bool = False) -> None:
        """Cut the line between two silos, or only from the first to the second."""
        self.network.partition(_node(one), _node(other), one_way=one_way)

    def reject(self, one: Silo, other: Silo, *, one_way: bool = False) -> None:
        """Have a firewall refuse the packets between two silos, or only those of the first: their connections end."""
        self.network.reject(_node(one), _node(other), one_way=one_way)

    def heal(self) -> None:
        """Repair every line."""
        self.network.heal()

    async def stable(self) -> None:
        """Wait until every running silo and the client see exactly the running silos as active."""
        expected = {silo.address for silo in self.silos}
        async with asyncio.timeout(STABLE_TIMEOUT):
            for silo in self.silos:
                await silo.wait_for(expected)
            if self._client is not None and self.silos:
                await self._client.wait_for(expected)

    def where(self, reference: Addressable) -> Silo | None:
        """The silo that hosts the activation of this grain, or None."""
        activation = self.activation(reference)
        if activation is None:
            return None
        return next((silo for silo in self.silos if silo.address == activation.owner.deps.address), None)

    def activation(self, reference: Addressable) -> Activation | None:
        """The live activation of a grain, or None."""
        grain_id: GrainId = reference.id  # type: ignore[attr-defined]
        for silo in self.silos:
            for activation in silo.catalog.activations():
                if activation.grain_id == grain_id:
                    return activation
        return None

    def writer(self, silo: SiloAddress) -> SiloAddress:
        """The identity of a silo of this cluster in its stores: stamps name it, and `GrainStorage.fence` takes it.

        The host names this cluster: no silo of another `TestCluster` has this identity, in this process or another.
        """
        return SiloAddress(f"{self._identity}.{silo.host}", silo.port, silo.generation)

    def count(self, grain: type[Grain[Any]] | None = None) -> int:
        """The number of live activations in the cluster, of one class or of all."""
        activations = [activation for silo in self.silos for activation in silo.catalog.activations()]
        return sum(grain is None or activation.hosted.cls is grain for activation in activations)

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("this test cluster runs already; make another TestCluster for another `async with`")
        self._entered = True
        parts = AsyncExitStack()
        try:
            await self._start(parts)
        except BaseException:
            await uninterrupted(parts.aclose())  # a second cancellation must not leave parts behind
            self._entered = False
            raise
        self._parts = parts
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._parts.aclose()
        finally:
            self._client = None
            self._entered = False

    async def _start(self, parts: AsyncExitStack) -> None:
        self.time = parts.enter_context(clock_of_loop(self._virtual))
        parts.push_async_callback(self._kill_all)
        for _ in range(self._count):
            await self._start_silo({})
        transport = MemoryTransport(self.network, "client")
        parts.push_async_callback(transport.close)
        gateways = [silo.gateway for silo in self.silos]
        client = Client(
            gateways,
            errors=self._definition["errors"],
            telemetry=self._definition["telemetry"],
            transport=transport,
            rng=self._rng(),
            token=self.admin_token,
        )
        self._client = await parts.enter_async_context(client)
        await self.stable()

    async def _start_silo(self, options: dict[str, Any], definition: Mapping[str, Any] | None = None) -> Silo:
        self._names += 1
        name = f"silo-{self._names}"
        values: dict[str, Any] = {
            "name": name,
            "port": 0,
            "gateway_port": 0,
            "admin_token": self.admin_token,
            **self._options,
            **options,
        }
        config = KeywordConfig(**values)
        silo = Silo(**{**self._definition, **(definition or {})}, config=config)
        wall = self._clocks[silo] = _WallClock(clock.utc_now if self.time is None else self.time.utc_now)
        environment = ClusterEnvironment(
            name, self._names, self.network, self.table, self.storages, self._rng(), wall.now, self.writer,
            configured_tokens(config), self.time is None, self._one_host,
            partial(table_of_test, config.audit, self.audit),
        )  # fmt: skip
        await silo.start(environment)
        self.silos.append(silo)
        return silo

    async def _kill_all(self) -> None:
        """Kill all silos: a finished test needs no drain."""
        while self.silos:
            await self.kill(self.silos[-1])

    def _rng(self) -> random.Random:
        return random.Random(self.random.getrandbits(64))


class _WallClock:
    """The wall clock of one silo, with its error."""

    def __init__(self, right: Callable[[], datetime]) -> None:
        self._right = right
        self.error = timedelta()

    def now(self) -> datetime:
        return self._right() + self.error


def _at_least_one(silos: int) -> int:
    if not isinstance(cast("object", silos), int) or silos < 1:
        raise ConfigurationError(f"silos= is the number of silos at the start, 1 or more, not {silos!r:.100}")
    return silos


def _node(silo: Silo) -> str:
    """The name of a silo on the network: its endpoint."""
    return silo.address.endpoint
