"""`Silo`: one server process that hosts grains. `async with Silo(grains=[...])`, or `grange run module:silo`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import svcs

from grange.directory.cluster import ClusterDirectory
from grange.errors import DeclaredDead, SelfFenced
from grange.grains.definition import Addressable
from grange.grains.grain import Grain
from grange.membership.model.member import View
from grange.placement.provider import PlacementStrategy
from grange.placement.strategies import builtin_strategies
from grange.proto.ids import SiloAddress
from grange.proto.keys import Key
from grange.runtime.activations.catalog import Catalog
from grange.silo.config import SiloConfig
from grange.silo.definition import SiloDefinition, as_classes
from grange.silo.environment import ConfiguredEnvironment, SiloEnvironment
from grange.silo.management import Management
from grange.silo.startup import Startup

G = TypeVar("G", bound=Addressable)


class Silo:
    """A silo, described when it is made and running inside its `async with`.

    `grains` are the classes it hosts; `services` the svcs registry that their constructors draw from; `errors`
    exception classes of yours that callers receive as themselves; `placement` further placement strategies. All
    other options are those of `SiloConfig` and may also come from the environment or `grange.toml`.

    Raises ConfigurationError for a wrong option or class, here or at start, and at start StorageUnavailable,
    MembershipUnavailable or JoinFailed.
    """

    def __init__(
        self,
        grains: Sequence[type[Grain[Any]]],
        *,
        services: svcs.Registry | None = None,
        errors: Iterable[type[Exception]] = (),
        placement: Iterable[PlacementStrategy] = (),
        config: SiloConfig | None = None,
        **options: Any,
    ) -> None:
        self._grains = as_classes(grains)
        self._services = services or svcs.Registry()
        self._errors = tuple(errors)
        self._placement = tuple(placement)
        self._config = config
        self._options = options
        self._startup: Startup | None = None

    def definition(self, **overrides: Any) -> SiloDefinition:
        """Everything this silo is made of, with the configuration read now; `overrides` win over all other sources."""
        given = self._config.model_dump() if self._config is not None else {}
        kind = SiloConfig if self._config is None else type(self._config)  # a test's looks at keywords only
        config = kind(**{**given, **self._options, **overrides})
        strategies = {**builtin_strategies(), **{each.name: each for each in self._placement}}
        return SiloDefinition(self._grains, config, self._services, self._errors, strategies)

    async def start(self, environment: SiloEnvironment | None = None, **overrides: Any) -> None:
        """Start all parts and join the cluster; `async with` does it. `environment` replaces the outside in tests."""
        if self._startup is not None:
            raise RuntimeError("this silo was started already; make a new Silo to start again")
        definition = self.definition(**overrides)
        self._startup = Startup(definition, environment or ConfiguredEnvironment(definition.config))
        await self._startup.start()

    async def stop(self) -> None:
        """Drain and leave: running calls complete, then activations end. Calls that come meanwhile go elsewhere."""
        await self._running.stop()

    async def kill(self) -> None:
        """End at once and tell nobody, as a crash would. For tests."""
        await self._running.kill()

    async def declared_dead(self) -> DeclaredDead | SelfFenced:
        """Wait until the cluster gives this silo up, or it gives itself up; returns the error with which the process
        should end.
        """
        return await self._running.agent.declared_dead()

    async def asked_to_stop(self) -> None:
        """Wait until somebody drains this silo through management (`grange drain`); it stops by itself then."""
        await self._running.asked_to_stop.wait()

    def get_grain(self, grain: type[G], key: Key, *, implementation: str | None = None) -> G:
        """A reference to a grain, for code in this process that is not a grain."""
        return self._running.grains.get_grain(grain, key, implementation=implementation)

    @property
    def address(self) -> SiloAddress:
        """Where other silos reach it."""
        return self._running.address

    @property
    def gateway(self) -> str:
        """Where clients reach it: host:port."""
        return f"{self._running.address.host}:{self._running.gateway_port}"

    @property
    def view(self) -> View:
        """The cluster as this silo knows it."""
        return self._running.agent.view

    def subscribe(self, subscriber: Callable[[View], None]) -> Callable[[], None]:
        """Have `subscriber` called with each newer view, once and in order. Returns what ends that."""
        return self._running.agent.subscribe(subscriber)

    @property
    def management(self) -> Management:
        """See and steer this silo."""
        return self._running.management

    @property
    def catalog(self) -> Catalog:
        """The activations of this silo, for tests and tools in this process."""
        return self._running.catalog

    @property
    def directory(self) -> ClusterDirectory:
        """This silo's part of the grain directory, for tests and tools in this process."""
        return self._running.directory

    async def wait_for(self, active: Collection[SiloAddress]) -> None:
        """Wait until this silo sees exactly these silos as active."""
        await self._running.agent.wait_for(lambda view: {member.address for member in view.active} == set(active))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def _running(self) -> Startup:
        if self._startup is None:
            raise RuntimeError("this silo is not running; use it inside `async with silo:`")
        return self._startup


async def run_until(silo: Silo, stop: asyncio.Event) -> DeclaredDead | SelfFenced | None:
    """Serve until `stop` is set, somebody drains the silo, or the cluster gives it up; returns the error in the last
    case.
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
