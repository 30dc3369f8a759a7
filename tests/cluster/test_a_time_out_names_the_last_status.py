"""The error of a call that times out names the last known status of the call."""

from __future__ import annotations

import asyncio
import re

import pytest

from grange import CallTimeout, Grain, response_timeout
from grange.proto.message import Status
from grange.testing import TestCluster


class Slow(Grain):
    @response_timeout(8)
    async def work(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return str(self._grange.owner.deps.address)  # type: ignore[attr-defined]


async def message_of(call: asyncio.Task[str]) -> str:
    with pytest.raises(CallTimeout) as caught:
        await call
    return str(caught.value)


async def test_the_time_out_of_a_remote_call_names_whether_it_ran_or_waited() -> None:
    """Each caller gets one status, after a quarter of the time-out. Calls that end in time get none."""
    async with TestCluster([Slow], silos=1) as cluster:
        statuses: list[Status] = []

        def fate(source: str, target: str, message: object) -> tuple[float, ...]:
            if isinstance(message, Status):
                statuses.append(message)
            return (0.0,)

        cluster.network.fate = fate
        grain = cluster.get_grain(Slow, "a")
        await grain.work(0)
        first = asyncio.create_task(grain.work(9))
        await cluster.advance(0.1)
        second, third = asyncio.create_task(grain.work(9)), asyncio.create_task(grain.work(9))
        running, waiting, last = await asyncio.gather(*(message_of(each) for each in (first, second, third)))
        assert re.search(r"timed out: running for [23]\.\d s, as silo \S+ reported [56]\.\d s before$", running)
        assert "timed out: queued at 1 of 2 (active), as silo" in waiting
        assert "timed out: queued at 2 of 2 (active), as silo" in last
        assert len(statuses) == 3


async def test_the_time_out_of_a_call_that_a_gateway_forwards_names_the_gateway() -> None:
    async with TestCluster([Slow], silos=2) as cluster:
        silo, other = cluster.silos
        key = "0"
        while await cluster.get_grain(Slow, key).work(0) != str(silo.address):
            key += "0"
        cluster.network.partition("client", silo.gateway)
        call = asyncio.create_task(cluster.get_grain(Slow, key).work(9))
        assert f"timed out: relayed to another silo by the gateway of {other.address}" in await message_of(call)
