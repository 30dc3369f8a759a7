"""Vaults that only some callers may open: no turn of another caller runs, and no allowed call is refused.

One client is the keeper. Every client may send a porter, who may look into vaults for any of them, and who closes one
only for the keeper. What a caller may do is written here a second time, apart from the rules of the silos.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from grange.errors import CallNotExecuted, Unauthorized
from grange.grains.caller import caller
from grange.grains.decorators import requires
from grange.grains.grain import Grain
from grange.testing.checks.history import Event, Violation, operations
from grange.testing.simulation.turns import SiloTurnLog
from grange.testing.simulation.workloads.contract import Actor, Ended, Scene

KEEPER = "client-1"
"""The client that has the role of the keeper; `simulation.py` gives it."""

PORTER = "grain:simulated_porter"

UNAUTHORIZED = Unauthorized.__name__

OF_VAULTS = "v-"
"""The beginning of the keys of these calls: of all calls, only they may be refused as unauthorized."""

NOTED = "vault_turn"


class SimulatedVault(Grain[int], name="simulated_vault", idle_timeout=20):
    """Notes for whom its turns run."""

    def __init__(self, turn_log: SiloTurnLog) -> None:
        self.turn_log = turn_log
        self.activation = turn_log.activation()

    async def look(self, client: str, call: int) -> str:
        """The keeper may, and a porter for anyone."""
        return self._ran("look", client, call)

    @requires("role:keeper")
    async def close(self, client: str, call: int) -> str:
        """The keeper may, itself or by a porter."""
        return self._ran("close", client, call)

    async def open(self, client: str, call: int) -> str:
        """No caller may."""
        return self._ran("open", client, call)

    def _ran(self, method: str, client: str, call: int) -> str:
        identity = caller()
        subject, via = ("", "") if identity is None else (identity.subject, identity.via)
        self.turn_log.note(NOTED, str(self.key), (method, subject.rpartition("/")[2], via))
        if client:
            with self.turn_log.turn(str(self.id), self.activation, client, call):
                return method
        return method


class SimulatedPorter(Grain[int], name="simulated_porter", idle_timeout=20):
    """Calls vaults for its callers. `client` and `call` name the first call for the turn log."""

    def __init__(self, turn_log: SiloTurnLog) -> None:
        self.turn_log = turn_log
        self.activation = turn_log.activation()

    async def send(self, method: str, vault: int, client: str, call: int) -> str:
        """Call the vault. Returns what it returned, or the name of the error if it did not run."""
        with self.turn_log.turn(str(self.id), self.activation, client, call):
            try:
                return str(await getattr(self.get_grain(SimulatedVault, vault), method)("", 0))
            except CallNotExecuted as error:
                return type(error).__name__


def may(client: str, method: str, by_porter: bool) -> bool:
    """Whether this client may call this method of a vault, itself or by a porter."""
    if method == "open":
        return False
    return client == KEEPER or (by_porter and method == "look")


def rules_of_vaults(clients: str) -> list[dict[str, list[str]]]:
    """The rules for these grains, with the word for all clients. `simulated_vault/open` has none."""
    return [
        {"who": ["role:keeper"], "call": ["simulated_vault/look", "simulated_vault/close"]},
        {"who": [PORTER], "call": ["simulated_vault/look", "simulated_vault/close"]},
        {"who": [clients], "call": ["simulated_porter/*"]},
    ]


class Vaults:
    """Calls to vaults, allowed ones and others."""

    name = "vaults"

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def grains(self, machine: int) -> Sequence[type[Grain[Any]]]:
        """See `Workload`."""
        return (SimulatedVault, SimulatedPorter)

    async def act(self, actor: Actor) -> None:
        """See `Workload`."""
        while actor.is_running():
            await actor.pause(self._scene.pace * 2)
            method, key = actor.rng.choice(("look", "close", "open")), actor.rng.randrange(self._scene.keys)
            if actor.rng.random() < 0.5:
                await self._by_itself(actor, method, key)
            else:
                await self._by_porter(actor, method, key, actor.rng.randrange(self._scene.keys))

    async def _by_itself(self, actor: Actor, method: str, key: int) -> None:
        vault = actor.client.get_grain(SimulatedVault, key)

        async def send(call: Event) -> str:
            return str(await getattr(vault, method)(actor.name, call.call))

        await self._scene.call(actor.name, method, f"v-{key}", "itself", send)

    async def _by_porter(self, actor: Actor, method: str, key: int, porter: int) -> None:
        sent = actor.client.get_grain(SimulatedPorter, porter)

        async def send(call: Event) -> str:
            return await sent.send(method, key, actor.name, call.call)

        await self._scene.call(actor.name, method, f"v-{key}", "porter", send)

    def check(self, ended: Ended) -> Iterable[Violation]:
        """See `Workload`."""
        for note in ended.notes:
            if note.kind == NOTED and not may(note.value[1], note.value[0], note.value[2] == PORTER):
                yield Violation("S4", f"v-{note.key}", f"a turn ran that is not allowed: {note.value}")
        for call in operations(event for event in ended.history if event.key.startswith(OF_VAULTS)):
            by_porter, made = call.invoke.value == "porter", call.invoke
            allowed = may(made.client, made.op, by_porter)
            refused = call.end is not None and UNAUTHORIZED in (call.end.error, call.end.value)
            if refused and allowed:
                yield Violation("S4", made.key, f"{made.op} of {made.client} was refused as unauthorized")
            if not allowed and call.end is not None and call.end.value == made.op:
                yield Violation("S4", made.key, f"{made.op} of {made.client} ran")
