"""Tills of two states, changed by transactional methods with idempotency keys.

Each set is stored whole or not at all: the total is that of the entries, in every reply and in the store. Each entry
that was acknowledged is stored once, however often its call was repeated; one whose call was refused is not stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from grange.errors import GrangeError
from grange.grains.context import idempotency_key
from grange.grains.decorators import idempotent
from grange.grains.grain import Grain
from grange.proto.ids import GrainId
from grange.storage.states.state import PersistentState
from grange.testing.checks.history import Violation
from grange.testing.simulation.databases import record_name
from grange.testing.simulation.workloads.contract import Actor, Ended, Scene

KEEP = 24 * 3600.0
"""Seconds for which answers are kept: longer than any run."""

MOST_TRIES = 60
"""Tries of one entry, until its client gives up."""


class Entry(msgspec.Struct, frozen=True):
    """One entry of a till."""

    id: str
    amount: int


class Reply(msgspec.Struct, frozen=True):
    """The till as a call left it: the number and the sum of its entries, and its total."""

    entries: int
    sum: int
    total: int


class SimulatedTill(Grain, name="simulated_till", idle_timeout=20):
    """Entries in one state, their total in another."""

    def __init__(self, entries: PersistentState[list[Entry]], total: PersistentState[int]) -> None:
        self.entries = entries
        self.total = total

    @idempotent(keep=KEEP)
    async def post(self, id: str, amount: int, fails: bool) -> Reply:
        """Add an entry. With `fails` it raises ValueError, after its changes."""
        self.entries.value.append(Entry(id, amount))
        self.total.value += amount
        if fails:
            raise ValueError("this entry is refused")
        entries = self.entries.value
        return Reply(len(entries), sum(entry.amount for entry in entries), self.total.value)


class Tills:
    """Posts entries, each until there is an answer, and some again after it."""

    name = "tills"

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._numbers = Counter[str]()
        self._acknowledged: list[tuple[str, Entry]] = []
        self._refused: set[str] = set()
        self._found: list[Violation] = []

    def grains(self, machine: int) -> Sequence[type[Grain[Any]]]:
        """See `Workload`."""
        return (SimulatedTill,)

    async def act(self, actor: Actor) -> None:
        """See `Workload`."""
        while actor.is_running():
            await actor.pause(self._scene.pace * 3)
            key = f"t-k{actor.rng.randrange(self._scene.keys)}"
            self._numbers[actor.name] += 1
            entry = Entry(f"{actor.name}.{self._numbers[actor.name]}", actor.rng.randrange(1, 100))
            fails, again = actor.rng.random() < 0.2, actor.rng.random() < 0.3
            reply = await self._post(actor, key, entry, fails)
            if reply is None or fails:
                continue
            self._acknowledged.append((key, entry))
            if again and (other := await self._post(actor, key, entry, False)) not in (None, reply):
                self._violation(key, f"the answer to {entry.id} was {reply}, and to its repetition {other}")

    async def _post(self, actor: Actor, key: str, entry: Entry, fails: bool) -> Reply | None:
        """Post an entry until there is an answer. None: it was refused, or there was none in time."""
        till = actor.client.get_grain(SimulatedTill, key)
        for _ in range(MOST_TRIES):
            if not actor.is_running():
                break
            try:
                with idempotency_key(entry.id):
                    reply = await till.post(entry.id, entry.amount, fails)
            except ValueError:
                self._refused.add(entry.id)
                self._scene.event_log.record("entry_refused", f"{key} {entry.id}")
                return None
            except GrangeError as error:
                self._scene.event_log.record("entry_failed", f"{key} {entry.id} {type(error).__name__}")
                await actor.pause(self._scene.pace)
                continue
            self._scene.event_log.record("entry_posted", f"{key} {entry.id} {reply}")
            if reply.sum != reply.total:
                self._violation(key, f"a set was applied in part: {reply} after {entry.id}")
            return reply
        return None

    def check(self, ended: Ended) -> Iterable[Violation]:
        """See `Workload`."""
        yield from self._found
        acknowledged = Counter[tuple[str, str]]((key, entry.id) for key, entry in self._acknowledged)
        for number in range(self._scene.keys):
            key = f"t-k{number}"
            till = GrainId("simulated_till", key)
            entries = msgspec.json.decode(ended.payloads.get(record_name(till, "entries"), b"[]"), type=list[Entry])
            total = msgspec.json.decode(ended.payloads.get(record_name(till, "total"), b"0"), type=int)
            if total != sum(entry.amount for entry in entries):
                yield Violation("I1", key, f"a set was applied in part: the total of {len(entries)} entries is {total}")
            counts = Counter(entry.id for entry in entries)
            yield from self._check_counts(key, counts, {id for place, id in acknowledged if place == key})

    def _check_counts(self, key: str, counts: Counter[str], acknowledged: set[str]) -> Iterable[Violation]:
        for id in sorted(acknowledged | counts.keys()):
            if counts[id] > 1:
                yield Violation("I1", key, f"the entry {id} took effect {counts[id]} times")
            if id in acknowledged and not counts[id]:
                yield Violation("I1", key, f"the entry {id} was acknowledged, and is not stored")
            if id in self._refused and counts[id]:
                yield Violation("I1", key, f"the entry {id} was refused, and is stored")

    def _violation(self, key: str, text: str) -> None:
        self._found.append(Violation("I1", key, text))
