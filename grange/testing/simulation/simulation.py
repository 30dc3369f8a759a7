"""`Simulation`: a whole cluster under seeded faults, checked for invariants."""

from __future__ import annotations

import asyncio
import gc
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from types import MappingProxyType
from typing import Any

import msgspec

from grange.client.client import Client
from grange.errors import GrangeError
from grange.grains.grain import Grain
from grange.grains.registry import Registry
from grange.membership.model.member import View
from grange.proto.identity import SCHEME
from grange.proto.message import Message, Request
from grange.runtime.system_target import SYSTEM_TYPE
from grange.security.certificate import Certificate
from grange.testing.checks.history import Recorder, Violation
from grange.testing.checks.membership import Seen
from grange.testing.checks.writers import duplicate_window, overlaps
from grange.testing.simulation.databases import DatabaseContents, state_server, table_server
from grange.testing.simulation.event_log import EventLog
from grange.testing.simulation.invariants import RunRecord, check_run
from grange.testing.simulation.loop import Process, SimulatedLoop
from grange.testing.simulation.machine import Machine
from grange.testing.simulation.nemesis import Nemesis
from grange.testing.simulation.network import SimulatedNetwork
from grange.testing.simulation.processes import HostProcesses
from grange.testing.simulation.renewals import RenewedConnections
from grange.testing.simulation.transport import SimulatedTransport
from grange.testing.simulation.troubles import Troubles
from grange.testing.simulation.turns import SiloTurnLog, TurnLog
from grange.testing.simulation.workloads.contract import RESPONSE_TIMEOUT, Actor, Scene
from grange.testing.simulation.workloads.every import Workloads, drawn
from grange.testing.simulation.workloads.rules import rules_of

QUIET_TIME = 60.0
"""Seconds without faults at the end of a run, in which the cluster must recover without help."""

CHECK_DELAY = 45.0
"""Seconds of quiet after which the invariants are checked."""


