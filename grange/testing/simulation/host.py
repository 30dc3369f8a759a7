"""One machine of a simulation: it runs a silo, starts it again when it has ended, and can be crashed or paused."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import svcs

from grange.errors import GrangeError
from grange.grains.grain import Grain
from grange.membership.model.member import View
from grange.membership.model.provider import MembershipTable
from grange.silo.silo import Silo, run_until
from grange.storage.provider import GrainStorage
from grange.testing.cluster import KeywordConfig
from grange.testing.simulation.loop import Process, SimulatedLoop
from grange.testing.simulation.network import SimulatedNetwork
from grange.testing.simulation.stores import Database, Memory, SimulatedStorage, SimulatedTable
from grange.testing.simulation.trace import Trace
from grange.testing.simulation.transport import SimulatedTransport
from grange.transport.provider import Transport

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""Where the wall clock of a simulation starts."""

KILL_TIMEOUT = 60.0
"""Seconds in which a killed silo's tasks must have ended."""


REBUILT = 30
"""Seconds in which a lost table is rebuilt, if anybody is left to do it."""


class MachineDeps(Protocol):
    """What a machine finds in its simulation."""

    loop: SimulatedLoop
    network: SimulatedNetwork
    table: Database
    store: Database
    memory: Memory
    trace: Trace
    rng: random.Random

    def services(self, process: Process) -> svcs.Registry:
        """What the grains of a silo draw from."""
        ...

    def seen(self, silo: str, view: View) -> None:
        """A silo published a view."""
        ...

    def broken(self, invariant: str, key: str, text: str) -> None:
        """Something must not be."""
        ...


class Machine:
    """An endpoint and the processes that run there, one after the other, each a new generation."""

    def __init__(
        self,
        number: int,
        deps: MachineDeps,
        grains: Sequence[type[Grain[Any]]],
        options: Mapping[str, Any],
    ) -> None:
        self.name = f"silo-{number}"
        self.gateway = f"127.0.0.1:{30_000 + number}"
        self._number = number
        self._deps = deps
        self._grains = tuple(grains)
        self._options = options
        self._stop = asyncio.Event()
        self._starts = 0
        self._life: asyncio.Task[None] | None = None
        self._cleanups: list[asyncio.Task[None]] = []
        self.process = Process(f"{self.name}#0")
        self.silo: Silo | None = None
        self.ready = False

    @property
    def up(self) -> bool:
        """Whether a silo runs here, or is about to."""
        return self._life is not None and not self._life.done()

    def start(self) -> None:
        """Switch it on: from now on a silo that ends by itself is started again, also one that drains just now."""
        if self._stop.is_set():
            self._stop = asyncio.Event()
        if not self.up:
            with self._deps.loop.within(self._deps.loop.outside):
                self._life = asyncio.create_task(self._live())

    async def crash(self) -> None:
        """End the process at once, as SIGKILL does, and leave the machine off. What it had sent is on its way."""
        life, self._life = self._life, None
        self._die()
        if life is not None:
            life.cancel()
            with suppress(asyncio.CancelledError):
                await life

    async def stop(self) -> None:
        """Have the silo drain and leave, as SIGTERM does, and leave the machine off."""
        self._stop.set()
        if self._life is not None:
            await asyncio.wait([self._life])

    def pause(self) -> None:
        """Let the process stand still, as SIGSTOP does."""
        if self.process.alive and not self.process.paused:
            self._deps.loop.pause(self.process)
            self._deps.network.on_paused(self.process)

    def resume(self) -> None:
        """Let it go on."""
        if self.process.paused:
            self._deps.loop.resume(self.process)

    async def close(self) -> None:
        """Crash, and wait until nothing of any process is left."""
        await self.crash()
        while self._cleanups:
            await self._cleanups.pop()

    # -- one life after the other --

    async def _live(self) -> None:
        while not self._stop.is_set():
            await self._table_rebuilt()
            self._starts += 1
            self.process = Process(f"{self.name}#{self._starts}")
            self.ready = False
            with self._deps.loop.within(self.process):
                one_life = asyncio.create_task(self._one_life(self.process))
            try:
                await asyncio.shield(one_life)
            except asyncio.CancelledError:
                one_life.cancel()
                self._cleanups.append(one_life)
                raise
            self._die()
            if not self._stop.is_set():
                await asyncio.sleep(0.5 + self._deps.rng.random())

    async def _table_rebuilt(self) -> None:
        """Start nothing while the table is lost: on an empty one a silo founds a cluster of its own (ADR 0071)."""
        patience = REBUILT
        while self._deps.memory.lost and patience > 0:
            await asyncio.sleep(1.0)
            patience -= 1

    async def _one_life(self, process: Process) -> None:
        """In the silo's process: start, serve, and end in whatever way."""
        deps = self._deps
        config = KeywordConfig(
            name=self.name, port=11_000 + self._number, gateway_port=30_000 + self._number, **self._options
        )
        silo = Silo(self._grains, config=config, services=deps.services(process))
        deps.trace.saw("silo_starts")
        try:
            await silo.start(_MachineEnvironment(deps, process))
            silo.subscribe(lambda view: deps.seen(process.name, view))
            deps.seen(process.name, silo.view)
            self.silo, self.ready = silo, True
            deps.trace.saw("silo_ready", str(silo.address))
            given_up = await run_until(silo, self._stop)
            self._not_ready(process)
            if given_up is None:
                await silo.stop()
                deps.trace.saw("silo_left")
            else:
                deps.trace.saw("silo_given_up")
                await self._kill(silo)
        except GrangeError as error:
            deps.trace.saw("silo_failed", f"{type(error).__name__}: {error}")
        except asyncio.CancelledError:
            self._not_ready(process)
            with suppress(RuntimeError):
                await self._kill(silo)

    def _not_ready(self, process: Process) -> None:
        """Unless another life has begun meanwhile: what is left of a killed one may take long to unwind."""
        if self.process is process:
            self.ready = False

    async def _kill(self, silo: Silo) -> None:
        try:
            async with asyncio.timeout(KILL_TIMEOUT):
                await silo.kill()
        except TimeoutError:
            self._deps.broken("I9", self.name, f"a killed silo had not ended after {KILL_TIMEOUT} s")

    def _die(self) -> None:
        self.ready = False
        if self.process.alive:
            self.process.alive = False
            self._deps.trace.saw("process_ended", self.process.name)
            self._deps.network.sever(self.process)
            self.resume()


class _MachineEnvironment:
    """What one silo takes from outside."""

    def __init__(self, deps: MachineDeps, process: Process) -> None:
        self._deps = deps
        self._process = process
        self.random = random.Random(deps.rng.getrandbits(64))

    def utc_now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._deps.loop.time())

    def generation(self) -> int:
        return 1 + int(self._deps.loop.time() * 1000)

    @asynccontextmanager
    async def transport(self) -> AsyncGenerator[Transport]:
        transport = SimulatedTransport(self._deps.network, self._process)
        try:
            yield transport
        finally:
            await transport.close()

    @asynccontextmanager
    async def table(self) -> AsyncGenerator[MembershipTable]:
        yield SimulatedTable(self._deps.table, self._deps.memory, self._process)

    @asynccontextmanager
    async def storages(self) -> AsyncGenerator[Mapping[str, GrainStorage]]:
        yield {"default": SimulatedStorage(self._deps.store, self._deps.memory, self._process)}
