"""Finds grains whose range moves with the next join."""

from __future__ import annotations

from grange.proto.ids import GrainId
from tests.directory.cluster import Cluster, Host


async def moving_grain(cluster: Cluster, old: Host) -> GrainId:
    """A grain that `old` owns now, and that the next silo to join will own."""
    async with Cluster() as later:
        *_, after = await later.start(len(cluster.view.members) + 1)
        return cluster.grain(lambda grain: cluster.owner(grain) is old and later.owner(grain).me == after.me)
