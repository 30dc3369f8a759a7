"""Ledgers: a grain with two states that are stored in one set. They are always equal, in memory and in the store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from grange.grains.decorators import transactional
from grange.grains.grain import Grain
from grange.storage.states.state import PersistentState
from grange.testing.checks.history import Event, Violation
from grange.testing.simulation.turns import SiloTurnLog
from grange.testing.simulation.workloads.contract import Actor, Ended, Scene
from grange.testing.simulation.workloads.counters import CounterState


class SimulatedLedger(Grain, name="simulated_ledger", idle_timeout=20):
    """The sum of all entries, twice. The arguments `client` and `call` name the call for the turn log."""

    def __init__(
        self, debit: PersistentState[CounterState], credit: PersistentState[CounterState], turn_log: SiloTurnLog
    ) -> None:
        self.debit = debit
        self.credit = credit
        self.turn_log = turn_log
        self.activation = turn_log.activation()

    @transactional
    async def add(self, amount: int, client: str, call: int) -> int:
        """Add to both sums, and return one."""
        with self.turn_log.turn(str(self.id), self.activation, client, call):
            self.debit.value = CounterState(self.debit.value.value + amount, self.activation)
            self.credit.value = CounterState(self.credit.value.value + amount, self.activation)
            return self.debit.value.value

    async def sums(self, client: str, call: int) -> list[int]:
        """Return both sums."""
        with self.turn_log.turn(str(self.id), self.activation, client, call):
            return [self.debit.value.value, self.credit.value.value]


class Ledgers:
    """Entries of random amounts, and reads of both sums."""

    name = "ledgers"

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def grains(self, machine: int) -> Sequence[type[Grain[Any]]]:
        """See `Workload`."""
        return (SimulatedLedger,)

    async def act(self, actor: Actor) -> None:
        """See `Workload`."""
        while actor.is_running():
            await actor.pause(self._scene.pace * 3)
            key = f"l-k{actor.rng.randrange(self._scene.keys)}"
            if actor.rng.random() < 0.7:
                await self._call(actor, "add", key, actor.rng.randrange(1, 100))
            else:
                await self._call(actor, "sums", key, None)

    async def _call(self, actor: Actor, op: str, key: str, amount: int | None) -> None:
        ledger = actor.client.get_grain(SimulatedLedger, key)

        async def send(call: Event) -> Any:
            if amount is None:
                return await ledger.sums(actor.name, call.call)
            return await ledger.add(amount, actor.name, call.call)

        await self._scene.call(actor.name, op, key, amount, send)

    def check(self, ended: Ended) -> Iterable[Violation]:
        """See `Workload`."""
        for event in ended.history:
            if event.op == "sums" and event.kind == "ok" and event.value[0] != event.value[1]:
                yield Violation("I4", event.key, f"its sums are {event.value}: a part of a set was stored or kept")
        debits, credits = (_sums(ended, state) for state in ("debit", "credit"))
        for key in sorted(debits.keys() | credits.keys()):
            if debits.get(key) != credits.get(key):
                text = f"{debits.get(key)} and {credits.get(key)} are stored: a part of a set was stored"
                yield Violation("I4", key, text)
        for key, added in _added(ended.history).items():
            if debits.get(key, 0) < added:
                yield Violation("I1", key, f"entries of {added} were acknowledged, {debits.get(key, 0)} is stored")


def _sums(ended: Ended, state: str) -> dict[str, int]:
    names = (name.removeprefix("simulated_ledger/").split(" ") for name in ended.stored if "simulated_ledger/" in name)
    return {key: ended.stored[f"simulated_ledger/{key} {state}"] for key, found in names if found == state}


def _added(history: Sequence[Event]) -> dict[str, int]:
    """The amounts of the acknowledged entries."""
    amounts = {(event.client, event.call): event.value for event in history if event.kind == "invoke"}
    added: dict[str, int] = {}
    for event in history:
        if event.op == "add" and event.kind == "ok" and event.key.startswith("l-"):  # other workloads add, too
            added[event.key] = added.get(event.key, 0) + amounts[event.client, event.call]
    return added
