"""A client learns of a death by the gossip of the silos or by a lost connection, whichever is first."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from random import Random

import msgspec
import pytest

from grange import CallOutcomeUnknown, Grain, PersistentState
from grange.client import Client, ClientOptions
from grange.membership.model.member import SiloStatus, View
from grange.proto.management import VIEW, ViewQuestion, encode
from grange.silo.silo import Silo
from grange.silo.view_reads import APART, ViewReads
from grange.testing import TestCluster

AT_ONCE = 0.05
"""Seconds from the moment when the death is known and the place can be decided, to the answer."""

LATENCY = 0.002
"""Seconds for one message one way."""


@dataclass
class Total:
    value: int = 0


class OnRing(Grain):
    """A stored grain on the silo of its place on the ring, so that a client calls it by that gateway."""

    def __init__(self, total: PersistentState[Total]) -> None:
        self.total = total

    async def touch(self) -> None: ...


def now() -> float:
    return asyncio.get_running_loop().time()


def reads_of(silo: Silo) -> ViewReads:
    return silo._here("").hosting.view_reads


def new_client(cluster: TestCluster, silos: list[Silo]) -> Client:
    """A client whose own period is too long for these tests."""
    options = ClientOptions(refresh_period=60.0)
    return Client([silo.gateway for silo in silos], options=options, transport=cluster.new_transport("other"))


def hang(cluster: TestCluster, silo: Silo) -> None:
    """Cut it off from all others. Its connections break only after 6 s."""
    for other in cluster.silos:
        if other is not silo:
            cluster.partition(silo, other)
    for name in ("client", "other"):
        cluster.network.partition(name, silo.address.endpoint)


async def decidable(silos: list[Silo], dead: Silo) -> float:
    """Wait until all silos know of the death and can decide every place again. Returns that time."""
    async with asyncio.timeout(60):
        while not all(
            each.directory.topology.is_dead(dead.address)
            and not each.directory.partition.holds
            and not each.directory.partition.not_ready
            for each in silos
        ):
            await asyncio.sleep(0.001)
    return now()


async def ended(client: Client, key: str, at: float) -> float:
    """The time at which a call that is made at this time ends, with an answer or with outcome unknown."""
    await asyncio.sleep(at - now())
    with suppress(CallOutcomeUnknown):
        await client.get_grain(OnRing, key).touch()
    return now()


@pytest.mark.parametrize("seed", range(3))
async def test_calls_by_a_gateway_that_hangs_are_answered_when_its_death_is_known(seed: int) -> None:
    """Those in flight to it end typed, and the others get their answers by other gateways."""
    chance = Random(seed)
    async with TestCluster([OnRing], silos=4, seed=seed) as cluster, new_client(cluster, cluster.silos) as client:
        cluster.network.latency = LATENCY
        await asyncio.gather(*(client.get_grain(OnRing, str(number)).touch() for number in range(80)))
        dead = chance.choice(cluster.silos)
        keys = [each.grain_id.key for each in dead.catalog.activations()]
        rest = [silo for silo in cluster.silos if silo is not dead]
        await asyncio.sleep(chance.uniform(0.0, 40.0))
        began = now()
        hang(cluster, dead)
        calls = [
            asyncio.create_task(ended(client, key, began + at))
            for key in keys
            for at in (0.0, chance.uniform(0.0, 2.0))
        ]
        known = await decidable(rest, dead)
        assert began + 2.0 < known < began + 6.0, "a call is made too late, or the connections are broken already"
        times = await asyncio.gather(*calls)
        assert len(times) > 20
        assert max(times) <= known + AT_ONCE, f"{max(times) - known:.3f} s after the place"


async def test_a_read_waits_at_two_gateways_and_a_lost_connection_moves_it() -> None:
    async with TestCluster([OnRing], silos=3) as cluster:
        reads = dict(zip(cluster.silos, map(reads_of, cluster.silos), strict=True))
        async with new_client(cluster, cluster.silos) as client:
            await asyncio.gather(*(client.get_grain(OnRing, str(number)).touch() for number in range(30)))
            await cluster.advance(30)
            mine = [silo for silo, each in reads.items() if each.waiting]
            assert len(mine) >= 2
            await cluster.kill(mine[0])
            await cluster.advance(0.1)
            assert not any(silo.view.is_dead(mine[0].address) for silo in cluster.silos), "the death is known already"
            assert [reads[silo].waiting for silo in cluster.silos] == [2, 2], (
                "those of this client and of the cluster's"
            )


async def test_a_drain_ends_waiting_reads_at_once() -> None:
    """They are no calls in progress, and the goodbye does not wait for them."""
    async with TestCluster([OnRing], silos=1) as cluster, new_client(cluster, cluster.silos) as client:
        (silo,) = cluster.silos
        later = encode(ViewQuestion(silo.view.version + 1000, 30.0))
        waiting = [asyncio.create_task(client.ask(client.gateways[0], VIEW, later, 32.0)) for _ in range(10)]
        await cluster.advance(1)
        assert not any(each.done() for each in waiting)
        began = now()
        await cluster.stop(silo)
        assert now() - began < 0.1
        for each in waiting:
            view = msgspec.msgpack.decode(await each, type=View)
            assert [member.status for member in view.members] == [SiloStatus.LEAVING]


async def test_the_answers_to_many_waiting_reads_are_spread() -> None:
    """A hundred reads wait at one silo for the same view."""
    async with TestCluster([OnRing], silos=1) as cluster:
        (silo,) = cluster.silos
        client = cluster.client
        question = encode(ViewQuestion(silo.view.version, 30.0))
        times: list[float] = []

        async def wait() -> None:
            await client.ask(client.gateways[0], VIEW, question, 32.0)
            times.append(now())

        waiting = [asyncio.create_task(wait()) for _ in range(100)]
        await cluster.advance(10)
        assert not times
        await cluster.add_silo()
        await asyncio.gather(*waiting)
        first, last = min(times), max(times)
        assert 50 * APART < last - first <= 101 * APART
        assert max(sum(at <= each < at + 10 * APART for each in times) for at in times) < 40
