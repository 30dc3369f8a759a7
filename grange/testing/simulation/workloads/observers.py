"""Observers of the clients, called by grains: no call arrives twice, and none that was reported as not executed.

Gateways die, clients move and lose connections meanwhile; calls to one observer never overlap.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from grange.errors import CallNotExecuted, CallOutcomeUnknown
from grange.grains.decorators import response_timeout
from grange.grains.grain import Grain
from grange.grains.observer import GrainObserver
from grange.testing.checks.history import Event, Violation, operations
from grange.testing.simulation.turns import SiloTurnLog
from grange.testing.simulation.workloads.contract import Actor, Ended, Scene

HEARD, REFUSED, UNKNOWN = "heard", "refused", "unknown"
"""The outcomes of a call to an observer, as the grain answers them."""

CallName = tuple[str, int]
"""The client of a call and its number there."""


class SimulatedEar(GrainObserver):
    """The interface of the observers."""

    @response_timeout(4)
    async def hear(self, client: str, call: int) -> str:
        """Note the call, and work for a moment."""
        raise NotImplementedError


class SimulatedHerald(Grain, name="simulated_herald", idle_timeout=30):
    """Passes a call on to the observer of its caller. The arguments `client` and `call` name it for the turn log."""

    def __init__(self, turn_log: SiloTurnLog) -> None:
        self.turn_log = turn_log
        self.activation = turn_log.activation()

    async def tell(self, ear: SimulatedEar, client: str, call: int) -> str:
        """Call the observer; returns the outcome."""
        with self.turn_log.turn(str(self.id), self.activation, client, call):
            try:
                return await ear.hear(client, call)
            except CallNotExecuted:
                return REFUSED
            except CallOutcomeUnknown:
                return UNKNOWN


class Ear(SimulatedEar):
    """The observer of one client, which writes down what it hears."""

    def __init__(self, heard: Counter[CallName], overlapping: list[CallName]) -> None:
        self._heard = heard
        self._overlapping = overlapping
        self._busy = False

    async def hear(self, client: str, call: int) -> str:
        """See `SimulatedEar`."""
        if self._busy:
            self._overlapping.append((client, call))
        self._busy = True
        self._heard[client, call] += 1
        try:
            await asyncio.sleep(0.05)
        finally:
            self._busy = False
        return HEARD


class Observers:
    """Calls that come back: a client calls a grain, which calls the client."""

    name = "observers"

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._heard: Counter[CallName] = Counter()
        self._overlapping: list[CallName] = []

    def grains(self, machine: int) -> Sequence[type[Grain[Any]]]:
        """See `Workload`."""
        return (SimulatedHerald,)

    async def act(self, actor: Actor) -> None:
        """See `Workload`."""
        ear: SimulatedEar = actor.client.create_observer(Ear(self._heard, self._overlapping))
        while actor.is_running():
            await actor.pause(self._scene.pace * 2)
            key = f"o-k{actor.rng.randrange(self._scene.keys)}"
            await self._tell(actor, key, ear)

    async def _tell(self, actor: Actor, key: str, ear: SimulatedEar) -> None:
        herald = actor.client.get_grain(SimulatedHerald, key)

        async def send(call: Event) -> str:
            return await herald.tell(ear, actor.name, call.call)

        await self._scene.call(actor.name, "tell", key, None, send)

    def check(self, ended: Ended) -> Iterable[Violation]:
        """See `Workload`."""
        for client, number in self._overlapping:
            yield Violation("I2", client, f"call {number} reached an observer that ran another call")
        for (client, number), times in self._heard.items():
            if times > 1:
                yield Violation("I1", client, f"call {number} reached its observer {times} times")
        for told in operations(event for event in ended.history if event.key.startswith("o-")):
            if told.kind != "ok" or told.end is None:
                continue
            number, outcome = told.invoke.call, told.end.value
            times = self._heard[told.invoke.client, number]
            if outcome == REFUSED and times:
                yield Violation("I8", told.invoke.key, f"call {number} was reported as not executed, and was heard")
            if outcome == HEARD and not times:
                yield Violation("I8", told.invoke.key, f"call {number} was answered, and was not heard")
            if ended.stable and outcome != HEARD:
                yield Violation("I8", told.invoke.key, f"call {number} was {outcome} without any fault")
