"""One reference to a grain, from each side that a call may come from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from grange import Grain
from grange.client.client import Client
from grange.testing import TestCluster

G = TypeVar("G", bound=Grain[Any])

SIDES = ("near", "far", "through a gateway")


@asynccontextmanager
async def reached_from(cluster: TestCluster, side: str, grain: type[G], key: str) -> AsyncIterator[G]:
    """A reference to an active grain, from its own silo, from another silo, or from a client of another silo."""
    home = cluster.where(cluster.get_grain(grain, key))
    assert home is not None
    other = next(silo for silo in cluster.silos if silo is not home)
    if side == "through a gateway":
        client = Client([other.gateway], transport=cluster.new_transport("apart"), token=cluster.admin_token)
        async with client:
            yield client.get_grain(grain, key)
    else:
        yield (home if side == "near" else other).get_grain(grain, key)
