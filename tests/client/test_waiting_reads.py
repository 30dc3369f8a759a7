"""How often, where and for how long a client has its reads of the view wait."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from grange import Overloaded, SiloAddress
from grange.client.gateways import Gateways
from grange.client.options import ClientOptions
from grange.client.waiting_reads import CONNECT_PAUSE, FAILURE_PAUSE, READERS, SHORT_WAIT, SHORTEST, WaitingReads
from grange.testing.loop import VirtualTime
from tests.client.test_gateways import GRAINS, Cluster, keeping_fresh, member, view

PERIOD = 5.0
A, B, C = (SiloAddress("10.0.0.1", port, 1) for port in (1, 2, 3))


class Reads:
    """The reads of one client, with their places, times and seconds. `waits`: whether the silos wait."""

    def __init__(self, *gateways: SiloAddress, waits: bool = True, seed: int = 0) -> None:
        self.made: list[tuple[SiloAddress, float, float]] = []
        self.at: list[SiloAddress] = []
        self.version = 1
        self.news = 0
        self.waits = waits
        self.failure: Exception | None = None
        self.client = WaitingReads(PERIOD, random.Random(seed), lambda: gateways)

    async def read(self, gateway: SiloAddress, seconds: float) -> Exception | None:
        self.made.append((gateway, asyncio.get_running_loop().time(), seconds))
        assert gateway not in self.at, "two reads wait at one gateway"
        self.at.append(gateway)
        try:
            await asyncio.sleep(seconds if self.waits and self.failure is None else 0)
        finally:
            self.at.remove(gateway)
        self.version += self.news
        return self.failure


@asynccontextmanager
async def running(reads: Reads, *connected: SiloAddress) -> AsyncIterator[Reads]:
    for each in connected:
        reads.client.connecting(each)
    tasks = [asyncio.create_task(reads.client.run(reads.read, lambda: reads.version)) for _ in range(READERS)]
    try:
        yield reads
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@pytest.fixture
async def time() -> AsyncIterator[VirtualTime]:
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        yield time


async def test_one_read_waits_at_each_of_two_gateways_all_the_time(time: VirtualTime) -> None:
    async with running(Reads(A, B, C), A, B) as reads:
        for _ in range(200):
            await asyncio.sleep(0.25)
            assert sorted(reads.at) == [A, B]


async def test_without_a_second_connection_another_gateway_is_connected_after_a_period(time: VirtualTime) -> None:
    """Else a single gateway that hangs would tell the client nothing."""
    async with running(Reads(A, B), A) as reads:
        await asyncio.sleep(PERIOD - 0.1)
        assert reads.at == [A]
        await asyncio.sleep(0.2)
        assert sorted(reads.at) == [A, B]


async def test_a_new_connection_is_read_soon(time: VirtualTime) -> None:
    async with running(Reads(A, B), A) as reads:
        await asyncio.sleep(1)
        reads.client.connecting(B)
        await asyncio.sleep(CONNECT_PAUSE)
        assert sorted(reads.at) == [A, B]


async def test_a_gateway_of_an_earlier_release_is_read_once_per_period(time: VirtualTime) -> None:
    """It answers at once with the same view."""
    async with running(Reads(A, waits=False), A) as reads:
        await asyncio.sleep(10 * PERIOD + 1)
        assert len(reads.made) == 11
        assert reads.made[0][2] > SHORT_WAIT
        assert all(seconds <= SHORT_WAIT for _, _, seconds in reads.made[1:]), "its silence is noticed late"
        reads.waits = True  # it had only too many reads
        await asyncio.sleep(PERIOD + 0.5)
        assert reads.at == [A]
        assert reads.made[-1][2] > SHORT_WAIT


async def test_a_newer_view_and_a_failure_are_followed_by_a_pause(time: VirtualTime) -> None:
    """A view that changes all the time, and a gateway that always fails at once, cause no busy loop either."""
    async with running(Reads(A, waits=False), A) as reads:
        reads.news = 1
        await asyncio.sleep(1)
        assert 50 < len(reads.made) < 200
        reads.made.clear()
        reads.failure = OSError("no")
        await asyncio.sleep(1)
        assert len(reads.made) <= 21


async def test_many_clients_do_not_end_their_reads_at_one_moment(time: VirtualTime) -> None:
    """All begin at one moment, as after a new view."""
    clients = [Reads(A, seed=seed) for seed in range(100)]
    for each in clients:
        async with running(each, A):
            await asyncio.sleep(0)
    seconds = [each.made[0][2] for each in clients]
    assert min(seconds) >= SHORTEST * PERIOD
    assert max(seconds) <= PERIOD
    assert all(sum(at <= each < at + 0.1 for each in seconds) < 25 for at in seconds)


async def test_a_refusal_for_a_rate_does_not_make_a_gateway_one_that_failed(time: VirtualTime) -> None:
    """Its next read comes after the period, and takes nothing of the rate before."""
    cluster = Cluster(view(1, member(0), member(1)))
    client = Gateways(["10.0.0.1:30000"], ClientOptions(refresh_period=5), random.Random(0))
    await client.find(cluster.ask)
    cluster.errors = {port: Overloaded("too much") for port in (30_000, 30_001)}
    for each in client.all():
        client.connecting(each)
    async with keeping_fresh(client, cluster.ask):
        cluster.asked.clear()
        await asyncio.sleep(4)
        assert sorted(cluster.asked) == [30_000, 30_001]
        assert {client.known(grain_id) for grain_id in GRAINS} == set(client.all())
        assert not client.cut_off


async def test_a_read_that_failed_moves_to_a_gateway_without_a_connection(time: VirtualTime) -> None:
    """It does not wait for a period until it connects another one."""
    gateways = [A, B]
    reads = Reads()
    reads.client = WaitingReads(PERIOD, random.Random(0), lambda: gateways)
    async with running(reads, A):
        await asyncio.sleep(1)
        reads.failure = OSError("lost")
        await asyncio.sleep(PERIOD)  # the read at A ends
        gateways.remove(A)
        reads.failure = None
        await asyncio.sleep(2 * FAILURE_PAUSE)
        assert reads.at == [B]


async def test_many_clients_that_connect_at_one_moment_do_not_read_at_one_moment(time: VirtualTime) -> None:
    clients = [Reads(A, seed=seed) for seed in range(50)]
    tasks = [asyncio.create_task(each.client.run(each.read, lambda: 1)) for each in clients]
    await asyncio.sleep(1)
    for each in clients:
        each.client.connecting(A)
    await asyncio.sleep(CONNECT_PAUSE)
    began = [each.made[0][1] for each in clients]
    assert all(sum(at <= each < at + 0.05 for each in began) < 20 for at in began)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
