"""Injects the faults of a simulation. Their kind, time and duration are drawn from the seed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from grange.testing.simulation.databases import Database, DatabaseFaults
from grange.testing.simulation.line_faults import Fault, LineFaults
from grange.testing.simulation.loop import Process
from grange.testing.simulation.machine import Machine, MachineDeps

MAX_CONCURRENT_FAULTS = 3
"""Largest number of faults at one time."""

CLOCK_JUMPS = (-3600.0, -300.0, 300.0, 3600.0)
"""Seconds by which the clock of a machine is set."""


class Nemesis:
    """Injects faults at drawn times, up to MAX_CONCURRENT_FAULTS at once, and ends each of them.

    `calm` is the mean time in seconds between the beginnings of two faults. The name is Jepsen's term.
    """

    def __init__(
        self,
        machines: Sequence[Machine],
        clients: Sequence[Process],
        deps: MachineDeps,
        rng: random.Random,
        calm: float,
    ) -> None:
        self._machines = machines
        self._network = deps.network
        self._table, self._store = deps.table, deps.store
        self._contents = deps.contents
        self._event_log = deps.event_log
        self._rng = rng
        self._calm = calm
        self._running: list[asyncio.Task[None]] = []
        self.kinds: dict[str, tuple[float, Fault]] = {
            "crash": (3.0, self._kill),
            "crash_two": (0.5, self._kill_two),
            "pause_short": (2.0, self._pause_short),
            "pause_long": (2.0, self._pause_long),
            "pause_mid_write": (1.5, self._pause_mid_write),
            "drain": (1.5, self._drain),
            "clock_jump": (2.0, self._clock_jump),
            **LineFaults(machines, clients, deps, rng).kinds,
            "table_down": (1.0, self._table_down),
            "table_down_for_one": (1.5, self._table_down_for_one),
            "table_flaky": (1.5, self._table_flaky),
            "table_rolled_back": (0.7, self._table_rolled_back),
            "table_emptied": (0.7, self._table_emptied),
            "store_down": (1.0, self._store_down),
            "store_flaky": (1.5, self._store_flaky),
            "store_slow": (1.0, self._store_slow),
        }

    async def run(self, until: float) -> None:
        """Inject faults until the loop time `until`; then end all faults."""
        loop = asyncio.get_running_loop()
        while True:
            pause = self._rng.expovariate(1 / self._calm)
            await asyncio.sleep(min(pause, max(until - loop.time(), 0.0)))
            if loop.time() >= until:
                break
            names = list(self.kinds)
            name = self._rng.choices(names, [self.kinds[kind][0] for kind in names])[0]
            self._running = [task for task in self._running if not task.done()]
            if len(self._running) < MAX_CONCURRENT_FAULTS:
                self._running.append(asyncio.create_task(self._inject(name)))
        await self._heal_all()

    async def _inject(self, name: str) -> None:
        self._event_log.record(f"fault:{name}")
        await self.kinds[name][1]()

    async def _heal_all(self) -> None:
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)
        for task in self._running:
            if not task.cancelled():
                task.result()
        self._network.heal()
        self._table.heal()
        self._store.heal()
        for machine in self._machines:
            machine.resume()
            machine.start()
        self._event_log.record("quiet")

    async def _hold(self, least: float, most: float) -> None:
        await asyncio.sleep(self._rng.uniform(least, most))

    def _draw_machine(self) -> Machine:
        return self._rng.choice(self._machines)

    # -- processes --

    async def _kill(self, *others: Machine) -> None:
        victims = others or (self._draw_machine(),)
        for machine in victims:
            self._event_log.record("crashes", machine.name)
            await machine.kill()
        try:
            await self._hold(0.2, 25.0)
        finally:
            for machine in victims:
                machine.start()

    async def _kill_two(self) -> None:
        await self._kill(*self._rng.sample(self._machines, 2))

    async def _pause_short(self) -> None:
        await self._pause(0.5, 2.0)

    async def _pause_long(self) -> None:
        await self._pause(4.0, 30.0)

    async def _pause(self, least: float, most: float) -> None:
        machine = self._draw_machine()
        process = machine.process
        machine.pause()
        try:
            await self._hold(least, most)
        finally:
            if machine.process is process:
                machine.resume()

    async def _pause_mid_write(self) -> None:
        """Pause a silo within a turn, just before it sends a write. When it resumes, another silo may run the grain."""
        machine = self._draw_machine()
        process = machine.process
        paused = asyncio.Event()

        def pause() -> None:
            machine.pause()
            paused.set()

        self._store.before_change[process] = pause
        try:
            async with asyncio.timeout(10):
                await paused.wait()
            await self._hold(8.0, 20.0)
        except TimeoutError:
            pass  # the silo wrote nothing in this time
        finally:
            self._store.before_change.pop(process, None)
            if machine.process is process:
                machine.resume()

    async def _drain(self) -> None:
        machine = self._draw_machine()
        try:
            async with asyncio.timeout(90):
                await machine.stop()
            await self._hold(0.1, 10.0)
        except TimeoutError:
            self._event_log.record("drain_gave_up", machine.name)
            await machine.kill()
        finally:
            machine.start()

    async def _clock_jump(self) -> None:
        """Set one machine's clock forwards or back. Half of the times a silo starts at the new time; the rest run on.

        Half of the times the clock stays wrong, also after the last fault.
        """
        machine, seconds = self._draw_machine(), self._rng.choice(CLOCK_JUMPS)
        is_restarted, is_set_right = self._rng.random() < 0.5, self._rng.random() < 0.5
        machine.clock.shift(seconds)
        self._event_log.record("clock_jumps", f"{machine.name} {seconds:+.0f} s")
        try:
            if is_restarted:
                await self._kill(machine)
            await self._hold(2.0, 40.0)
        finally:
            if is_set_right:
                machine.clock.shift(-seconds)

    # -- databases --

    async def _degrade(self, database: Database, faults: DatabaseFaults, least: float, most: float) -> None:
        database.faults = faults
        try:
            await self._hold(least, most)
        finally:
            database.faults = DatabaseFaults()

    async def _table_down(self) -> None:
        await self._degrade(self._table, DatabaseFaults(down=True), 2.0, 40.0)

    async def _table_flaky(self) -> None:
        await self._degrade(self._table, DatabaseFaults(delay=1.0, failure=0.2, lost_answer=0.2), 5.0, 30.0)

    async def _table_down_for_one(self) -> None:
        name = self._draw_machine().process.name
        self._table.faults_by_silo[name] = DatabaseFaults(down=True)
        try:
            await self._hold(2.0, 40.0)
        finally:
            self._table.faults_by_silo.pop(name, None)

    async def _table_rolled_back(self) -> None:
        undone = self._contents.roll_back(self._rng.randint(1, 4))
        self._event_log.record("rolled_back", str(undone))
        await self._hold(10.0, 20.0)

    async def _table_emptied(self) -> None:
        self._contents.empty()
        await self._hold(10.0, 20.0)

    async def _store_down(self) -> None:
        await self._degrade(self._store, DatabaseFaults(down=True), 1.0, 20.0)

    async def _store_flaky(self) -> None:
        await self._degrade(self._store, DatabaseFaults(delay=0.2, failure=0.1, lost_answer=0.1), 5.0, 30.0)

    async def _store_slow(self) -> None:
        await self._degrade(self._store, DatabaseFaults(delay=2.5), 3.0, 20.0)
