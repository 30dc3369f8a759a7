"""A silo whose event loop is late refuses a share of the requests of clients, and answers all others (RAT)."""

from __future__ import annotations

import asyncio

import pytest

from grange import CallNotExecuted, Grain, Overloaded
from grange.proto.ids import SiloAddress
from grange.proto.management import STATUS
from grange.runtime.calls.admission import Admission
from grange.silo.silo import Silo
from grange.testing.cluster import TestCluster


class Till(Grain):
    async def on_activate(self) -> None:
        self.ran = 0

    async def add(self) -> int:
        self.ran += 1
        return self.ran


class Shop(Grain):
    async def sell(self, key: str) -> int:
        return await self.get_grain(Till, key).add()


def admission(silo: Silo) -> Admission:
    return silo._here("").hosting.admission


def gateway(silo: Silo) -> SiloAddress:
    return SiloAddress(silo.address.host, int(silo.gateway.rpartition(":")[2]), silo.address.generation)


def be_late(cluster: TestCluster, lag: float) -> None:
    """As the measuring task, which runs in real time only."""
    for silo in cluster.silos:
        for _ in range(60):
            admission(silo).shedder.measured(lag)


async def test_a_share_of_the_requests_of_clients_is_refused() -> None:
    """RAT-07, CLI-05: certainly not executed, with the time after which to try again, and counted apart."""
    async with TestCluster([Till, Shop], silos=2, runtime={"shed_lag": 0.5}) as cluster:
        till = cluster.get_grain(Till, "a")
        assert await till.add() == 1
        be_late(cluster, 2.0)
        outcomes = [(await asyncio.gather(till.add(), return_exceptions=True))[0] for _ in range(100)]
        refused = [each for each in outcomes if isinstance(each, Overloaded)]
        assert len(refused) in (94, 95)
        assert all(isinstance(each, CallNotExecuted) and each.retry_after == 1.0 for each in refused)
        assert "event loop of the silo is" in str(refused[0])
        be_late(cluster, 0.0)
        assert await till.add() == 1 + (100 - len(refused)) + 1
        counted = [dict(silo.catalog.hosted["till"].figures.methods[0].refused) for silo in cluster.silos]
        assert sum(each.get("load_shed", 0) for each in counted) == len(refused)


async def test_calls_of_grains_and_questions_are_not_refused() -> None:
    """RAT-07: a call that was admitted is not cut in its middle, and operators see the silo."""
    async with TestCluster([Till, Shop], silos=2, runtime={"shed_lag": 0.5}) as cluster:
        be_late(cluster, 2.0)
        for silo in cluster.silos:
            for number in range(20):
                assert await silo.get_grain(Shop, str(number)).sell(f"{silo.address}-{number}") == 1
            for _ in range(20):
                await cluster.client.ask(gateway(silo), STATUS)


async def test_a_full_silo_answers_questions() -> None:
    """RAT-08, CLI-05: its admission limit refuses calls of grains only."""
    async with TestCluster([Till], silos=1, runtime={"admission_limit": 1}) as cluster:
        silo = cluster.silos[0]
        admission(silo).requests += 1
        with pytest.raises(Overloaded):
            await cluster.get_grain(Till, "a").add()
        await cluster.client.ask(gateway(silo), STATUS)
        admission(silo).requests -= 1
        assert await cluster.get_grain(Till, "a").add() == 1
