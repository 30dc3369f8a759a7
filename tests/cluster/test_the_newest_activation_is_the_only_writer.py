"""The claim: of two activations of one grain, only the one that loaded the state last can write it.

The second one is made past the directory, as it may exist for some seconds around a failure.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from grange import Grain, GrainId, InconsistentStateError, PersistentState
from grange.runtime.activations.phase import Phase
from grange.storage.memory import MemoryStorage
from grange.testing import TestCluster
from tests.cluster.plain_storage import PlainStorage
from tests.cluster.second_activation import plant


class Score(Grain):
    def __init__(self, points: PersistentState[list[int]]) -> None:
        self.points = points

    async def add(self, number: int) -> list[int]:
        self.points.value.append(number)
        await self.points.write()
        return self.points.value

    async def clear(self) -> None:
        await self.points.clear()

    async def read_and_add(self, number: int) -> list[int]:
        await self.points.read()
        return await self.add(number)


TWO_PERIODS = 26.0
"""Virtual seconds after which a second activation is found and ended."""

Two = tuple[TestCluster, Score, Score]
"""The cluster, the older activation, and the newer one, which the directory does not know."""


@asynccontextmanager
async def two_activations(first: int | None = 1, **options: Any) -> AsyncIterator[Two]:
    async with TestCluster([Score], silos=2, **options) as cluster:
        older = cluster.get_grain(Score, "ann")
        if first is None:
            await older.clear()  # it has no record yet
        else:
            assert await older.add(first) == [first]
        stays, home = cluster.activation(older), cluster.where(older)
        assert stays is not None
        other = next(silo for silo in cluster.silos if silo is not home)
        planted = plant(other, stays.grain_id)
        while planted.phase is Phase.ACTIVATING:
            await cluster.advance(0.001)
        yield cluster, older, other.get_grain(Score, "ann")


async def test_the_older_activation_cannot_write_any_more() -> None:
    """Its etag is still the stored one, so without the claim its write would be accepted, and the newer one's lost."""
    async with two_activations() as (_, older, newer):
        with pytest.raises(InconsistentStateError, match="newer activation"):
            await older.add(2)
        assert await newer.add(3) == [1, 3]


async def test_without_the_claim_the_older_activation_writes_once_more() -> None:
    async with two_activations(storage_options={"claim": False}) as (_, older, newer):
        assert await older.add(2) == [1, 2]
        with pytest.raises(InconsistentStateError):
            await newer.add(3)


async def test_the_refused_activation_ends_and_the_grain_goes_on() -> None:
    async with two_activations() as (cluster, older, newer):
        with pytest.raises(InconsistentStateError):
            await older.add(2)
        await cluster.advance(TWO_PERIODS)
        assert cluster.count(Score) == 1
        assert await older.add(3) == [1, 3]
        assert await newer.add(4) == [1, 3, 4]  # both references lead to one activation


async def test_of_two_first_writes_one_is_accepted() -> None:
    """A record that does not exist cannot be claimed: the etag decides."""
    async with two_activations(first=None) as (_, older, newer):
        assert await older.add(1) == [1]
        with pytest.raises(InconsistentStateError):
            await newer.add(2)
        assert await older.add(3) == [1, 3]


async def test_to_read_again_takes_no_claim_from_a_newer_activation() -> None:
    async with two_activations() as (_, older, newer):
        with pytest.raises(InconsistentStateError, match="newer activation"):
            await older.read_and_add(2)
        assert await newer.add(3) == [1, 3]


async def test_a_record_that_a_tool_made_meanwhile_is_claimed_when_it_is_read() -> None:
    async with TestCluster([Score], silos=1) as cluster:
        score = cluster.get_grain(Score, "ann")
        await score.clear()
        storage = cluster.storage
        assert isinstance(storage, MemoryStorage)
        storage.seed(GrainId("score", "ann"), "points", b"[7]")
        assert await score.read_and_add(8) == [7, 8]
        assert (await storage.read(GrainId("score", "ann"), "points")).claim is not None


async def test_stateless_workers_claim_nothing() -> None:
    """They are several activations by design, which share the state by its etag."""

    class Worker(Grain, stateless_workers=2):
        def __init__(self, points: PersistentState[list[int]]) -> None:
            self.points = points

        async def points_of(self) -> list[int]:
            return self.points.value

    async with TestCluster([Worker], silos=1) as cluster:
        storage = cluster.storage
        assert isinstance(storage, MemoryStorage)
        storage.seed(GrainId("worker", "a"), "points", b"[7]")
        assert await cluster.get_grain(Worker, "a").points_of() == [7]
        assert (await storage.read(GrainId("worker", "a"), "points")).claim is None


async def test_a_store_without_claims_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async with TestCluster([Score], silos=1, storage=PlainStorage()) as cluster:
        for number in range(3):
            assert await cluster.get_grain(Score, str(number)).add(1) == [1]
        [record] = [each for each in caplog.records if getattr(each, "event", "") == "storage_without_claims"]
        assert "'default'" in record.getMessage()
