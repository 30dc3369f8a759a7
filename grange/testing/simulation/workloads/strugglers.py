"""Counters whose code hangs and whose activations crash: what an abandoned turn does later must not be stored.

An increment that struggles ignores its cancellation for a while, and then writes what it has in memory. Every fourth
activation fails. Calls fail on purpose while faults are injected, and not after: then every call must succeed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from grange.grains.grain import Grain
from grange.storage.states.state import PersistentState
from grange.testing.checks.acknowledged import acknowledged
from grange.testing.checks.history import Event, Violation
from grange.testing.checks.linearizable import linearizable
from grange.testing.checks.models import counter
from grange.testing.simulation.troubles import Troubles
from grange.testing.simulation.turns import SiloTurnLog
from grange.testing.simulation.workloads.contract import Actor, Ended, Scene
from grange.testing.simulation.workloads.counters import CounterState

HANGS = 25.0
"""Seconds for which an increment that struggles ignores its cancellation."""

STRUGGLE_SHARE = 0.1
"""Share of the increments that struggle."""

CRASH_EVERY = 4
"""Every so many activations of the simulation, one fails."""


class SimulatedStruggler(Grain, name="simulated_struggler", idle_timeout=20):
    """A counter. The arguments `client` and `call` name the call for the turn log."""

    def __init__(self, state: PersistentState[CounterState], turn_log: SiloTurnLog, troubles: Troubles) -> None:
        self.state = state
        self.turn_log = turn_log
        self.troubles = troubles
        self.activation = turn_log.activation()

    async def on_activate(self) -> None:
        """Fail in some activations."""
        if self.troubles.may_occur and int(self.activation.rpartition("/")[2]) % CRASH_EVERY == 0:
            raise LookupError(f"activation {self.activation} fails on purpose")

    async def increment(self, struggles: bool, client: str, call: int) -> int:
        """Add 1 and return the new value."""
        with self.turn_log.turn(str(self.id), self.activation, client, call):
            self.state.value = CounterState(self.state.value.value + 1, self.activation)
            if struggles and self.troubles.may_occur:
                await ignore_cancellation(HANGS)
            await self.state.write()
            return self.state.value.value


async def ignore_cancellation(seconds: float) -> None:
    """Wait for this time in any case."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while (left := until - loop.time()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            continue


class Strugglers:
    """Increments, some of which hang."""

    name = "strugglers"

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def grains(self, machine: int) -> Sequence[type[Grain[Any]]]:
        """See `Workload`."""
        return (SimulatedStruggler,)

    async def act(self, actor: Actor) -> None:
        """See `Workload`."""
        while actor.is_running():
            await actor.pause(self._scene.pace)
            key, struggles = f"s-k{actor.rng.randrange(self._scene.keys)}", actor.rng.random() < STRUGGLE_SHARE
            await self._increment(actor, key, struggles)

    async def _increment(self, actor: Actor, key: str, struggles: bool) -> None:
        struggler = actor.client.get_grain(SimulatedStruggler, key)

        async def send(call: Event) -> int:
            return await struggler.increment(struggles, actor.name, call.call)

        await self._scene.call(actor.name, "increment", key, None, send)

    def check(self, ended: Ended) -> Iterable[Violation]:
        """See `Workload`."""
        events = [event for event in ended.history if event.key.startswith("s-")]
        prefix = "simulated_struggler/"
        stored = {name.removeprefix(prefix): value for name, value in ended.stored.items() if name.startswith(prefix)}
        yield from acknowledged(events, stored)
        yield from linearizable(events, counter, 0, ("increment", "read"))
