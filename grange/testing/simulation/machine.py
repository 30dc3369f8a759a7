"""One machine of a simulation: runs a silo, restarts it after it has ended, and can be killed or paused."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Protocol

from grange.errors import GrangeError
from grange.grains.grain import Grain
from grange.grains.registry import Registry
from grange.membership.model.member import View
from grange.membership.model.provider import MembershipTable
from grange.proto.ids import SiloAddress
from grange.security.certificate import Certificate
from grange.silo.environment import InMemoryEnvironment
from grange.silo.identities import Tokens
from grange.silo.silo import Silo, run_until
from grange.storage.provider import GrainStorage
from grange.testing.cluster import KeywordConfig
from grange.testing.simulation.databases import Database, DatabaseContents, SimulatedStorage, SimulatedTable
from grange.testing.simulation.event_log import EventLog
from grange.testing.simulation.loop import Process, SimulatedLoop
from grange.testing.simulation.network import SimulatedNetwork
from grange.testing.simulation.processes import HostProcesses, ProcessesSeen
from grange.testing.simulation.transport import SimulatedTransport
from grange.testing.simulation.wall_clock import WallClock
from grange.transport.provider import Transport

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

KILL_TIMEOUT = 60.0
"""Seconds within which the tasks of a killed silo must have ended."""

REBUILD_TIMEOUT = 30
"""Seconds to wait for running silos to rebuild a lost table; there may be no such silo."""


class MachineDeps(Protocol):
    """The parts of a simulation that its machines use."""

    loop: SimulatedLoop
    network: SimulatedNetwork
    table: Database
    store: Database
    contents: DatabaseContents
    event_log: EventLog
    processes: HostProcesses
    rng: random.Random

    def services(self, process: Process) -> Registry:
        """The registry of the services of one silo's grains."""
        ...

    def on_view(self, silo: str, view: View) -> None:
        """A silo published a view."""
        ...

    def report_violation(self, invariant: str, key: str, text: str) -> None:
        """Report a violation that was found during the run."""
        ...

    def certificate(self, name: str) -> Certificate:
        """The certificate of a process: `silo`, or `client/NAME`."""
        ...


