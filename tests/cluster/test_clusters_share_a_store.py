"""Silos of two test clusters are never the same silo for a store that both use, one after the other or at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from grange import Grain, InconsistentStateError, PersistentState, SiloAddress
from grange.proto.ids import GrainId
from grange.storage.guards.stores import Stamps
from grange.storage.memory import MemoryStorage
from grange.storage.urls import open_storage
from grange.testing import TestCluster


class Counter(Grain):
    def __init__(self, total: PersistentState[int]) -> None:
        self.total = total

    async def add(self) -> int:
        self.total.value += 1
        await self.total.write()
        return self.total.value

    async def clear(self) -> None:
        await self.total.clear()


async def test_the_next_cluster_continues_from_the_store_of_the_last() -> None:
    """A full restart: each cluster's first write is its own, not a repetition of the first cluster's first write."""
    store = MemoryStorage()
    for run in range(1, 5):
        async with TestCluster([Counter], silos=1, storage=store) as cluster:
            assert await cluster.get_grain(Counter, "x").add() == run
            record = await store.read(GrainId("counter", "x"), "total")
            assert record.payload == str(run).encode()


async def test_a_clear_of_the_next_cluster_is_its_own() -> None:
    """Each cluster's second change is a clear; a store that took it for a repetition would keep the value."""
    store = MemoryStorage()
    for _ in range(3):
        async with TestCluster([Counter], silos=1, storage=store) as cluster:
            counter = cluster.get_grain(Counter, "x")
            assert await counter.add() == 1
            await counter.clear()
            assert (await store.read(GrainId("counter", "x"), "total")).payload is None


async def test_a_silo_killed_in_one_cluster_is_not_dead_in_the_next() -> None:
    """The store knows the dead silos of the first cluster; the second cluster's silos have the same addresses."""
    store = MemoryStorage()
    answers: list[int] = []
    addresses: list[list[SiloAddress]] = []
    for _ in range(3):
        async with TestCluster([Counter], silos=2, storage=store) as cluster:
            addresses.append([silo.address for silo in cluster.silos])
            counter = cluster.get_grain(Counter, "y")
            answers.append(await counter.add())
            host = cluster.where(counter)
            assert host is not None
            await cluster.kill(host)
            answers.append(await counter.add())
    assert answers == [1, 2, 3, 4, 5, 6]
    assert addresses[0] == addresses[1] == addresses[2]  # so a seed repeats its placements


async def test_the_same_on_a_database_that_each_cluster_opens(tmp_path: Path) -> None:
    """Each run of a test program opens the file again: two silos, one killed."""
    for run in range(3):
        async with (
            open_storage(f"sqlite:///{tmp_path}/state.db", "svc") as store,
            TestCluster([Counter], storage=store, virtual_time=False) as cluster,
        ):
            counter = cluster.get_grain(Counter, "x")
            assert await counter.add() == 2 * run + 1
            host = cluster.where(counter)
            assert host is not None
            await store.fence([cluster.writer(host.address)])
            await cluster.kill(host)
            assert await counter.add() == 2 * run + 2


@pytest.mark.parametrize("virtual", [True, False])
async def test_a_death_in_one_of_two_clusters_leaves_the_other_alive(virtual: bool) -> None:
    """Blue and green at once: green's silo has blue's endpoint and a later generation, and dies."""
    store = MemoryStorage()
    async with (
        TestCluster([Counter], silos=1, storage=store, virtual_time=virtual) as blue,
        TestCluster([Counter], silos=2, storage=store, virtual_time=virtual) as green,
    ):
        counter = blue.get_grain(Counter, "x")
        assert await counter.add() == 1
        assert await green.get_grain(Counter, "z").add() == 1
        for silo in green.silos:
            await store.fence([green.writer(silo.address)])
        assert await counter.add() == 2
        with pytest.raises(InconsistentStateError, match="this silo was declared dead"):
            await green.get_grain(Counter, "z").add()


async def test_a_restarted_silo_of_one_cluster_stays_distinct() -> None:
    """Within a cluster generations still order the silos of one endpoint."""
    store = MemoryStorage()
    async with TestCluster([Counter], silos=1, storage=store) as cluster:
        (old,) = cluster.silos
        assert await cluster.get_grain(Counter, "x").add() == 1
        new = await cluster.restart(old)
        one, two = cluster.writer(old.address), cluster.writer(new.address)
        assert (one.endpoint, one.generation < two.generation) == (two.endpoint, True)


def test_stamps_of_equal_addresses_differ_by_their_first_number() -> None:
    """A clock that stands still gives two runs of a silo one address."""
    silo = SiloAddress("10.0.0.1", 11111, 1)
    first, second = Stamps(silo, 7), Stamps(silo, 2**62 - 1)
    stamps = {stamps.next() for stamps in (first, second) for _ in range(10)}
    assert len(stamps) == 20
