"""Counters, called by clients and through each other: their history is linearisable.

No acknowledged increment is lost, and none is applied twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from grange.grains.grain import Grain
from grange.storage.states.state import PersistentState
from grange.testing.checks.acknowledged import acknowledged
from grange.testing.checks.history import Event, Violation
from grange.testing.checks.linearizable import linearizable
from grange.testing.checks.models import counter
from grange.testing.simulation.turns import SiloTurnLog
from grange.testing.simulation.workloads.contract import Actor, Ended, Scene


@dataclass
class CounterState:
    """A value, and the activation that wrote it."""

    value: int = 0
    writer: str = ""


class SimulatedCounter(Grain, name="simulated_counter", idle_timeout=60):
    """A counter. The arguments `client` and `call` name the call for the turn log."""

    def __init__(self, state: PersistentState[CounterState], turn_log: SiloTurnLog) -> None:
        self.state = state
        self.turn_log = turn_log
        self.activation = turn_log.activation()

    async def increment(self, client: str, call: int) -> int:
        """Add 1 and return the new value."""
        with self.turn_log.turn(str(self.id), self.activation, client, call):
            self.state.value = CounterState(self.state.value.value + 1, self.activation)
            await self.state.write()
            return self.state.value.value

    async def read(self, client: str, call: int) -> int:
        """Return the value."""
        with self.turn_log.turn(str(self.id), self.activation, client, call):
            return self.state.value.value

    async def increment_other(self, other: str, client: str, call: int) -> int:
        """Increment another counter through this one."""
        return await self.get_grain(SimulatedCounter, other).increment(client, call)


class Counters:
    """Increments, directly and through another counter, and reads."""

    name = "counters"

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def grains(self, machine: int) -> Sequence[type[Grain[Any]]]:
        """See `Workload`."""
        return (SimulatedCounter,)

    async def act(self, actor: Actor) -> None:
        """See `Workload`."""
        rng, keys = actor.rng, self._scene.keys
        while actor.is_running():
            await actor.pause(self._scene.pace * 1.5)
            # The lower key calls the higher one: counters that call each other in a cycle would deadlock.
            one, other = rng.sample(range(keys), 2)
            draw = rng.random()
            if draw < 0.6:
                await self._call(actor, "increment", f"c-k{one}")
            elif draw < 0.75:
                await self._call(actor, "increment", f"c-k{max(one, other)}", through=f"c-k{min(one, other)}")
            else:
                await self._call(actor, "read", f"c-k{one}")

    async def _call(self, actor: Actor, op: str, key: str, through: str = "") -> None:
        counter = actor.client.get_grain(SimulatedCounter, through or key)

        async def send(call: Event) -> int:
            if through:
                return await counter.increment_other(key, actor.name, call.call)
            if op == "increment":
                return await counter.increment(actor.name, call.call)
            return await counter.read(actor.name, call.call)

        await self._scene.call(actor.name, op, key, None, send)

    def check(self, ended: Ended) -> Iterable[Violation]:
        """See `Workload`."""
        events = [event for event in ended.history if event.key.startswith("c-")]
        prefix = "simulated_counter/"
        stored = {name.removeprefix(prefix): value for name, value in ended.stored.items() if name.startswith(prefix)}
        yield from acknowledged(events, stored)
        yield from linearizable(events, counter, 0, ("increment", "read"))
