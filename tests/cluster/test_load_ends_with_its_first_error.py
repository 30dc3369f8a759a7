"""The load of the process tests raises the error that an addition meets, and does not wait on behind it."""

from __future__ import annotations

import asyncio

import pytest

from grange import Grain, InconsistentStateError, StorageUnavailable
from grange.testing.cluster import TestCluster
from tests.processes.load import load


class Additions(Grain[str], name="counter"):
    """Takes the place of the counter. The second addition fails if the key names an error."""

    def __init__(self) -> None:
        self._total = 0
        self._fails = True

    async def add(self, amount: int = 1) -> int:
        await asyncio.sleep(1)
        if self._total == 1 and self._fails:
            self._fails = False
            if self.key == "locked":
                raise StorageUnavailable("database is locked")
            if self.key == "stale":
                raise InconsistentStateError("another writer changed it")
        self._total += amount
        return self._total

    async def total(self) -> int:
        return self._total


async def run_load(cluster: TestCluster, key: str, *, may_fail: bool, additions: int) -> None:
    """Run a load on a counter that never fails and on another one, until both have so many additions."""
    async with load(cluster.client, ["ann", key], may_fail=may_fail) as book:
        await book.more(additions)


@pytest.mark.parametrize("may_fail", [False, True])
async def test_a_failed_addition_ends_the_wait_and_is_named(may_fail: bool) -> None:
    """An error of the store is no refusal by a silo, so it ends the load in both cases."""
    async with TestCluster([Additions], silos=1) as cluster:
        begin = asyncio.get_running_loop().time()
        with pytest.raises(StorageUnavailable, match="database is locked") as caught:
            await run_load(cluster, "locked", may_fail=may_fail, additions=1000)
        assert asyncio.get_running_loop().time() - begin < 5, "it waited on"
        assert any("'locked'" in note for note in caught.value.__notes__)


async def test_a_lost_race_ends_the_load_unless_it_is_expected() -> None:
    async with TestCluster([Additions], silos=1) as cluster:
        with pytest.raises(InconsistentStateError):
            await run_load(cluster, "stale", may_fail=False, additions=3)
    async with TestCluster([Additions], silos=1) as cluster:
        await run_load(cluster, "stale", may_fail=True, additions=3)


async def test_an_error_after_the_last_wait_is_raised_at_the_end() -> None:
    async def run() -> None:
        async with load(cluster.client, ["locked"]) as book:
            await book.more(1)
            await cluster.advance(5)

    async with TestCluster([Additions], silos=1) as cluster:
        with pytest.raises(StorageUnavailable, match="database is locked"):
            await run()
