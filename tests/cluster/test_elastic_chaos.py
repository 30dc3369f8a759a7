"""Silos start, stop and die all the time, under load: callers get only typed errors, and the directory stays right
(LIV-05).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest

from grange import CallNotExecuted, CallOutcomeUnknown, Grain
from grange.proto.ids import GrainAddress, GrainId
from grange.silo.silo import Silo
from grange.testing.cluster import TestCluster

ROUNDS = 6
CHANGES = 5
CHANGE_INTERVAL = 2.0
"""Virtual seconds between two changes. 6 rounds of 5 changes take a minute."""

MAX_SILOS = 6
KEYS = [str(number) for number in range(40)]


class Tally(Grain):
    def __init__(self) -> None:
        self.calls = 0

    async def add(self) -> int:
        self.calls += 1
        await asyncio.sleep(0.01)
        return self.calls


class Anywhere(Tally, placement="random"):
    pass


class Chaos:
    """Changes the silos of a cluster. `present` run code; `corpses` were killed and may not be declared dead yet."""

    def __init__(self, cluster: TestCluster) -> None:
        self.cluster = cluster
        self.present: list[Silo] = list(cluster.silos)
        self.corpses = 0
        self.starting = 0
        self.outcomes: Counter[str] = Counter()

    def claimed(self) -> Iterator[GrainAddress]:
        """Every activation that may run code now."""
        for silo in self.present:
            yield from silo.catalog.registered()

    async def change(self) -> None:
        """Start, stop or kill one silo. Never the last one, and at most one corpse at a time."""
        rng = self.cluster.random
        kinds = ["start"] if len(self.cluster.silos) + self.starting < MAX_SILOS else []
        if len(self.cluster.silos) > 1:
            kinds += ["stop"] if self.corpses else ["stop", "kill"]
        kind = rng.choice(kinds)
        self.outcomes[kind] += 1
        if kind == "start":
            self.starting += 1
            self.present.append(await self.cluster._start_silo({}))
            self.starting -= 1
            return
        silo = rng.choice(self.cluster.silos)
        if kind == "stop":
            self.cluster.silos.remove(silo)
            await silo.stop()
            self.present.remove(silo)
        else:
            self.corpses += 1
            self.present.remove(silo)
            await self.cluster.kill(silo)
            while any(not other.view.is_dead(silo.address) for other in self.cluster.silos):
                await asyncio.sleep(0.1)
            self.corpses -= 1

    async def load(self, cls: type[Tally], number: int) -> None:
        """Run one caller. Calls may fail as not executed or with an unknown outcome, and in no other way."""
        while True:
            key = KEYS[(self.outcomes["calls"] * 7 + number) % len(KEYS)]
            self.outcomes["calls"] += 1
            try:
                await self.cluster.random.choice(self.cluster.silos).get_grain(cls, key).add()
                self.outcomes["answered"] += 1
            except (CallNotExecuted, CallOutcomeUnknown) as error:
                self.outcomes[type(error).__name__] += 1
            await asyncio.sleep(0.05)

    async def watch(self) -> None:
        """Assert, all the time, that no grain has two activations."""
        while True:
            twice = [str(grain) for grain, count in Counter(a.grain_id for a in self.claimed()).items() if count > 1]
            assert not twice, f"two activations of {twice}"
            await asyncio.sleep(0.02)

    async def settled(self) -> None:
        """Wait until all silos see each other and every range is ready."""
        async with asyncio.timeout(60):
            for silo in self.cluster.silos:
                await silo.wait_for([one.address for one in self.cluster.silos])
        while any(silo.directory.partition.not_ready for silo in self.cluster.silos):
            await asyncio.sleep(0.1)

    def check_integrity(self) -> None:
        """Assert that each live activation is registered exactly once, at its owner, and nothing else is registered."""
        entries: dict[GrainId, list[tuple[Silo, GrainAddress]]] = {}
        for silo in self.cluster.silos:
            for entry in silo.directory.partition.entries:
                entries.setdefault(entry.grain_id, []).append((silo, entry))
        running = {address.grain_id: address for address in self.claimed()}
        for grain_id, address in running.items():
            [(silo, entry)] = entries.pop(grain_id)
            assert silo.directory.topology.owner(grain_id.ring_hash) == silo.address
            assert entry == address
        assert not entries, f"entries without an activation: {list(entries)}"


@pytest.mark.parametrize("seed", [1, 2])
async def test_only_typed_errors_and_a_consistent_directory(seed: int) -> None:
    """LIV-05: after each round every activation is registered once, at its owner. No grain ever has two activations."""
    async with TestCluster([Tally, Anywhere], silos=2, seed=seed) as cluster:
        chaos = Chaos(cluster)
        async with asyncio.TaskGroup() as always:
            watching = always.create_task(chaos.watch())
            for _ in range(ROUNDS):
                before = chaos.outcomes.copy()
                async with asyncio.TaskGroup() as changes:
                    kinds = (Tally, Anywhere)
                    callers = [changes.create_task(chaos.load(kinds[number % 2], number)) for number in range(8)]
                    pending = []
                    for _ in range(CHANGES):
                        pending.append(changes.create_task(chaos.change()))
                        await cluster.advance(CHANGE_INTERVAL)
                    await asyncio.gather(*pending)
                    for caller in callers:
                        caller.cancel()
                await chaos.settled()
                chaos.check_integrity()
                assert chaos.outcomes["answered"] > before["answered"]
            watching.cancel()
        assert sum(silo.directory.repairs.duplicates for silo in chaos.present) == 0
        assert {"start", "stop", "kill"} <= set(chaos.outcomes)
        assert chaos.outcomes["answered"] >= 1000  # a round of two deaths may answer few: each takes a death's time
        print(chaos.outcomes)
