"""Counters of two releases: machines with odd numbers host the later one, which has a method more.

Their history is linearisable while callers of both releases move them, and no call meets a class without its method.
The later release stores a field more, which the earlier one keeps although it does not know it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from grange.grains.grain import Grain, GrainInterface
from grange.storage.states.schema import state_schema
from grange.storage.states.state import PersistentState
from grange.testing.checks.acknowledged import acknowledged
from grange.testing.checks.history import Event, Violation
from grange.testing.checks.linearizable import linearizable
from grange.testing.checks.models import counter
from grange.testing.simulation.turns import SiloTurnLog
from grange.testing.simulation.workloads.contract import Actor, Ended, Scene
from grange.testing.simulation.workloads.counters import CounterState

TYPE, CONTRACT = "simulated_release", "simulated_release_api"

SETTLE = 5.0
"""Seconds from the first sight of the later release until it is called: every silo must have seen it."""


class EarlierApi(GrainInterface, name=CONTRACT, version=1):
    """The contract of the earlier release."""

    async def read(self, client: str, call: int) -> int:
        """Return the value."""
        raise NotImplementedError


class LaterApi(GrainInterface, name=CONTRACT, version=2):
    """The contract of the later release, with a method more."""

    async def read(self, client: str, call: int) -> int:
        """Return the value."""
        raise NotImplementedError

    async def increment(self, client: str, call: int) -> int:
        """Add 1 and return the new value."""
        raise NotImplementedError


@state_schema(2, upgrades={1: lambda data: {**data, "doubled": 2 * data["value"]}})
@dataclass
class LaterState(CounterState):
    """The state of the later release: twice the value, too."""

    doubled: int = 0


class Earlier(Grain, EarlierApi, name=TYPE, idle_timeout=60):
    """A counter of the earlier release. The arguments `client` and `call` name the call for the turn log."""

    def __init__(self, state: PersistentState[CounterState], turn_log: SiloTurnLog) -> None:
        self.state = state
        self.turn_log = turn_log
        self.activation = turn_log.activation()

    async def read(self, client: str, call: int) -> int:
        """Return the value."""
        with self.turn_log.turn(str(self.id), self.activation, client, call):
            self.state.value = CounterState(self.state.value.value, self.activation)
            await self.state.write()  # a silo of this release must not lose what the later one stored
            return self.state.value.value


class Later(Grain, LaterApi, name=TYPE, idle_timeout=60):
    """The counter of the later release."""

    def __init__(self, state: PersistentState[LaterState], turn_log: SiloTurnLog) -> None:
        self.state = state
        self.turn_log = turn_log
        self.activation = turn_log.activation()

    async def read(self, client: str, call: int) -> int:
        """Return the value."""
        with self.turn_log.turn(str(self.id), self.activation, client, call):
            return self.state.value.value

    async def increment(self, client: str, call: int) -> int:
        """Add 1 and return the new value."""
        with self.turn_log.turn(str(self.id), self.activation, client, call):
            held = self.state.value
            self.state.value = LaterState(held.value + 1, self.activation, held.doubled + 2)
            await self.state.write()
            return held.value + 1


class Releases:
    """Reads by callers of the earlier release, reads and increments by those of the later one."""

    name = "releases"

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def grains(self, machine: int) -> Sequence[type[Grain[Any]]]:
        """See `Workload`."""
        return (Later,) if machine % 2 else (Earlier,)

    async def act(self, actor: Actor) -> None:
        """See `Workload`."""
        while actor.is_running() and not _hosts_the_later(actor):
            await actor.pause(1.0)
        await asyncio.sleep(SETTLE)
        while actor.is_running():
            await actor.pause(self._scene.pace * 3)
            draw, key = actor.rng.random(), f"v-k{actor.rng.randrange(self._scene.keys)}"
            await self._call(actor, "increment" if draw < 0.5 else "read", key, later=draw < 0.7)

    async def _call(self, actor: Actor, op: str, key: str, later: bool) -> None:
        async def send(call: Event) -> int:
            if not later:
                return await actor.client.get_grain(EarlierApi, key).read(actor.name, call.call)
            grain = actor.client.get_grain(LaterApi, key)
            method = grain.increment if op == "increment" else grain.read
            return await method(actor.name, call.call)

        await self._scene.call(actor.name, op, key, None, send)

    def check(self, ended: Ended) -> Iterable[Violation]:
        """See `Workload`."""
        events = [event for event in ended.history if event.key.startswith("v-")]
        prefix = f"{TYPE}/"
        stored = {name.removeprefix(prefix): value for name, value in ended.stored.items() if name.startswith(prefix)}
        yield from acknowledged(events, stored)
        yield from linearizable(events, counter, 0, ("increment", "read"))
        for name, payload in ended.payloads.items():
            if name.startswith(prefix):
                yield from _kept(name, payload)
        for event in events:
            if "NoSuchMethod" in event.error:
                yield Violation("I8", event.key, f"{event.op} met a class without it: {event.error}")


def _kept(name: str, payload: bytes) -> Iterable[Violation]:
    """Only the later release changes the value, so a row with a value has its twice in the field of that release."""
    data = msgspec.json.decode(payload)
    if data["value"] and data.get("doubled") != 2 * data["value"]:
        yield Violation("I1", name, f"the field of the later release is lost or wrong: {data}")


def _hosts_the_later(actor: Actor) -> bool:
    return any(member.versions.get(TYPE, {}).get(CONTRACT) == 2 for member in actor.client.view.active)