class Result(msgspec.Struct):
    """The result of one run. `hash` is the hash of the event log `log`, equal for the same seed and commit.

    `counts` holds the number of events of each kind, `figures` totals for tables, `steps` the number of callbacks run.
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
        lines = [head, *(f"  {violation}" for violation in self.violations), f"replay: make simulate SEED={self.seed}"]
        return "\n".join(lines)


REBALANCING: Mapping[str, Any] = MappingProxyType(
    {"rebalance": True, "rebalance_delay": 5.0, "rebalance_period": 5.0, "rebalance_tolerance": 5}
)
"""The options of placement: silos move activations often."""

LIMITS: Mapping[str, Any] = MappingProxyType(
    {
        "response_timeout": RESPONSE_TIMEOUT, "max_turn_time": 2.0, "activation_timeout": 5.0,
        "deactivation_timeout": 5.0,
    }
)  # fmt: skip
"""The options of the runtime: code that hangs is abandoned while its callers still wait."""

RENEW, RENEWING = 4.0, 3
"""Mean seconds between two replacements of connections, and which seeds have them by default: each third one."""

HOSTS = 2
"""Seeds with one host for all silos: all but each second one. In these a silo sees that the process of another is gone.
In the others each silo has a host of its own.
"""

OwnCall = Callable[[Client, random.Random], Awaitable[None]]
"""A call written by the user of a simulation, made by its clients."""


class Load(msgspec.Struct, frozen=True):
    """The load: `clients` clients, which run the workloads on `keys` grains of each kind.

    `pace` is the mean time in seconds between two calls of one client, from which each workload derives its own. `own`
    is an additional call at this pace: a coroutine function that takes a client and a random generator. It may raise
    errors of grange, because faults cause them; any other error is a violation. `workloads`: None lets the seed draw.
    `renew` is the mean time in seconds between two replacements of connections (0: none; None: the seed decides).
    """

    clients: int = 3
    keys: int = 15
    pace: float = 1.0
    own: OwnCall | None = None
    workloads: Workloads | None = None
    renew: float | None = None


LOAD = Load()
"""The default load."""


class Simulation:
    """Silos, clients, a network and databases in one thread and virtual time: `Simulation(seed=7).run()`.

    All randomness is drawn from `seed`. `minutes` is virtual time; the last minute is quiet, with all faults healed.
    `calm` is the mean time in seconds between two faults (0: no faults). `grains` are hosted beside those of the
    workloads of `load`. Other options are those of `SiloConfig`: `host` is the host of all silos. By default each has
    its own, but in odd seeds they share one. All processes have certificates, and rules say who may
    call whom: `workloads/rules.py`. Each `Simulation` runs once, on its own event
    loop: call it where no loop runs.
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
        self._seconds = max(minutes * 60, QUIET_TIME + 30)
        self._calm = calm
        is_renewing = calm > 0 and seed % RENEWING == 0
        self._renew = (RENEW if is_renewing else 0.0) if load.renew is None else load.renew
        self._load = load
        self._grains = tuple(grains)
        self._options = {"runtime": LIMITS, "placement_options": REBALANCING, **options}
        self._cluster = str(options.get("cluster", "default"))
        self.rng = random.Random(seed)
        self.loop = SimulatedLoop(self._draw())
        self.event_log = EventLog(self.loop.time, lambda: self.loop.process.name)
        self.network = SimulatedNetwork(self.loop, self._draw(), self._count_message)
        self.table = table_server(self.loop, self._draw())
        self.store = state_server(self.loop, self._draw())
        self.contents = DatabaseContents(self.event_log)
        self.processes = HostProcesses()
        self._silos = silos
        self._clients = [Process(f"client-{number}") for number in range(1, load.clients + 1)]
        self._machines: list[Machine] = []
        self._recorder = Recorder(self.loop.time)
        self._turn_log = TurnLog(self.event_log)
        scene = Scene(self._recorder, self.event_log, load.keys, load.pace)
        self._workloads = [workload(scene) for workload in load.workloads or drawn(self._draw())]
        self._views: list[Seen] = []
        self._violations: list[Violation] = []
        self._troubles = Troubles(calm > 0)
        self._quiet_since, self._load_running = 0.0, True
        self._messages: Counter[str] = Counter()

    def run(self) -> Result:
        """Run the simulation and check it. Prints nothing; `str(result)` names the command that replays a failure."""
        if asyncio._get_running_loop() is not None:
            raise RuntimeError("a simulation runs its own event loop: call run() where no loop runs")
        self.loop.set_exception_handler(self._on_loop_error)
        collecting = gc.isenabled()
        gc.disable()  # a collection at an arbitrary moment would run finalisers at that moment
        try:
            with self.event_log.capture_logging():
                violations = self.loop.run_until_complete(self._main())
        finally:
            self.loop.close()
            if collecting:
                gc.enable()
        counts = {**self.event_log.counts, **{f"message:{name}": count for name, count in self._messages.items()}}
        duplicates = overlaps(self._turn_log.turns)
        counts["duplicate_turns"] = len(duplicates)
        figures = {
            "virtual_seconds": self._seconds,
            "calls": sum(event.kind == "invoke" for event in self._recorder.events),
            "duplicate_turns": len(duplicates),
            "longest_duplicate": duplicate_window(self._turn_log.turns),
        }
        return Result(
            self.seed, self.event_log.hash, violations, dict(sorted(counts.items())), figures, self.loop.steps,
            self.event_log.lines,
        )  # fmt: skip

    # -- machine.MachineDeps --

    def services(self, process: Process) -> Registry:
        """See `machine.MachineDeps`: the turn log of one silo, and whether its grains may fail on purpose."""
        registry = Registry()
        registry.register_value(Troubles, self._troubles)  # pyright: ignore[reportUnknownMemberType]
        registry.register_value(SiloTurnLog, SiloTurnLog(self._turn_log, process))  # pyright: ignore[reportUnknownMemberType]
        return registry

    def on_view(self, silo: str, view: View) -> None:
        """See `machine.MachineDeps`: record the view, and check that it was once in the table."""
        statuses = {str(member.address): member.status.value for member in view.members}
        origin = self.contents.origin(view)
        if origin is None:
            text = f"published version {view.version}, which was never in the table: {statuses}"
            self.report_violation("I7", silo, text)
        self._views.append(Seen(self.loop.time(), silo, view.version, statuses, origin or ""))
        text = " ".join(f"{name}={status}" for name, status in statuses.items())
        self.event_log.record("view", f"{view.version} {text}")

    def report_violation(self, invariant: str, key: str, text: str) -> None:
        """See `machine.MachineDeps`."""
        self._violations.append(Violation(invariant, key, text))

    def certificate(self, name: str) -> Certificate:
        """See `machine.MachineDeps`."""
        return Certificate(uri=f"{SCHEME}{self._cluster}/{name}")

    # -- the steps of a run --

    async def _main(self) -> list[Violation]:
        hosted = {
            number: (*(grain for workload in self._workloads for grain in workload.grains(number)), *self._grains)
            for number in range(1, self._silos + 1)
        }
        options = {**rules_of(hosted.values(), self._cluster), **self._options}
        for number, grains in hosted.items():
            host = "127.0.0.1" if self.seed % HOSTS else f"127.0.0.{number}"
            self._machines.append(Machine(number, self, grains, {"host": host, **options}))
        for machine in self._machines:
            machine.start()
        clients = [self._start_client(process) for process in self._clients]
        faults = asyncio.create_task(self._inject_faults())
        renewals = asyncio.create_task(self._renew_connections())
        await faults
        self._troubles.may_occur = False
        self._quiet_since = self.loop.time()
        await asyncio.sleep(CHECK_DELAY - RESPONSE_TIMEOUT - 2)
        self._load_running = False
        await asyncio.sleep(RESPONSE_TIMEOUT + 2)
        run = self._run_record()
        for client in clients:
            await client
        renewals.cancel()
        await asyncio.wait([renewals])
        violations = check_run(run)
        for machine in self._machines:
            await machine.close()
        return [*self._violations, *violations]

    async def _inject_faults(self) -> None:
        end = self._seconds - QUIET_TIME
        if not self._calm:
            await asyncio.sleep(end)
            self.event_log.record("quiet")
            return
        await Nemesis(self._machines, self._clients, self, self._draw(), self._calm).run(end)

    async def _renew_connections(self) -> None:
        """Until the end of the run. Their numbers are not drawn in turn: they must not change those of the faults."""
        if self._renew:
            chance = random.Random(f"{self.seed} renewals")
            await RenewedConnections(self._machines, self.loop, self.event_log, chance, self._renew).run()

    def _start_client(self, process: Process) -> asyncio.Task[None]:
        with self.loop.within(process):
            return asyncio.create_task(self._client(process))

    async def _client(self, process: Process) -> None:
        """Connect, retry until that succeeds, and make calls until the load ends; runs in the client's process."""
        # Not drawn one after another: a further workload must not change the numbers of the others.
        random_of = {each.name: random.Random(f"{self.seed} {each.name} {process.name}") for each in self._workloads}
        certificate = self.certificate(f"client/{process.name}")
        transport = SimulatedTransport(self.network, process, certificate=certificate)
        gateways = [machine.gateway for machine in self._machines]
        while self._load_running:
            try:
                async with AsyncExitStack() as stack:
                    client = Client(gateways, response_timeout=RESPONSE_TIMEOUT, transport=transport, rng=self._draw())
                    await stack.enter_async_context(client)
                    actors = [
                        each.act(Actor(process.name, client, random_of[each.name], lambda: self._load_running))
                        for each in self._workloads
                    ]
                    await asyncio.gather(*actors, self._own_calls(client))
            except GrangeError as error:
                self.event_log.record("client_failed", f"{type(error).__name__}")
        await transport.close()

    async def _own_calls(self, client: Client) -> None:
        own, rng = self._load.own, self._draw()
        while own is not None and self._load_running:
            await asyncio.sleep(rng.expovariate(1 / self._load.pace))
            try:
                await own(client, rng)
                self.event_log.record("own_call_ok")
            except GrangeError as error:
                self.event_log.record("own_call_failed", type(error).__name__)
            except Exception as error:  # the call found a violation
                self.report_violation("own", self.loop.process.name, f"at {self.loop.time():.3f} s: {error!r}")

    def _run_record(self) -> RunRecord:
        running = [machine for machine in self._machines if machine.ready and machine.silo is not None]
        return RunRecord(
            history=self._recorder.events,
            turn_log=self._turn_log,
            audit=self.contents.audit,
            torn=self.contents.torn,
            stored=self.contents.stored,
            payloads=self.contents.payloads,
            workloads=self._workloads,
            views=self._views,
            machines=self._machines,
            silos=[machine.silo for machine in running if machine.silo is not None],
            names=[machine.process.name for machine in running],
            quiet_since=self._quiet_since,
            settled=CHECK_DELAY,
            stable=not self._calm,
        )

    def _count_message(self, source: str, target: str, message: Message) -> None:
        if isinstance(message, Request) and message.grain_id.type == SYSTEM_TYPE:
            self._messages[message.grain_id.key] += 1
        else:
            self._messages[type(message).__name__.lower()] += 1

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.event_log.record("loop_error", f"{context.get('message')} {error!r}")
        self.report_violation("I9", self.loop.process.name, f"{context.get('message')}: {error!r}")

    def _draw(self) -> random.Random:
        return random.Random(self.rng.getrandbits(64))
