"""A call that was certainly not executed is repeated within 50 ms of the moment when its grain has a place again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random

import pytest

from grange import CallOutcomeUnknown, Grain, GrainId, GrainObserver, PersistentState, placement_hint
from grange.client import Client, ClientOptions
from grange.proto.clients import client_of, grain_id_of_client
from grange.silo.silo import Silo
from grange.testing import TestCluster

AT_ONCE = 0.05
"""Seconds from the moment when the place can be decided to the answer."""

LATENCY = 0.002
"""Seconds for one message one way."""


@dataclass
class Total:
    value: int = 0


class Spread(Grain, placement="random"):
    """A stored grain on any silo."""

    def __init__(self, total: PersistentState[Total]) -> None:
        self.total = total

    async def touch(self) -> float:
        """The time of this turn."""
        return now()


class OnRing(Grain):
    """A stored grain on the silo of its place on the ring."""

    def __init__(self, total: PersistentState[Total]) -> None:
        self.total = total

    async def touch(self) -> float:
        """The time of this turn."""
        return now()


class Listener(GrainObserver):
    async def hear(self, text: str) -> str: ...


class Ear(Listener):
    async def hear(self, text: str) -> str:
        return f"{text}!"


class Speaker(Grain):
    async def speak(self, to: Listener) -> str:
        return await to.hear("hello")


Kind = type[Spread] | type[OnRing]


def now() -> float:
    return asyncio.get_running_loop().time()


def can_decide(silo: Silo, dead: list[Silo]) -> bool:
    """Whether this silo knows of the deaths, has all entries of its ranges, and holds no grain any more."""
    directory = silo.directory
    knows = all(directory.topology.is_dead(each.address) for each in dead)
    return knows and not directory.partition.holds and not directory.partition.not_ready


async def decidable(silos: list[Silo], dead: list[Silo]) -> float:
    """Wait until every place can be decided again. Returns that time."""
    async with asyncio.timeout(60):
        while not all(can_decide(silo, dead) for silo in silos):
            await asyncio.sleep(0.001)
    return now()


async def touched(caller: Silo | Client, kind: Kind, key: str, at: float) -> float:
    """The time of the answer of a call that is made at this time. 0: its outcome is unknown, so it is not repeated."""
    await asyncio.sleep(at - now())
    try:
        await caller.get_grain(kind, key).touch()
    except CallOutcomeUnknown:
        return 0.0
    return now()


@pytest.mark.parametrize("hold", [1.0, 0.0])
@pytest.mark.parametrize("second", [None, 0.5])
@pytest.mark.parametrize("kind", [Spread, OnRing])
async def test_calls_that_wait_for_a_death_are_answered_when_their_places_are_known(
    kind: Kind, second: float | None, hold: float
) -> None:
    """From silos, and from a client through a gateway; one silo dies, or a second one half a second later."""
    for seed in range(2):
        chance = Random(seed)
        async with TestCluster([Spread, OnRing], silos=5, seed=seed, directory={"death_hold": hold}) as cluster:
            cluster.network.latency = LATENCY
            for number in range(100):
                await cluster.get_grain(kind, str(number)).touch()
            dead = chance.sample(cluster.silos, 1 if second is None else 2)
            keys = [each.grain_id.key for silo in dead for each in silo.catalog.activations()]
            rest = [silo for silo in cluster.silos if silo not in dead]
            began = now()
            await cluster.kill(dead[0])
            calls = [
                asyncio.create_task(touched(chance.choice([*rest, cluster.client]), kind, key, began + at))
                for key in keys
                for at in (0.0, chance.uniform(0.0, 2.0))
            ]
            if second is not None:
                await asyncio.sleep(second)
                await cluster.kill(dead[1])
            known = await decidable(rest, dead)
            answered = await asyncio.gather(*calls)
            assert sum(time > began + 1 for time in answered) > len(keys), "hardly a call waited"
            assert max(answered) <= known + AT_ONCE, f"seed {seed}: {max(answered) - known:.3f} s after the place"


async def test_grains_without_a_place_get_one_before_the_death_is_known() -> None:
    """Their placement avoids the silo to which the connection broke, and does not wait for gossip."""
    async with TestCluster([Spread], silos=4) as cluster:
        cluster.network.latency = LATENCY
        dead, *rest = cluster.silos
        ring = dead.directory.topology.ring
        keys = [
            key
            for key in map(str, range(300))
            if ring.owner(cluster.get_grain(Spread, key).id.ring_hash) != dead.address  # type: ignore[attr-defined]
        ]
        with placement_hint(dead.address):
            await rest[0].get_grain(Spread, keys.pop()).touch()  # now they have a connection
        await cluster.kill(dead)
        began = now()
        await asyncio.sleep(LATENCY)
        ids = [GrainId("spread", key) for key in keys]
        assert dead.address not in {await rest[0].directory.placer.place(each, None) for each in ids}
        answered = await asyncio.gather(*(touched(silo, Spread, key, now()) for key in keys for silo in rest[:1]))
        assert max(answered) <= began + AT_ONCE
        assert dead.address in rest[0].directory.topology.live, "the death is known already"


async def test_a_client_whose_gateway_died_calls_by_another_one_at_once() -> None:
    """It does not wait for the death."""
    async with TestCluster([OnRing], silos=3) as cluster:
        dead, *rest = cluster.silos
        options = ClientOptions(refresh_period=60.0)
        transport = cluster.new_transport("other")
        async with Client([silo.gateway for silo in cluster.silos], options=options, transport=transport) as client:
            cluster.network.latency = LATENCY
            keys = list(map(str, range(60)))
            await asyncio.gather(*(client.get_grain(OnRing, key).touch() for key in keys))
            living = [key for key in keys if cluster.where(cluster.get_grain(OnRing, key)) is not dead]
            await cluster.kill(dead)
            for _ in range(4):
                began = now()
                answered = await asyncio.gather(*(touched(client, OnRing, key, began) for key in living))
                assert began < max(answered) <= began + AT_ONCE
                await asyncio.sleep(0.05)
            assert dead.address in rest[0].directory.topology.live, "the death is known already"


async def test_a_call_to_an_observer_follows_its_client_at_once() -> None:
    """The gateway of the client died: it connects to another one, and is found there before the death is known."""
    async with TestCluster([Speaker], silos=4) as cluster:
        cluster.network.latency = LATENCY
        reference = cluster.client.create_observer(Ear())
        await cluster.advance(1)
        place = grain_id_of_client(client_of(reference.id)).ring_hash  # type: ignore[attr-defined]
        home = cluster.silos[0].directory.topology.ring.owner(place)
        dead = next(silo for silo in cluster.silos if silo.address == home)
        speakers = [cluster.get_grain(Speaker, key) for key in map(str, range(40))]
        assert await asyncio.gather(*(each.speak(reference) for each in speakers)) == ["hello!"] * len(speakers)
        living = [each for each in speakers if cluster.where(each) is not dead]
        await cluster.kill(dead)
        began = now()
        callers = {each: cluster.where(each) for each in living}
        calls = [silo.get_grain(Speaker, each.key).speak(reference) for each, silo in callers.items() if silo]  # type: ignore[attr-defined]
        assert set(await asyncio.gather(*calls)) == {"hello!"}
        assert now() <= began + 2 * AT_ONCE
        assert dead.address in cluster.silos[0].directory.topology.live, "the death is known already"
