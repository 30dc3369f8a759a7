"""A silo that was declared dead and still runs cannot change the store (R7)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from grange import CallNotExecuted, Grain, GrainId, InconsistentStateError, PersistentState, StorageUnavailable
from grange.errors import DeclaredDead
from grange.storage.memory import MemoryStorage
from grange.storage.sets import Stamp
from grange.testing.cluster import TestCluster
from tests.storage.faults import FaultyStorage


@dataclass
class Total:
    value: int = 0


class Account(Grain, name="account"):
    def __init__(self, state: PersistentState[Total]) -> None:
        self.state = state

    async def add(self) -> int:
        self.state.value.value += 1
        await self.state.write()
        return self.state.value.value

    async def get(self) -> int:
        return self.state.value.value


class Greeter(Grain, name="greeter"):
    async def hello(self) -> str:
        return "hello"


async def add_somewhere(cluster: TestCluster, key: str) -> int:
    """Repeat the call until a silo executes it."""
    while True:
        try:
            return await cluster.get_grain(Account, key).add()
        except Exception:  # a call to a silo that has just died
            await cluster.advance(0.5)


async def test_a_zombies_write_is_refused_once_its_grains_run_on_other_silos() -> None:
    """F5, F13: the store refuses the write by its writer, although the etag is current."""
    storage = MemoryStorage()
    async with TestCluster([Account], silos=3, storage=storage) as cluster:
        for number in range(12):
            await cluster.get_grain(Account, str(number)).add()
        victim = cluster.silos[1]
        zombie = Stamp(cluster.writer(victim.address), 1_000_000)
        await cluster.kill(victim)
        await cluster.advance(15)
        for number in range(12):
            assert await add_somewhere(cluster, str(number)) == 2
        for number in range(12):
            grain_id = GrainId("account", str(number))
            record = await storage.read(grain_id, "state")
            with pytest.raises(InconsistentStateError, match="this silo was declared dead"):
                await storage.write(grain_id, "state", b'{"value":99}', record.etag, stamp=zombie)


async def test_grains_with_state_wait_for_the_fence_and_others_do_not() -> None:
    """If the store is down when a silo dies, stateless grains answer at once. No state is loaded unfenced."""
    storage = FaultyStorage()
    async with TestCluster([Account, Greeter], silos=3, storage=storage) as cluster:
        keys = [str(number) for number in range(12)]
        for key in keys:
            await cluster.get_grain(Account, key).add()
        victim = cluster.silos[1]
        zombie = Stamp(cluster.writer(victim.address), 1_000_000)
        storage.down = True
        await cluster.kill(victim)
        await cluster.advance(15)
        for key in keys:
            assert await cluster.get_grain(Greeter, key).hello() == "hello"
        outcomes = await asyncio.gather(
            *(cluster.get_grain(Account, key).get() for key in keys), return_exceptions=True
        )
        assert any(isinstance(outcome, StorageUnavailable) for outcome in outcomes)
        # The zombie still reaches the store, which the others do not reach. This is its last write that succeeds.
        lost = next(GrainId("account", key) for key, outcome in zip(keys, outcomes, strict=True) if outcome != 1)
        record = await storage.inner.read(lost, "state")
        await storage.inner.write(lost, "state", b'{"value":7}', record.etag, stamp=zombie)
        storage.down = False
        await cluster.advance(5)
        assert await cluster.get_grain(Account, lost.key).get() == 7
        record = await storage.inner.read(lost, "state")
        with pytest.raises(InconsistentStateError, match="this silo was declared dead"):
            await storage.inner.write(
                lost, "state", b"{}", record.etag, stamp=Stamp(cluster.writer(victim.address), 1_000_001)
            )


async def test_a_silo_that_a_store_fences_ends_and_answers_nothing_from_memory() -> None:
    """F18 after F13: the store still knows a death that a rolled-back table has lost, so the silo must not go on."""
    storage = MemoryStorage()
    async with TestCluster([Account], silos=1, storage=storage) as cluster:
        (silo,) = cluster.silos
        account = cluster.get_grain(Account, "ann")
        assert await account.add() == 1
        await storage.fence(
            [cluster.writer(silo.address)]
        )  # by a silo that has crashed since; the table shows this one as active
        with pytest.raises(InconsistentStateError, match="this silo was declared dead"):
            await account.add()
        async with asyncio.timeout(1):
            error = await silo.declared_dead()
        assert isinstance(error, DeclaredDead)
        assert "its death is recorded" in str(error)
        with pytest.raises(CallNotExecuted):
            await account.get()


async def test_every_write_carries_the_silo_that_made_it() -> None:
    """No two writes have the same stamp. The checker of invariant I2 relies on that."""
    storage = MemoryStorage()
    async with TestCluster([Account], silos=2, storage=storage) as cluster:
        stamps: set[Stamp | None] = set()
        for number in range(20):
            await cluster.get_grain(Account, str(number)).add()
            stamps.add((await storage.read(GrainId("account", str(number)), "state")).stamp)
        assert len(stamps) == 20
        assert {stamp.writer for stamp in stamps if stamp} == {cluster.writer(silo.address) for silo in cluster.silos}
