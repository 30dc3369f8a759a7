"""The membership table of a running cluster is emptied: no call fails, no silo ends, and the table is rebuilt."""

from __future__ import annotations

import asyncio

from grange import Grain
from grange.testing import TestCluster


class Tally(Grain[int], name="tally"):
    def __init__(self) -> None:
        self.count = 0

    async def add(self) -> int:
        self.count += 1
        return self.count


async def load(cluster: TestCluster, seconds: float) -> int:
    """Call each of twenty grains about every 0.1 s. Returns the number of calls. None may fail."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds

    async def call(key: int) -> int:
        calls = 0
        while loop.time() < ends:
            calls += 1
            assert await cluster.get_grain(Tally, key).add() == calls, "another activation answered"
            await asyncio.sleep(0.1)
        return calls

    return sum(await asyncio.gather(*(call(key) for key in range(20))))


async def test_calls_succeed_while_the_table_is_lost_and_rebuilt() -> None:
    """F18, R3: the one activation of each grain answers every call, before, during and after the loss."""
    async with TestCluster(grains=[Tally], silos=3) as cluster:
        before = await cluster.table.read()
        calling = asyncio.ensure_future(load(cluster, 60))
        await cluster.advance(5)
        await cluster.table.delete()
        assert await calling > 20 * 500
        after = await cluster.table.read()
        assert after.version.incarnation != before.version.incarnation
        assert [row.member.address for row in after.rows] == [row.member.address for row in before.rows]
        assert {silo.management.state().table for silo in cluster.silos} == {"ok"}


async def test_silos_join_and_die_after_the_table_was_rebuilt() -> None:
    """F18: joins and deaths work again within 30 s of the loss."""
    async with TestCluster(grains=[Tally], silos=3) as cluster:
        await cluster.table.delete()
        await cluster.kill(cluster.silos[0])
        await cluster.advance(30)
        await cluster.stable()
        await cluster.add_silo()
        assert len(cluster.silos[0].view.active) == 3
        assert await cluster.get_grain(Tally, 1).add() == 1
