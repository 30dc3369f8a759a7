"""Random calls, cancellations, kills, stops and cuts: the figures of a silo agree with a walk over its activations."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress

import pytest

from grange import Grain, PersistentState, always_interleave, one_way
from grange.errors import GrangeError
from grange.observability.snapshot import LONG_TURN
from grange.silo import Silo
from grange.testing import TestCluster

entered: Counter[str] = Counter()


class Busy(Grain, name="busy", idle_timeout=5):
    def __init__(self, total: PersistentState[int]) -> None:
        self.total = total

    async def on_activate(self) -> None:
        if self.key == "broken":
            raise ValueError("no")
        await asyncio.sleep(random.Random(self.key).choice((0, 0, 2)))
        self.start_timer(self.tick, 3.0)

    async def tick(self) -> None:
        entered["(timer)"] += 1

    async def hold(self, seconds: float) -> None:
        entered["hold"] += 1
        await asyncio.sleep(seconds)

    @always_interleave
    async def look(self) -> None:
        entered["look"] += 1
        await asyncio.sleep(0.5)

    async def fail(self) -> None:
        entered["fail"] += 1
        raise ValueError("no")

    async def save(self) -> None:
        entered["save"] += 1
        self.total.value += 1
        await self.total.write()

    @one_way
    async def tell(self) -> None:
        entered["tell"] += 1
        await asyncio.sleep(1)

    async def call(self, key: str, seconds: float) -> None:
        entered["call"] += 1
        await self.get_grain(Busy, key).hold(seconds)

    async def end(self) -> None:
        entered["end"] += 1
        self.deactivate_when_idle()


class Worker(Grain, name="worker", stateless_workers=2, idle_timeout=5):
    async def hold(self, seconds: float) -> None:
        entered["worker"] += 1
        await asyncio.sleep(seconds)


def check(silo: Silo) -> None:
    found, catalog = silo.inspection.figures.snapshot(), silo.catalog
    every = list(catalog.activations())
    assert found.waiting == sum(len(each.waiting) for each in every)
    assert found.running == len(catalog.deps.turns)
    clock = catalog.deps.gate.clock
    long = [call for each in every for call in each.running if call.entered and clock() - call.started_at >= LONG_TURN]
    assert found.stuck == len(long)
    assert {call for each in every for call in each.running} <= set(catalog.deps.turns)
    for kind in found.types:
        here = [each for each in every if each.grain_id.type == kind.type]
        assert kind.activations == len(here)
        assert kind.waiting == sum(len(each.waiting) for each in here)


async def one_call(cluster: TestCluster, rng: random.Random) -> None:
    factories: list[TestCluster | Silo] = [cluster, *cluster.silos]
    factory = rng.choice(factories)
    key = rng.choice(("a", "b", "c", "d", "e", "broken"))
    grain, seconds = factory.get_grain(Busy, key), rng.choice((0.0, 0.2, 3.0, 40.0))
    calls = (
        lambda: grain.hold(seconds), grain.look, grain.fail, grain.save, grain.tell, grain.end,
        lambda: grain.call(rng.choice("abc"), seconds), lambda: factory.get_grain(Worker, "w").hold(seconds),
    )  # fmt: skip
    with suppress(GrangeError, ValueError):
        await rng.choice(calls)()


async def disturb(cluster: TestCluster, rng: random.Random) -> None:
    act = rng.choice(("kill", "stop", "add", "cut", "heal"))
    if act == "cut" and len(cluster.silos) > 1:
        cluster.partition(*rng.sample(list(cluster.silos), 2), one_way=rng.random() < 0.5)
    elif act in ("kill", "stop") and len(cluster.silos) > 1:
        await (cluster.kill if act == "kill" else cluster.stop)(rng.choice(cluster.silos))
    elif act == "add" and len(cluster.silos) < 3:
        await cluster.add_silo()
    else:
        cluster.heal()


@pytest.mark.parametrize("seed", range(3))
async def test_gauges_agree_with_a_walk_and_each_turn_is_counted_once(seed: int) -> None:
    entered.clear()
    rng = random.Random(seed)
    async with TestCluster([Busy, Worker], silos=3, drain_timeout=5) as cluster:
        known = dict.fromkeys(cluster.silos)
        calls: list[asyncio.Task[None]] = []
        for _ in range(150):
            calls += [asyncio.create_task(one_call(cluster, rng)) for _ in range(rng.randint(0, 6))]
            if calls and rng.random() < 0.4:
                rng.choice(calls).cancel()
            if rng.random() < 0.06:
                with suppress(GrangeError, TimeoutError):  # a cut may be in the way
                    await disturb(cluster, rng)
                known.update(dict.fromkeys(cluster.silos))
            await cluster.advance(rng.choice((0.0, 0.1, 1.0)))
            for silo in cluster.silos:
                check(silo)
        cluster.heal()
        await asyncio.wait(calls)
        await cluster.advance(200)
        for silo in cluster.silos:
            check(silo)
            found = silo.inspection.figures.snapshot()
            assert (found.in_flight, found.waiting, found.running, found.stuck, found.activations) == (0, 0, 0, 0, 0)
        counted: Counter[str] = Counter()
        for silo in known:
            for kind in silo.inspection.figures.snapshot().types:
                for method in kind.methods:
                    counted["worker" if kind.type == "worker" else method.method] += method.calls.count
        assert {name: number for name, number in counted.items() if number} == dict(entered)
