"""A silo that sends messages is alive: each silo records when it last heard from every other one."""

from __future__ import annotations

import math

import pytest

from grange.grains.grain import Grain
from grange.proto.ids import SiloAddress
from grange.testing.cluster import TestCluster


class Quiet(Grain):
    """A grain for the silos to host."""


async def test_a_silo_knows_when_it_last_heard_from_each_other_silo():
    """MEM-13: over connections opened by either side. Not from a dead silo, and not from one that stopped sending."""
    async with TestCluster(grains=[Quiet], silos=3) as cluster:
        first, second, third = cluster.silos
        await cluster.advance(10)

        def heard_from(silo: SiloAddress) -> float:
            """The last frame from this silo, over connections that either side opened."""
            parts = first._running
            return max(parts.links.peers.last_received(silo), parts.hosting.silo_inbound.last_received(silo))

        assert (first.management.state().score, first.management.state().withheld) == (0, 0)
        now = cluster.time.time()
        assert all(now - heard_from(other.address) <= 1 for other in (second, third))
        cluster.partition(first, second)
        await cluster.advance(2)
        assert cluster.time.time() - heard_from(second.address) >= 1.9
        assert cluster.time.time() - heard_from(third.address) <= 1
        await cluster.kill(third)
        scores: list[int] = []
        for _ in range(10):  # until the others are dead too; without silos to suspect its score falls to 0 again
            await cluster.advance(1)
            scores.append(first.management.state().score)
        assert heard_from(third.address) == -math.inf
        assert max(scores) > 0


@pytest.mark.parametrize("silos", [1, 3])
async def test_a_silo_killed_and_started_again_is_active_within_five_seconds(silos):
    """MEM-02, F31: no silo waits for the death of the old generation, because the new one at its endpoint writes it."""
    async with TestCluster(grains=[Quiet], silos=silos) as cluster:
        await cluster.advance(20)
        for _ in range(3):
            began = cluster.time.time()
            await cluster.restart(cluster.silos[0])
            assert cluster.time.time() - began <= 5
            await cluster.advance(5)
        assert len(cluster.silos) == silos
