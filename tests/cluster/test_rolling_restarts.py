"""Rolling restarts in virtual time, for many seeds: calls from outside and between grains, timers, one-way calls."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter as Tally
from dataclasses import dataclass

import pytest

from grange import Grain, PersistentState, one_way
from grange.grains.deactivation import DeactivationReason
from grange.silo.silo import Silo
from grange.testing import TestCluster


@dataclass
class Total:
    total: int = 0


class Account(Grain):
    """Stores its total before it answers. Every turn takes at least 3 ms."""

    def __init__(self, state: PersistentState[Total]) -> None:
        self.state = state

    async def add(self, amount: int) -> int:
        self.state.value.total += amount
        await asyncio.sleep(0.003)
        await self.state.write()
        return self.state.value.total

    @one_way
    async def note(self) -> None:
        self.state.value.total += 1
        await self.state.write()

    async def total(self) -> int:
        return self.state.value.total


class Ticker(Grain):
    """Counts timer ticks, and stores the count when it deactivates."""

    def __init__(self, state: PersistentState[Total]) -> None:
        self.state = state
        self.answered = 0

    async def on_activate(self) -> None:
        self.start_timer(self._tick, 0.05, 0.05)

    async def _tick(self) -> None:
        self.state.value.total += 1
        await self.get_grain(Account, f"ticks-{self.key}").note()

    async def count(self) -> int:
        """The count so far. It must never decrease, because state that was not stored in time would be lost."""
        return self.state.value.total

    async def on_deactivate(self, reason: DeactivationReason) -> None:
        await self.state.write()


class Teller(Grain):
    """Calls other grains, on any silo."""

    async def move(self, one: str, other: str) -> int:
        await self.get_grain(Account, one).add(-1)
        await asyncio.sleep(0.005)
        await self.get_grain(Account, other).add(1)
        await self.get_grain(Account, "moves").note()
        return await self.get_grain(Ticker, one).count()


class Callers:
    """The answers that callers got, to be compared with the stored state."""

    def __init__(self, cluster: TestCluster, rng: random.Random) -> None:
        self.cluster = cluster
        self.rng = rng
        self.calls = 0
        self.moves = 0
        self.added: Tally[str] = Tally()
        self.seen: Tally[str] = Tally()
        self.ended = False

    async def add(self, number: int) -> None:
        while not self.ended:
            key = f"own-{number}"
            await self.cluster.get_grain(Account, key).add(1)
            self.added[key] += 1
            self.calls += 1

    async def move(self, number: int) -> None:
        while not self.ended:
            one, other = (f"shared-{self.rng.randrange(12)}" for _ in range(2))
            if one == other:
                continue
            before = self.seen[one]
            seen = await self.cluster.get_grain(Teller, str(number % 5)).move(one, other)
            assert seen >= before, "a grain's state went back"
            self.seen[one] = max(seen, self.seen[one])
            self.moves += 1
            self.calls += 1

    async def check(self) -> None:
        """Assert that each acknowledged write is stored exactly once, and that moves add up to zero."""
        get = self.cluster.get_grain
        for key, added in self.added.items():
            assert await get(Account, key).total() == added
        assert sum([await get(Account, f"shared-{number}").total() for number in range(12)]) == 0
        assert await get(Account, "moves").total() == self.moves


async def replace(cluster: TestCluster, silo: Silo, how: str) -> None:
    """Stop one silo in order, and start a new one on its ports."""
    gateway = int(silo.gateway.rpartition(":")[2])
    if how == "drain":
        silo._running.ask_to_stop()
    await cluster.stop(silo)
    await cluster.add_silo(port=silo.address.port, gateway_port=gateway)


SEEDS = range(int(os.environ.get("ROLLING_SEEDS", "8")))
"""The seeds of the test. For more of them set ROLLING_SEEDS=200."""


@pytest.mark.parametrize("seed", SEEDS)
async def test_rolling_restarts_fail_no_call_and_lose_no_state(seed: int) -> None:
    """F30: no failure and no lost state, at any moment of the work at which a silo is asked to stop."""
    rng = random.Random(seed)
    async with TestCluster([Account, Ticker, Teller], silos=3, seed=seed) as cluster:
        cluster.network.fate = lambda _source, _target, _message: (rng.uniform(0, 0.004),)
        callers = Callers(cluster, rng)
        async with asyncio.TaskGroup() as group:
            for number in range(6):
                group.create_task(callers.add(number))
                group.create_task(callers.move(number))
            for _ in range(3):
                await cluster.advance(rng.uniform(0.1, 0.5))
                await replace(cluster, cluster.silos[0], rng.choice(["stop", "drain"]))
            await cluster.advance(0.2)
            callers.ended = True
        assert callers.calls > 100
        await cluster.advance(1)
        await callers.check()
