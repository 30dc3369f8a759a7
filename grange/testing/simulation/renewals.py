"""Replaces the connections of a simulation at drawn times, as a change of certificates does. No call fails by it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from grange.testing.simulation.event_log import EventLog
from grange.testing.simulation.loop import SimulatedLoop
from grange.testing.simulation.machine import Machine

WITHIN = 1.0
"""Seconds within which a silo replaces all connections that it has opened."""


class RenewedConnections:
    """Has silos ask their peers for new connections, or replace their own. `pause`: mean seconds between two times."""

    def __init__(
        self, machines: Sequence[Machine], loop: SimulatedLoop, event_log: EventLog, rng: random.Random, pause: float
    ) -> None:
        self._machines = machines
        self._loop = loop
        self._event_log = event_log
        self._rng = rng
        self._pause = pause

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(self._rng.expovariate(1 / self._pause))
            machine, asks = self._rng.choice(self._machines), self._rng.random() < 0.7
            if machine.ready and machine.silo is not None and not machine.process.paused:
                with self._loop.within(machine.process):
                    self._renew(machine, asks)

    def _renew(self, machine: Machine, asks: bool) -> None:
        assert machine.silo is not None
        running = machine.silo._running  # pyright: ignore[reportPrivateUsage]
        if not asks:
            self._event_log.record("renews", machine.name)
            running.links.peers.renew_all(WITHIN)
            return
        hosting = running.hosting
        for incoming in (*hosting.silo_inbound.connected, *hosting.client_inbound.connected):
            if self._rng.random() < 0.7:
                self._event_log.record("asks_for_renewal", f"{machine.name} {incoming.peer}")
                incoming.ask_to_renew("a connection of a simulation lives for a while")
