"""Activations that were idle for longest end when the process uses too much memory."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange import DeactivationReason, Grain
from grange.observability.events import Events
from grange.runtime.options import RuntimeOptions
from grange.silo.memory_shedding import MIB, PERIOD, TARGET, MemoryPressure, MemoryShedding, limit_of
from grange.testing.cluster import TestCluster

ended: list[DeactivationReason] = []


class Box(Grain):
    async def touch(self) -> None:
        return None

    async def hold(self) -> None:
        await asyncio.sleep(20)

    async def stay(self) -> None:
        self.delay_deactivation(1000)

    async def on_deactivate(self, reason: DeactivationReason) -> None:
        ended.append(reason)


class Safe(Grain, keep_alive=True):
    async def touch(self) -> None:
        return None


def test_the_surplus_is_what_is_over_the_target() -> None:
    pressure = MemoryPressure(1000)
    assert pressure.surplus(1000, 100) == 0
    assert pressure.surplus(1500, 100) == 100 - int(100 * TARGET / 1.5)


def test_freed_memory_that_python_keeps_ends_nothing_more() -> None:
    pressure = MemoryPressure(1000)
    assert pressure.surplus(1500, 100) > 0
    assert pressure.surplus(1500, 60) == pressure.surplus(1400, 60) == 0
    assert pressure.surplus(1600, 60) > 0, "it has grown"
    assert pressure.surplus(900, 60) == 0
    assert pressure.surplus(1100, 60) > 0, "it was below the limit in between"


@given(st.integers(0, 10**12), st.integers(0, 10**6))
def test_never_more_than_there_are(used: int, activations: int) -> None:
    assert 0 <= MemoryPressure(10**9).surplus(used, activations) <= activations


def test_the_limit_is_off_in_virtual_time_unless_it_is_given() -> None:
    assert limit_of(RuntimeOptions(), real_time=False) == 0
    assert limit_of(RuntimeOptions(), real_time=True) > 0
    assert limit_of(RuntimeOptions(memory_percent=100), real_time=True) == 0
    assert limit_of(RuntimeOptions(memory_mib=5), real_time=False) == 5 * MIB


async def test_those_that_were_idle_for_longest_end() -> None:
    """LIF-28: busy ones, kept ones and those with a delay stay."""
    ended.clear()
    async with TestCluster([Box, Safe], silos=1) as cluster:
        silo = cluster.silos[0]
        await cluster.get_grain(Safe, "s").touch()
        await cluster.get_grain(Box, "stays").stay()
        busy = asyncio.ensure_future(cluster.get_grain(Box, "busy").hold())
        for number in range(10):
            await cluster.get_grain(Box, str(number)).touch()
            await cluster.advance(1)
        events = Events("here")
        shedding = MemoryShedding(silo.catalog, events, 1000 * MIB, lambda: 1200 * MIB)
        await shedding.look()
        await cluster.advance(1)
        left = sorted(each.grain_id.key for each in silo.catalog.activations())
        assert left == ["4", "5", "6", "7", "8", "9", "busy", "s", "stays"]
        assert [(str(each.code), each.text) for each in ended[:1]] == [
            ("memory", "the process uses 1200 MiB, over 1000 MiB")
        ]
        (row,) = events.after(0, 10)[0]
        assert (row.name, row.facts["ended"], row.facts["activations"]) == ("activations_shed", 4, 13)
        await shedding.look()
        assert events.counts == {"activations_shed": 1}, "the memory has not grown since"
        await busy


async def test_a_silo_that_is_told_looks_by_itself() -> None:
    """LIF-28: `memory_mib` of one MiB is always exceeded."""
    async with TestCluster([Box], silos=1, runtime={"memory_mib": 1}) as cluster:
        await cluster.get_grain(Box, "a").touch()
        await cluster.advance(2 * PERIOD)
        assert cluster.count(Box) == 0
        await cluster.get_grain(Box, "a").touch()


@pytest.mark.parametrize("many", [3000])
async def test_many_end_in_portions(many: int) -> None:
    """LIF-28: the event loop runs other tasks in between."""
    async with TestCluster([Box], silos=1) as cluster:
        await asyncio.gather(*(cluster.get_grain(Box, str(number)).touch() for number in range(many)))
        await MemoryShedding(cluster.silos[0].catalog, Events("here"), 1000, lambda: 1800).look()
        await cluster.advance(1)
        assert cluster.count(Box) == many // 2
