"""Pools of stateless workers (SWK)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from grange import ConfigurationError, Grain
from grange.grains.deactivation import DeactivationReason
from grange.testing.cluster import TestCluster


class Worker(Grain, stateless_workers=3):
    async def work(self, seconds: float = 0.1) -> str:
        await asyncio.sleep(seconds)
        return self.activation_id


class One(Grain, stateless_workers=1):
    async def work(self) -> str:
        await asyncio.sleep(0.01)
        return self.activation_id


def matches(method: str, args: tuple[Any, ...]) -> bool:
    return bool(args) and args[0] is True


class Picky(Grain, stateless_workers=1, may_interleave=matches):
    inside = 0

    async def enter(self, together: bool) -> int:
        Picky.inside += 1
        await asyncio.sleep(5)
        return Picky.inside


class Boss(Grain):
    async def ask(self) -> tuple[str, str]:
        await self.get_grain(Worker, "w").work()
        silo = self._grange.owner.deps.address  # type: ignore[attr-defined]
        return str(silo), await self.get_grain(Where, "w").where()


class Where(Grain, stateless_workers=2):
    async def where(self) -> str:
        return str(self._grange.owner.deps.address)  # type: ignore[attr-defined]


async def test_a_pool_has_never_more_workers_than_its_limit() -> None:
    """SWK-01: 150 calls at once use exactly three activations in the silo, never more."""
    async with TestCluster([Worker], silos=1) as cluster:
        grain = cluster.get_grain(Worker, "w")
        workers = await asyncio.gather(*(grain.work() for _ in range(150)))
        assert len(set(workers)) == 3
        assert cluster.count(Worker) == 3
        assert min(workers.count(worker) for worker in set(workers)) >= 40


async def test_sequential_calls_need_one_worker() -> None:
    """SWK-03: a hundred calls one after the other keep exactly one activation."""
    async with TestCluster([Worker], silos=1) as cluster:
        grain = cluster.get_grain(Worker, "w")
        assert len({await grain.work() for _ in range(100)}) == 1
        assert cluster.count(Worker) == 1


async def test_many_calls_on_single_workers_all_succeed() -> None:
    """SWK-04: a hundred grains, ten calls each, one worker each: none fails."""
    async with TestCluster([One]) as cluster:
        calls = [cluster.get_grain(One, str(number)).work() for number in range(100) for _ in range(10)]
        assert len(await asyncio.gather(*calls)) == 1000


async def test_workers_obey_the_interleave_predicate() -> None:
    """SWK-05: three of three matching calls overlap; of the others, one runs at a time."""
    async with TestCluster([Picky], silos=1) as cluster:
        for together, expected in ((True, 3), (False, 1)):
            Picky.inside = 0
            calls = [asyncio.create_task(cluster.get_grain(Picky, str(together)).enter(together)) for _ in range(3)]
            await cluster.advance(4)
            assert Picky.inside == expected
            await asyncio.gather(*calls)


async def test_workers_run_on_the_callers_silo() -> None:
    """SWK-07: grains are served by workers of their own silo."""
    async with TestCluster([Worker, Boss, Where], silos=3) as cluster:
        places = [await cluster.get_grain(Boss, str(number)).ask() for number in range(12)]
        assert all(boss == worker for boss, worker in places)
        assert len({boss for boss, _ in places}) > 1


async def test_idle_workers_are_collected() -> None:
    """A pool shrinks to nothing and grows again."""
    async with TestCluster([Worker], silos=1, runtime={"idle_timeout": 60, "collect_period": 10}) as cluster:
        grain = cluster.get_grain(Worker, "w")
        await asyncio.gather(*(grain.work() for _ in range(5)))
        await cluster.advance(100)
        assert cluster.count(Worker) == 0
        await grain.work()
        assert cluster.count(Worker) == 1


def test_workers_cannot_choose_a_placement() -> None:
    """Stateless workers always run on the caller's silo."""
    with pytest.raises(ConfigurationError, match="stateless_workers= contradicts placement="):

        class Wrong(Grain, stateless_workers=2, placement="random"):
            pass


class Ending(Grain, stateless_workers=2):
    """Counts its turns. Every other turn ends its worker, whose end takes long."""

    running = 0
    most = 0

    async def work(self, end: bool) -> str:
        Ending.running += 1
        Ending.most = max(Ending.most, Ending.running)
        if end:
            self.deactivate_when_idle()
        await asyncio.sleep(1)
        Ending.running -= 1
        return self.activation_id

    async def on_deactivate(self, reason: DeactivationReason) -> None:
        await asyncio.sleep(5)


async def test_workers_that_close_count_until_their_last_turn_has_ended() -> None:
    """Never more turns than workers, and none waits for the end of a worker that runs no turn any more."""
    Ending.running = Ending.most = 0
    async with TestCluster([Ending], silos=1) as cluster:
        grain, loop = cluster.get_grain(Ending, "w"), asyncio.get_running_loop()
        began = loop.time()
        calls = []
        for number in range(40):
            calls.append(asyncio.ensure_future(grain.work(number % 3 != 2)))
            await asyncio.sleep(0.1)
        workers = await asyncio.gather(*calls)
        assert Ending.most == 2
        assert len(set(workers)) >= 4
        assert loop.time() - began < 30


async def test_workers_that_a_burst_needed_end_and_the_others_stay() -> None:
    """SWK-02: workers beyond what the load needs end within seconds; one stays, and steady use keeps what it needs."""
    async with TestCluster([Worker], silos=1) as cluster:
        grain = cluster.get_grain(Worker, "w")
        await asyncio.gather(*(grain.work() for _ in range(30)))
        assert cluster.count(Worker) == 3
        for _ in range(30):
            await asyncio.gather(grain.work(), grain.work())
            await cluster.advance(0.1)
        assert cluster.count(Worker) == 2
        await cluster.advance(5)
        assert cluster.count(Worker) == 1
        assert await grain.work()
        assert cluster.count(Worker) == 1
