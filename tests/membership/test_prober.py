"""Probes start to start, each silo by itself, and only those that are watched."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from grange.membership.options import MembershipOptions
from grange.membership.prober import Prober
from grange.testing.loop import VirtualTime
from tests.membership.cluster import address

ONE, TWO = address(1), address(2)


class Script:
    """Answers probes as told, after a while; counts probes and suspicions."""

    def __init__(self) -> None:
        self.silent: set = set()
        self.takes = 0.0
        self.probes: Counter = Counter()
        self.suspected: list[tuple[float, object]] = []
        self.prober = Prober(self.probe, self.suspect, MembershipOptions(), random.Random(3))

    async def probe(self, silo) -> bool:
        self.probes[silo] += 1
        await asyncio.sleep(self.takes)
        return silo not in self.silent

    async def suspect(self, silo) -> None:
        self.suspected.append((asyncio.get_running_loop().time(), silo))


async def test_one_probe_in_an_interval_however_long_the_answer_takes():
    """Start to start: an answer that takes its time does not stretch the period."""
    with VirtualTime(asyncio.get_running_loop()).installed():
        script = Script()
        script.takes = 0.9
        script.prober.watch([ONE, TWO])
        await asyncio.sleep(100)
        await script.prober.close()
    assert all(99 <= count <= 101 for count in script.probes.values())
    assert set(script.probes) == {ONE, TWO}


async def test_a_suspicion_after_three_misses_and_with_each_further_one():
    """MEM-09: not before the third; the other silo is not touched by it."""
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        script = Script()
        script.silent.add(ONE)
        script.prober.watch([ONE, TWO])
        began = time.time()
        await asyncio.sleep(5.5)
        await script.prober.close()
    assert {silo for _, silo in script.suspected} == {ONE}
    assert len(script.suspected) == script.probes[ONE] - 2
    assert 2 <= script.suspected[0][0] - began <= 3


async def test_a_change_of_view_keeps_the_count_of_who_stays():
    """Else a busy cluster, with a new view each second, would never find its dead."""
    with VirtualTime(asyncio.get_running_loop()).installed():
        script = Script()
        script.silent.add(ONE)
        for _ in range(8):
            script.prober.watch([ONE])
            await asyncio.sleep(0.5)
            script.prober.watch([ONE, TWO])
            await asyncio.sleep(0.5)
        await script.prober.close()
    assert script.suspected
    assert script.probes[ONE] >= 7


async def test_who_is_not_watched_any_more_is_not_probed():
    """Nor remembered: watched again, it starts with no misses."""
    with VirtualTime(asyncio.get_running_loop()).installed():
        script = Script()
        script.silent.add(ONE)
        script.prober.watch([ONE])
        await asyncio.sleep(2.0)
        script.prober.watch([])
        assert script.prober.watched == frozenset()
        before = script.probes[ONE]
        await asyncio.sleep(10)
        assert script.probes[ONE] == before
        script.prober.watch([ONE])
        await asyncio.sleep(2.0)
        assert not script.suspected
        await script.prober.close()
        await asyncio.sleep(10)
        assert not script.suspected