class Machine:
    """An endpoint and the silo processes that run there one after the other, each a new generation."""

    def __init__(
        self,
        number: int,
        deps: MachineDeps,
        grains: Sequence[type[Grain[Any]]],
        options: Mapping[str, Any],
    ) -> None:
        self.name = f"silo-{number}"
        self.host = str(options["host"])
        self.gateway = f"{self.host}:{30_000 + number}"
        self.clock = WallClock(random.Random(deps.rng.getrandbits(64)))
        self._number = number
        self._deps = deps
        self._grains = tuple(grains)
        self._options = options
        self._stop = asyncio.Event()
        self._starts = 0
        self._task: asyncio.Task[None] | None = None
        self._cleanups: list[asyncio.Task[None]] = []
        self.process = Process(f"{self.name}#0")
        self.silo: Silo | None = None
        self.ready = False

    @property
    def up(self) -> bool:
        """Whether the machine is on: a silo runs, or is about to start."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Switch the machine on: start a silo, and restart it each time it ends, also when it is draining now."""
        if self._stop.is_set():
            self._stop = asyncio.Event()
        if not self.up:
            with self._deps.loop.within(self._deps.loop.harness):
                self._task = asyncio.create_task(self._run_generations())

    async def kill(self) -> None:
        """Kill the process, as SIGKILL does, and leave the machine off. Messages that it sent still arrive."""
        task, self._task = self._task, None
        self._on_process_end()
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def stop(self) -> None:
        """Have the silo drain and leave, as SIGTERM does, and leave the machine off."""
        self._stop.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    def pause(self) -> None:
        """Pause the process, as SIGSTOP does."""
        if self.process.alive and not self.process.paused:
            self._deps.loop.pause(self.process)
            self._deps.network.on_paused(self.process)

    def resume(self) -> None:
        """Resume a paused process."""
        if self.process.paused:
            self._deps.loop.resume(self.process)

    async def close(self) -> None:
        """Kill the process, and wait until all tasks of all processes have ended."""
        await self.kill()
        while self._cleanups:
            await self._cleanups.pop()

    # -- one generation after the other --

    async def _run_generations(self) -> None:
        while not self._stop.is_set():
            await self._wait_for_table()
            self._starts += 1
            self.process = Process(f"{self.name}#{self._starts}")
            self.ready = False
            with self._deps.loop.within(self.process):
                generation = asyncio.create_task(self._run_generation(self.process))
            try:
                await asyncio.shield(generation)
            except asyncio.CancelledError:
                generation.cancel()
                self._cleanups.append(generation)
                raise
            self._on_process_end()
            if not self._stop.is_set():
                await asyncio.sleep(0.5 + self._deps.rng.random())

    async def _wait_for_table(self) -> None:
        """Start no silo while the table is lost: on an empty table a silo founds a separate cluster (ADR 0048)."""
        seconds_left = REBUILD_TIMEOUT
        while self._deps.contents.lost and seconds_left > 0:
            await asyncio.sleep(1.0)
            seconds_left -= 1

    async def _run_generation(self, process: Process) -> None:
        """Start a silo and serve until it ends, for any reason. Runs in the silo's process."""
        deps = self._deps
        config = KeywordConfig(
            name=self.name, port=11_000 + self._number, gateway_port=30_000 + self._number, **self._options
        )
        silo = Silo(self._grains, config=config, services=deps.services(process))
        deps.event_log.record("silo_starts")
        try:
            seen = deps.processes.start(self.host, self._number, self._starts, process)
            await silo.start(_MachineEnvironment(deps, process, self.clock, seen))
            silo.subscribe(lambda view: deps.on_view(process.name, view))
            deps.on_view(process.name, silo.view)
            self.silo, self.ready = silo, True
            deps.event_log.record("silo_ready", str(silo.address))
            fatal = await run_until(silo, self._stop)
            self._clear_ready(process)
            if fatal is None:
                await silo.stop()
                deps.event_log.record("silo_left")
            else:
                deps.event_log.record("silo_given_up")
                await self._kill_silo(silo)
        except GrangeError as error:
            deps.event_log.record("silo_failed", f"{type(error).__name__}: {error}")
        except asyncio.CancelledError:
            self._clear_ready(process)
            with suppress(RuntimeError):
                await self._kill_silo(silo)

    def _clear_ready(self, process: Process) -> None:
        """Clear `ready`, unless a newer generation has started: tasks of a killed generation may end late."""
        if self.process is process:
            self.ready = False

    async def _kill_silo(self, silo: Silo) -> None:
        try:
            async with asyncio.timeout(KILL_TIMEOUT):
                await silo.kill()
        except TimeoutError:
            self._deps.report_violation("I9", self.name, f"a killed silo had not ended after {KILL_TIMEOUT} s")

    def _on_process_end(self) -> None:
        self.ready = False
        if self.process.alive:
            self.process.alive = False
            self._deps.event_log.record("process_ended", self.process.name)
            self._deps.network.on_process_end(self.process)
            self.resume()


class _MachineEnvironment(InMemoryEnvironment):
    """The environment of one simulated silo (`SiloEnvironment`)."""

    def __init__(self, deps: MachineDeps, process: Process, clock: WallClock, seen: ProcessesSeen) -> None:
        self._deps = deps
        self._process = process
        self._clock = clock
        self._seen = seen
        self.real_time = False
        self.random = random.Random(deps.rng.getrandbits(64))

    def utc_now(self) -> datetime:
        return self._clock.at(self._deps.loop.time())

    def uptime(self) -> float:
        return self._deps.loop.time()

    def generation(self) -> int:
        return int((self.utc_now() - _UNIX_EPOCH).total_seconds() * 1000)

    def writer(self, silo: SiloAddress) -> SiloAddress:
        return silo

    def first_change(self) -> int:
        return random.Random(self._process.name).getrandbits(62)

    def tokens(self) -> Tokens:
        return Tokens()

    def processes(self) -> ProcessesSeen:
        return self._seen

    @asynccontextmanager
    async def transport(self, _tls: object) -> AsyncGenerator[Transport]:
        transport = SimulatedTransport(self._deps.network, self._process, certificate=self._deps.certificate("silo"))
        try:
            yield transport
        finally:
            await transport.close()

    @asynccontextmanager
    async def table(self) -> AsyncGenerator[MembershipTable]:
        yield SimulatedTable(self._deps.table, self._deps.contents, self._process)

    @asynccontextmanager
    async def storages(self) -> AsyncGenerator[Mapping[str, GrainStorage]]:
        yield {"default": SimulatedStorage(self._deps.store, self._deps.contents, self._process)}
