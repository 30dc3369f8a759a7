"""The faults of the network between the processes of a simulation. `Nemesis` injects them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence

from grange.testing.simulation.loop import Process
from grange.testing.simulation.machine import Machine, MachineDeps

RESET_PERIOD = 1.0
"""Mean seconds between two connections that are reset while connections are reset."""

Fault = Callable[[], Awaitable[None]]
"""Injects a fault, waits for its drawn duration, and ends it."""

Pairs = Iterable[tuple[Process, Process]]
"""Lines, each from its first process to its second."""


class LineFaults:
    """`kinds` names each fault, with its weight. The end of one repairs all lines."""

    def __init__(
        self, machines: Sequence[Machine], clients: Sequence[Process], deps: MachineDeps, rng: random.Random
    ) -> None:
        self._machines = machines
        self._clients = clients
        self._network = deps.network
        self._event_log = deps.event_log
        self._rng = rng
        self.kinds: dict[str, tuple[float, Fault]] = {
            "isolate": (2.0, self._isolate),
            "cut_pair": (1.5, self._cut_pair),
            "cut_one_way": (1.5, self._cut_one_way),
            "cut_client": (1.0, self._cut_client),
            "reject_one": (1.5, self._reject_one),
            "reject_all": (1.5, self._reject_all),
            "reject_pair": (1.5, self._reject_pair),
            "reject_host": (1.5, self._reject_host),
            "reset": (1.5, self._reset),
            "slow_network": (1.0, self._slow_network),
            "lossy": (1.0, self._lossy),
        }

    def _processes(self) -> list[Process]:
        return [*(machine.process for machine in self._machines), *self._clients]

    def _draw_silo(self) -> Process:
        return self._rng.choice(self._machines).process

    def _draw_two(self) -> tuple[Process, Process]:
        one, other = self._rng.sample(self._machines, 2)
        return one.process, other.process

    def _others(self, silo: Process) -> list[Process]:
        return [machine.process for machine in self._machines if machine.process is not silo]

    async def _until_healed(self, least: float = 1.0, most: float = 25.0) -> None:
        try:
            await asyncio.sleep(self._rng.uniform(least, most))
        finally:
            self._network.heal()

    # -- cuts --

    async def _cut(self, pairs: Pairs) -> None:
        for source, target in pairs:
            self._network.cut(source, target)
        await self._until_healed()

    async def _isolate(self) -> None:
        """Isolate one silo: it reaches the databases, but no other silo and no client."""
        isolated = self._draw_silo()
        await self._cut(_both_ways(isolated, [*self._others(isolated), *self._clients]))

    async def _cut_pair(self) -> None:
        one, other = self._draw_two()
        await self._cut(_both_ways(one, [other]))

    async def _cut_one_way(self) -> None:
        await self._cut([self._draw_two()])

    async def _cut_client(self) -> None:
        client = self._rng.choice(self._clients)
        await self._cut(_both_ways(client, [self._draw_silo()]))

    # -- firewalls and middleboxes --

    async def _reject(self, pairs: Pairs) -> None:
        for source, target in pairs:
            self._network.reject(source, target)
        await self._until_healed()

    async def _reject_one(self) -> None:
        """One silo finds that another refuses its connections. The other hears nothing of it."""
        await self._reject([self._draw_two()])

    async def _reject_all(self) -> None:
        """All other silos find that one silo refuses their connections. It lives, and clients reach it."""
        refused = self._draw_silo()
        await self._reject([(other, refused) for other in self._others(refused)])

    async def _reject_pair(self) -> None:
        """Two silos find that the other one refuses their connections."""
        one, other = self._draw_two()
        await self._reject(_both_ways(one, [other]))

    async def _reject_host(self) -> None:
        """One silo and all others refuse each other's connections. It reaches the databases and the clients."""
        refused = self._draw_silo()
        await self._reject(_both_ways(refused, self._others(refused)))

    async def _reset(self) -> None:
        """Reset drawn connections, one after the other. The lines are sound: new connections open at once."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._rng.uniform(1.0, 25.0)
        while loop.time() < end:
            await asyncio.sleep(self._rng.expovariate(1 / RESET_PERIOD))
            connections = self._network.connections()
            if connections:
                drawn = self._rng.choice(connections)
                self._event_log.record("resets", f"{drawn.process.name} {drawn.far.name}")
                drawn.reset_both()

    # -- delays and losses --

    async def _slow_network(self) -> None:
        for one in self._processes():
            for other in self._processes():
                self._network.line(one, other).delay = 0.3
        await self._until_healed(least=2.0)

    async def _lossy(self) -> None:
        for one in self._processes():
            for other in self._processes():
                line = self._network.line(one, other)
                line.loss, line.repeat = 0.02, 0.02
        await self._until_healed(least=2.0)


def _both_ways(one: Process, others: Iterable[Process]) -> list[tuple[Process, Process]]:
    return [pair for other in others for pair in ((one, other), (other, one))]
