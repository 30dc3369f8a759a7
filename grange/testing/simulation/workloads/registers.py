"""Registers to compare and swap: their history is linearisable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from grange.grains.grain import Grain
from grange.storage.states.state import PersistentState
from grange.testing.checks.history import Event, Violation
from grange.testing.checks.linearizable import linearizable
from grange.testing.checks.models import register
from grange.testing.simulation.turns import SiloTurnLog
from grange.testing.simulation.workloads.contract import Actor, Ended, Scene
from grange.testing.simulation.workloads.counters import CounterState


class SimulatedRegister(Grain, name="simulated_register", idle_timeout=20):
    """A value to compare and swap."""

    def __init__(self, state: PersistentState[CounterState], turn_log: SiloTurnLog) -> None:
        self.state = state
        self.turn_log = turn_log
        self.activation = turn_log.activation()

    async def cas(self, expected: int, new: int, client: str, call: int) -> bool:
        """Set the value to `new` if it is `expected`; return whether it was."""
        with self.turn_log.turn(str(self.id), self.activation, client, call):
            if self.state.value.value != expected:
                return False
            self.state.value = CounterState(new, self.activation)
            await self.state.write()
            return True

    async def read(self, client: str, call: int) -> int:
        """Return the value."""
        with self.turn_log.turn(str(self.id), self.activation, client, call):
            return self.state.value.value


class Registers:
    """Reads, and swaps of the value that the client saw last."""

    name = "registers"

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._seen: dict[tuple[str, str], int] = {}

    def grains(self, machine: int) -> Sequence[type[Grain[Any]]]:
        """See `Workload`."""
        return (SimulatedRegister,)

    async def act(self, actor: Actor) -> None:
        """See `Workload`."""
        while actor.is_running():
            await actor.pause(self._scene.pace * 3)
            key = f"r-k{actor.rng.randrange(self._scene.keys)}"
            if actor.rng.random() < 0.4:
                await self._read(actor, key)
            else:
                await self._swap(actor, key)

    async def _read(self, actor: Actor, key: str) -> None:
        register = actor.client.get_grain(SimulatedRegister, key)
        ended = await self._scene.call(actor.name, "read", key, None, lambda call: register.read(actor.name, call.call))
        if ended.kind == "ok":
            self._seen[actor.name, key] = ended.value

    async def _swap(self, actor: Actor, key: str) -> None:
        register = actor.client.get_grain(SimulatedRegister, key)
        expected, new = self._seen.get((actor.name, key), 0), actor.rng.randrange(1, 1_000_000)

        async def send(call: Event) -> bool:
            return await register.cas(expected, new, actor.name, call.call)

        ended = await self._scene.call(actor.name, "cas", key, [expected, new], send)
        if ended.kind == "ok" and ended.value:
            self._seen[actor.name, key] = new

    def check(self, ended: Ended) -> Iterable[Violation]:
        """See `Workload`."""
        events = [event for event in ended.history if event.key.startswith("r-")]
        yield from linearizable(events, register, 0, ("cas", "read"))
