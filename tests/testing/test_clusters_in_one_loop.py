"""Several clusters in one event loop share its clock, or are refused by name."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from grange import ConfigurationError, Grain
from grange.client import Client
from grange.silo import Silo
from grange.testing.cluster import TestCluster
from grange.testing.loop import VirtualTime


class Clock(Grain):
    def __init__(self) -> None:
        self.ticks = 0

    async def start(self, period: float) -> None:
        self.start_timer(self._tick, period, period)

    async def count(self) -> int:
        return self.ticks

    async def _tick(self) -> None:
        self.ticks += 1


async def test_nested_clusters_share_a_virtual_clock() -> None:
    async with TestCluster([Clock], silos=2) as outer:
        await outer.get_grain(Clock, "a").start(10)
        await outer.advance(35)
        async with TestCluster([Clock], silos=2) as inner:
            await inner.get_grain(Clock, "a").start(10)
            await inner.advance(35)
            assert await inner.get_grain(Clock, "a").count() == 3
            assert inner.time is outer.time
        assert await outer.get_grain(Clock, "a").count() == 7
        await outer.advance(10)
        assert await outer.get_grain(Clock, "a").count() == 8
        await outer.stable()


async def test_the_first_cluster_may_end_first() -> None:
    first, second = TestCluster([Clock], silos=2), TestCluster([Clock], silos=2)
    await first.__aenter__()
    await second.__aenter__()
    await second.get_grain(Clock, "a").start(10)
    await first.__aexit__(None, None, None)
    await second.advance(35)
    assert await second.get_grain(Clock, "a").count() == 3
    await second.stable()
    await second.__aexit__(None, None, None)
    assert not isinstance(getattr(asyncio.get_running_loop().time, "__self__", None), VirtualTime)


async def test_clusters_one_after_another() -> None:
    """Each removes its clock without a trace: a thousand of them made a chain of calls that was too deep."""
    loop = asyncio.get_running_loop()
    for _ in range(1200):
        with VirtualTime(loop).installed():
            await asyncio.sleep(60)
    before = loop.time()
    async with TestCluster([Clock], silos=1) as cluster:
        await cluster.get_grain(Clock, "a").start(10)
        await cluster.advance(35)
        assert await cluster.get_grain(Clock, "a").count() == 3
    assert loop.time() >= before + 35


async def test_real_and_virtual_time_in_one_loop_are_refused() -> None:
    async with TestCluster([Clock], silos=1, virtual_time=False) as real:
        with pytest.raises(ConfigurationError, match="runs in this event loop in real time"):
            await TestCluster([Clock], silos=1).__aenter__()
        async with TestCluster([Clock], silos=1, virtual_time=False) as other:
            assert await other.get_grain(Clock, "a").count() == 0
        assert await real.get_grain(Clock, "a").count() == 0
    async with TestCluster([Clock], silos=1) as virtual:
        with pytest.raises(ConfigurationError, match="virtual_time=False, but another test cluster"):
            await TestCluster([Clock], silos=1, virtual_time=False).__aenter__()
        assert await virtual.get_grain(Clock, "a").count() == 0


async def test_a_real_network_in_virtual_time_is_refused(tmp_path: Path) -> None:
    silo = Silo(grains=[Clock], port=0, gateway_port=0, data=tmp_path)
    async with TestCluster([Clock], silos=1) as cluster:
        for start in (Client(["127.0.0.1:1"]).__aenter__, silo.start):
            with pytest.raises(ConfigurationError, match="a real network needs real time"):
                await start()
        assert await cluster.get_grain(Clock, "a").count() == 0
