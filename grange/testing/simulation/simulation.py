"""`Simulation`: a whole cluster under a seed's faults, judged by the checkers."""

from __future__ import annotations

import asyncio
import gc
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import svcs

from grange.client.client import Client
from grange.errors import GrangeError
from grange.grains.grain import Grain
from grange.membership.model.member import View
from grange.proto.message import Message, Request
from grange.runtime.system_target import SYSTEM_TYPE
from grange.testing.checks.history import Recorder, Violation
from grange.testing.checks.membership import Seen
from grange.testing.checks.writers import overlaps
from grange.testing.simulation.host import Machine
from grange.testing.simulation.loop import Process, SimulatedLoop
from grange.testing.simulation.nemesis import Nemesis
from grange.testing.simulation.network import SimulatedNetwork
from grange.testing.simulation.stores import Memory, state_server, table_server
from grange.testing.simulation.trace import Trace
from grange.testing.simulation.transport import SimulatedTransport
from grange.testing.simulation.verdict import Evidence, judge
from grange.testing.simulation.workload import GRAINS, RESPONSE_TIMEOUT, Notebook, Notes, Worker

QUIET = 60.0
"""Seconds at the end without faults: what must come right by itself comes right in them."""

SETTLED = 45.0
"""Seconds of quiet after which everything is judged."""


class Result(msgspec.Struct):
    """What one run was: the same seed and commit give the same `hash`, which is that of the `log`.

    `counts` says how often each kind of thing happened; `figures` are sums for tables; `steps` callbacks run.
    """

    seed: int
    hash: str
    violations: list[Violation]
    counts: dict[str, int]
    figures: dict[str, float]
    steps: int
    log: list[str]

    def __str__(self) -> str:
        head = f"seed {self.seed}: {len(self.violations)} violations, event log {self.hash[:16]}"
        if not self.violations:
            return head
        lines = [head, *(f"  {each}" for each in self.violations), f"replay: make simulate SEED={self.seed}"]
        return "\n".join(lines)


OwnCall = Callable[[Client, random.Random], Awaitable[None]]
"""A call of the user's, made by the clients of a simulation."""


class Load(msgspec.Struct, frozen=True):
    """The workload: so many clients call so many counters and registers, each once in `pace` seconds on average.

    `own` is one more call of yours, made as often: a coroutine function of a client and a source of chance. Errors of
    grange are what faults bring; any other that it raises is a violation.
    """

    clients: int = 3
    keys: int = 15
    pace: float = 1.0
    own: OwnCall | None = None


LOAD = Load()
"""What a simulation is kept busy with unless it says otherwise."""


