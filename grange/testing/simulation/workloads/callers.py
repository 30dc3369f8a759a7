"""Grains that call each other at random: what waits for itself is refused, and what does not is never refused.

Each call carries its plan: the grains to call next, each from within the turn of the one before. Faults delay messages,
lose silos and cut connections meanwhile, so what silos know of each other's waits is often late or missing.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Any

from grange.errors import DeadlockError
from grange.grains.grain import Grain
from grange.grains.reentrancy import allow_reentrancy
from grange.testing.checks.history import Event, Violation, operations
from grange.testing.simulation.turns import SiloTurnLog
from grange.testing.simulation.workloads.contract import Actor, Ended, Scene

MOST_CALLS = 4
"""Most calls of a plan."""

APART = 1000
"""The keys of the grains of one kind of plans begin at a multiple of this, so that the kinds do not meet."""


class Kind(enum.IntEnum):
    """The kinds of plans."""

    RISING = 0  # each grain has a higher key than the one before, so no calls can wait for each other
    ANYWHERE = 1  # a plan may come back to a grain that waits for it, and plans may block each other
    ALLOWED = 2  # as ANYWHERE, but each grain lets its own call chain back in


class SimulatedCaller(Grain[int], name="simulated_caller", idle_timeout=60):
    """Calls the next grain of a plan. The arguments `client` and `call` name the first call for the turn log."""

    def __init__(self, turn_log: SiloTurnLog) -> None:
        self.turn_log = turn_log
        self.activation = turn_log.activation()

    async def begin(self, kind: Kind, plan: list[int], client: str, call: int) -> str:
        """Follow a plan. Returns "ended", or "cycle" if a call of it was refused because it waited for itself."""
        with self.turn_log.turn(str(self.id), self.activation, client, call):
            return await self.follow(kind, plan)

    async def follow(self, kind: Kind, plan: list[int]) -> str:
        """Follow the rest of a plan."""
        if not plan:
            return "ended"
        following = self.get_grain(SimulatedCaller, plan[0])
        try:
            if kind is not Kind.ALLOWED:
                return await following.follow(kind, plan[1:])
            with allow_reentrancy():
                return await following.follow(kind, plan[1:])
        except DeadlockError:
            return "cycle"


class Callers:
    """Plans of all kinds, many at once."""

    name = "callers"

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def grains(self, machine: int) -> Sequence[type[Grain[Any]]]:
        """See `Workload`."""
        return (SimulatedCaller,)

    async def act(self, actor: Actor) -> None:
        """See `Workload`."""
        while actor.is_running():
            await actor.pause(self._scene.pace * 3)
            kind = actor.rng.choice(tuple(Kind))
            keys = [actor.rng.randrange(self._scene.keys) for _ in range(actor.rng.randint(1, MOST_CALLS))]
            plan = [kind * APART + key for key in (sorted(set(keys)) if kind is Kind.RISING else keys)]
            await self._begin(actor, kind, plan)

    async def _begin(self, actor: Actor, kind: Kind, plan: list[int]) -> None:
        first = actor.client.get_grain(SimulatedCaller, plan[0])

        async def send(call: Event) -> str:
            return await first.begin(kind, plan[1:], actor.name, call.call)

        await self._scene.call(actor.name, "begin", f"p-{kind.name.lower()}", plan, send)

    def check(self, ended: Ended) -> Iterable[Violation]:
        """See `Workload`."""
        for call in operations(event for event in ended.history if event.key.startswith("p-")):
            kind, plan = Kind[call.invoke.key.removeprefix("p-").upper()], call.invoke.value
            outcome = call.end.value if call.end is not None and call.kind == "ok" else None
            if kind is Kind.RISING and outcome == "cycle":
                yield Violation("I8", str(plan), "a call was refused for a cycle where none is possible")
            if kind is Kind.ANYWHERE and ended.stable and outcome == "ended" and len(set(plan)) < len(plan):
                yield Violation("I2", str(plan), "a grain ran a second turn within the first, which did not allow it")
