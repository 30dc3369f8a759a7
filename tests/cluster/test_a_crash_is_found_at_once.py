"""A killed silo is found at once by silos on its host, and its grains answer without a hold."""

from __future__ import annotations

import asyncio

from grange import Grain
from grange.membership.model.member import SiloStatus
from grange.testing import TestCluster


class Counter(Grain, name="counter"):
    """Counts in memory."""

    def __init__(self) -> None:
        self.count = 0

    async def add(self, number: int) -> int:
        self.count += number
        return self.count


async def test_on_one_host_a_death_and_the_next_answer_take_no_missed_probe() -> None:
    """R5, DIR-09: the process is gone, so there is nothing to wait for."""
    async with TestCluster([Counter], silos=3, one_host=True) as cluster:
        assert cluster.time is not None
        counters = [cluster.get_grain(Counter, str(number)) for number in range(30)]
        await asyncio.gather(*(counter.add(1) for counter in counters))
        victim, observer, _ = cluster.silos
        address, began = victim.address, cluster.time.time()
        await cluster.kill(victim)
        await asyncio.gather(*(counter.add(1) for counter in counters))
        assert cluster.time.time() - began < 1.0
        row = observer.view.get(address)
        assert row is not None
        assert row.status is SiloStatus.DEAD
        assert row.hold == 0.0


async def test_a_firewall_that_refuses_one_silo_kills_none() -> None:
    """F43: a third silo reaches both. `tests/membership/test_crashes.py` has the rule for hosts of their own."""
    async with TestCluster([Counter], silos=3) as cluster:
        one, other, _ = cluster.silos
        cluster.reject(one, other)
        await cluster.advance(60.0)
        assert {one.address, other.address} <= {member.address for member in cluster.silos[2].view.active}
        cluster.heal()
        await cluster.stable()


async def test_a_broken_connection_begins_the_look() -> None:
    """Without waiting for a probe: here the next one comes much later."""
    async with TestCluster([Counter], silos=3, one_host=True, membership_options={"probe_interval": 10.0}) as cluster:
        assert cluster.time is not None
        counters = [cluster.get_grain(Counter, str(number)) for number in range(30)]
        await asyncio.gather(*(counter.add(1) for counter in counters))
        victim, observer, _ = cluster.silos
        address = victim.address
        before = cluster.time.time()
        await cluster.kill(victim)
        await observer.wait_for({silo.address for silo in cluster.silos if silo is not victim})
        assert cluster.time.time() - before < 0.2
        row = observer.view.get(address)
        assert row is not None
        assert row.hold == 0.0