class Simulation:
    """Silos, clients, a network and databases in one thread and virtual time: `Simulation(seed=7).run()`.

    Everything is drawn from `seed`. `minutes` is virtual time, with a quiet minute at the end in which faults have
    healed; `calm` the mean seconds between two faults (0: no faults at all); `grains` are hosted beside those of the
    workload, whose size is `load`. Other options are those of `SiloConfig`. Each `Simulation` runs once, on a loop of
    its own: call it where no loop runs.
    """

    def __init__(
        self,
        seed: int,
        *,
        silos: int = 3,
        grains: Sequence[type[Grain[Any]]] = (),
        minutes: float = 10.0,
        calm: float = 20.0,
        load: Load = LOAD,
        **options: Any,
    ) -> None:
        self.seed = seed
        self._seconds = max(minutes * 60, QUIET + 30)
        self._calm = calm
        self._load = load
        self._grains = (*GRAINS, *grains)
        self._options = {"runtime": {"response_timeout": RESPONSE_TIMEOUT}, **options}
        self.rng = random.Random(seed)
        self.loop = SimulatedLoop(self._draw())
        self.trace = Trace(self.loop.time, lambda: self.loop.process.name)
        self.network = SimulatedNetwork(self.loop, self._draw(), self._sent)
        self.table = table_server(self.loop, self._draw())
        self.store = state_server(self.loop, self._draw())
        self.memory = Memory(self.trace)
        self._silos = silos
        self._clients = [Process(f"client-{number}") for number in range(1, load.clients + 1)]
        self._machines: list[Machine] = []
        self._recorder = Recorder(self.loop.time)
        self._notes = Notes(self.trace)
        self._views: list[Seen] = []
        self._broken: list[Violation] = []
        self._quiet_since = 0.0
        self._working = True
        self._messages: Counter[str] = Counter()

    def run(self) -> Result:
        """Run it and judge it. Prints nothing; `str(result)` says how to replay what it found."""
        if asyncio._get_running_loop() is not None:
            raise RuntimeError("a simulation runs an event loop of its own: call run() where no loop runs")
        self.loop.set_exception_handler(self._failed)
        collecting = gc.isenabled()
        gc.disable()  # what is collected at an arbitrary moment would run code at an arbitrary moment
        try:
            with self.trace.listening():
                violations = self.loop.run_until_complete(self._main())
        finally:
            self.loop.close()
            if collecting:
                gc.enable()
        counts = {**self.trace.counts, **{f"message:{name}": count for name, count in self._messages.items()}}
        duplicates = overlaps(self._notes.turns)
        counts["duplicate_turns"] = len(duplicates)
        figures = {
            "virtual_seconds": self._seconds,
            "calls": sum(event.kind == "invoke" for event in self._recorder.events),
            "duplicate_turns": len(duplicates),
            "longest_duplicate": max((min(one.end, other.end) - other.start for one, other in duplicates), default=0.0),
        }
        return Result(
            self.seed, self.trace.hash, violations, dict(sorted(counts.items())), figures, self.loop.steps,
            self.trace.lines,
        )  # fmt: skip

    # -- host.MachineDeps --

    def services(self, process: Process) -> svcs.Registry:
        """The notebook of one silo."""
        registry = svcs.Registry()
        registry.register_value(Notebook, Notebook(self._notes, process))  # pyright: ignore[reportUnknownMemberType]
        return registry

    def seen(self, silo: str, view: View) -> None:
        """Note a view."""
        statuses = {str(member.address): member.status.value for member in view.members}
        origin = self.memory.origin(view)
        if origin is None:
            self.broken("I7", silo, f"published version {view.version}, which was never in the table: {statuses}")
        self._views.append(Seen(self.loop.time(), silo, view.version, statuses, origin or ""))
        self.trace.saw("view", f"{view.version} " + " ".join(f"{name}={status}" for name, status in statuses.items()))

    def broken(self, invariant: str, key: str, text: str) -> None:
        """Note a violation that was seen while it happened."""
        self._broken.append(Violation(invariant, key, text))

    # -- the course of things --

    async def _main(self) -> list[Violation]:
        self._machines = [Machine(number, self, self._grains, self._options) for number in range(1, self._silos + 1)]
        for machine in self._machines:
            machine.start()
        workers = [self._at_work(process) for process in self._clients]
        faults = asyncio.create_task(self._trouble())
        await faults
        self._quiet_since = self.loop.time()
        await asyncio.sleep(SETTLED - RESPONSE_TIMEOUT - 2)
        self._working = False
        await asyncio.sleep(RESPONSE_TIMEOUT + 2)
        evidence = self._gather()
        for worker in workers:
            await worker
        violations = judge(evidence)
        for machine in self._machines:
            await machine.close()
        return [*self._broken, *violations]

    async def _trouble(self) -> None:
        end = self._seconds - QUIET
        if not self._calm:
            await asyncio.sleep(end)
            self.trace.saw("quiet")
            return
        await Nemesis(self._machines, self._clients, self, self._draw(), self._calm).run(end)

    def _at_work(self, process: Process) -> asyncio.Task[None]:
        with self.loop.within(process):
            return asyncio.create_task(self._client(process))

    async def _client(self, process: Process) -> None:
        """In the client's process: connect, however long that takes, and work until all is settled."""
        worker = Worker(process.name, self._recorder, self.trace, self._draw(), self._load.pace)
        transport = SimulatedTransport(self.network, process)
        gateways = [machine.gateway for machine in self._machines]
        while self._working:
            try:
                async with AsyncExitStack() as stack:
                    client = Client(gateways, response_timeout=RESPONSE_TIMEOUT, transport=transport, rng=self._draw())
                    await stack.enter_async_context(client)
                    await asyncio.gather(
                        worker.work(client, self._load.keys, lambda: self._working), self._own_calls(client)
                    )
            except GrangeError as error:
                self.trace.saw("client_failed", f"{type(error).__name__}")
        await transport.close()

    async def _own_calls(self, client: Client) -> None:
        own, rng = self._load.own, self._draw()
        while own is not None and self._working:
            await asyncio.sleep(rng.expovariate(1 / self._load.pace))
            try:
                await own(client, rng)
                self.trace.saw("own_call_ok")
            except GrangeError as error:
                self.trace.saw("own_call_failed", type(error).__name__)
            except Exception as error:  # the user's own check
                self.broken("own", self.loop.process.name, f"at {self.loop.time():.3f} s: {error!r}")

    def _gather(self) -> Evidence:
        running = [machine for machine in self._machines if machine.ready and machine.silo is not None]
        return Evidence(
            history=self._recorder.events,
            notes=self._notes,
            audit=self.memory.audit,
            stored=self.memory.counters(),
            views=self._views,
            machines=self._machines,
            silos=[machine.silo for machine in running if machine.silo is not None],
            names=[machine.process.name for machine in running],
            quiet_since=self._quiet_since,
            settled=SETTLED,
            stable=not self._calm,
        )

    def _sent(self, source: str, target: str, message: Message) -> None:
        if isinstance(message, Request) and message.grain_id.type == SYSTEM_TYPE:
            self._messages[message.grain_id.key] += 1
        else:
            self._messages[type(message).__name__.lower()] += 1

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.trace.saw("loop_error", f"{context.get('message')} {error!r}")
        self.broken("I9", self.loop.process.name, f"{context.get('message')}: {error!r}")

    def _draw(self) -> random.Random:
        return random.Random(self.rng.getrandbits(64))
