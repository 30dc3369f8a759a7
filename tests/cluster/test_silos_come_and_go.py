"""Placement and liveness of a cluster (PLC-01, LIV-01 to LIV-03)."""

from __future__ import annotations

import asyncio

import pytest

from grange import ConnectionLost, Grain, SiloUnavailable
from grange.membership.model.member import SiloStatus
from grange.testing.cluster import TestCluster


class Label(Grain):
    async def get(self) -> str:
        return self.key

    async def silo(self) -> str:
        return str(self._grange.owner.deps.address)  # type: ignore[attr-defined]


class Random(Grain, placement="random"):
    async def silo(self) -> str:
        return str(self._grange.owner.deps.address)  # type: ignore[attr-defined]


class Local(Grain, placement="prefer_local"):
    async def silo(self) -> str:
        return str(self._grange.owner.deps.address)  # type: ignore[attr-defined]


class Creator(Grain):
    async def both(self) -> tuple[str, str]:
        local = await self.get_grain(Local, f"of-{self.key}").silo()
        return str(self._grange.owner.deps.address), local  # type: ignore[attr-defined]


class Timed(Grain):
    def __init__(self) -> None:
        self.ticks = 0

    async def get(self) -> str:
        if self.ticks == 0:
            self.start_timer(self._tick, 0.1, 0.1)
            self.ticks = 1
        return self.key

    async def _tick(self) -> None:
        self.ticks += 1


class Holder(Grain):
    async def hold(self) -> int:
        await asyncio.sleep(20)
        return 1


class Alarm(Grain):
    async def wait_for_tick(self, seconds: float) -> str:
        rung = asyncio.Event()

        async def ring() -> None:
            rung.set()

        self.start_timer(ring, seconds, interleave=True)
        await rung.wait()
        return "rung"


async def test_random_placement_spreads() -> None:
    """PLC-01: more than one silo is used. Repeated calls find the same place."""
    async with TestCluster([Random], silos=3) as cluster:
        grains = [cluster.get_grain(Random, str(number)) for number in range(30)]
        first = [await grain.silo() for grain in grains]
        assert len(set(first)) == 3
        assert [await grain.silo() for grain in grains] == first


async def test_prefer_local_places_beside_the_caller() -> None:
    """PLC-01: a new grain lives on the silo of the grain that called it first."""
    async with TestCluster([Creator, Local], silos=3) as cluster:
        places = [await cluster.get_grain(Creator, str(number)).both() for number in range(20)]
        assert all(creator == local for creator, local in places)
        assert len({creator for creator, _ in places}) == 3


async def test_every_silo_computes_the_same_ring_placement() -> None:
    """The same grain is found by every silo and the client, and the load is spread."""
    async with TestCluster([Label], silos=3) as cluster:
        for number in range(30):
            everywhere = {await silo.get_grain(Label, str(number)).silo() for silo in cluster.silos}
            assert everywhere == {await cluster.get_grain(Label, str(number)).silo()}
        assert all(silo.management.state().activations for silo in cluster.silos)


async def test_a_third_silo_joins_and_leaves() -> None:
    """LIV-01: three silos are active while the third runs. Then it is leaving or dead, and the others stay active."""
    async with TestCluster([Label]) as cluster:
        third = await cluster.add_silo()
        assert len(cluster.silos[0].view.active) == 3
        await cluster.stop(third)
        for silo in cluster.silos:
            member = silo.view.get(third.address)
            assert member is None or member.status in (SiloStatus.LEAVING, SiloStatus.DEAD)
            assert len(silo.view.active) == 2


@pytest.mark.parametrize("position", [0, 1])
async def test_grains_answer_after_a_restart(position: int) -> None:
    """LIV-02: twenty grains answer, a silo restarts, then the same twenty and twenty new ones answer."""
    async with TestCluster([Label]) as cluster:
        for number in range(20):
            assert await cluster.get_grain(Label, str(number)).get() == str(number)
        old = cluster.silos[position]
        new = await cluster.restart(old)
        assert new.address.endpoint == old.address.endpoint
        for number in range(40):
            assert await cluster.get_grain(Label, str(number)).get() == str(number)


async def test_grains_answer_after_a_kill_with_timers() -> None:
    """LIV-03: a silo is killed while its grains run timers. All grains answer again within 10 s."""
    async with TestCluster([Timed], silos=3) as cluster:
        for number in range(20):
            await cluster.get_grain(Timed, str(number)).get()
        await cluster.advance(2)
        await cluster.kill(cluster.silos[1])
        loop = asyncio.get_running_loop()
        before = loop.time()
        for number in range(40):
            assert await cluster.get_grain(Timed, str(number)).get() == str(number)
        assert loop.time() - before < 10
        await cluster.stable()


async def test_a_call_in_flight_to_a_killed_silo_is_unknown_at_once() -> None:
    """The call ends with ConnectionLost at once, and not with a time-out 30 s later."""
    async with TestCluster([Holder], silos=3) as cluster:
        for number in range(6):
            grain = cluster.get_grain(Holder, str(number))
            call = asyncio.create_task(grain.hold())
            await cluster.advance(0.5)
            holder = cluster.where(grain)
            assert holder is not None
            loop = asyncio.get_running_loop()
            before = loop.time()
            await cluster.kill(holder)
            with pytest.raises(ConnectionLost):
                await call
            assert loop.time() - before < 0.1
            await cluster.add_silo()


async def test_a_kill_under_load_causes_only_typed_errors() -> None:
    """Callers get only not executed or unknown, and every grain answers in the end."""
    async with TestCluster([Label], silos=3, seed=7) as cluster:
        outcomes: list[BaseException | str] = []

        async def caller(number: int) -> None:
            for round_ in range(50):
                try:
                    outcomes.append(await cluster.get_grain(Label, f"{number}-{round_ % 10}").get())
                except (SiloUnavailable, ConnectionLost) as error:
                    outcomes.append(error)
                await asyncio.sleep(0.2)

        tasks = [asyncio.create_task(caller(number)) for number in range(10)]
        await cluster.advance(2)
        await cluster.kill(cluster.silos[0])
        await cluster.advance(2)
        await cluster.add_silo()
        await asyncio.gather(*tasks)
        assert len(outcomes) == 500
        assert sum(isinstance(outcome, str) for outcome in outcomes) >= 450


async def test_a_planned_stop_fails_no_call() -> None:
    """A silo drains under load, and no caller gets an error."""
    async with TestCluster([Label], silos=3) as cluster:
        done = asyncio.Event()

        async def caller(number: int) -> int:
            calls = 0
            while not done.is_set():
                assert await cluster.get_grain(Label, f"{number}-{calls % 10}").get()
                calls += 1
                await asyncio.sleep(0.01)
            return calls

        tasks = [asyncio.create_task(caller(number)) for number in range(10)]
        await cluster.advance(1)
        await cluster.stop(cluster.silos[1])
        await cluster.advance(1)
        await cluster.add_silo()
        await cluster.advance(1)
        done.set()
        assert min(await asyncio.gather(*tasks)) > 100


async def test_a_stop_waits_for_a_request_that_waits_for_a_timer() -> None:
    """LIF-23: a request that waits for its grain's timer completes before a graceful stop."""
    async with TestCluster([Alarm], silos=2) as cluster:
        alarms = [cluster.get_grain(Alarm, str(number)) for number in range(6)]
        calls = [asyncio.create_task(alarm.wait_for_tick(10)) for alarm in alarms]
        await cluster.advance(1)
        stopping = cluster.where(alarms[0])
        assert stopping is not None
        await cluster.stop(stopping)
        assert calls[0].done()
        assert await asyncio.gather(*calls) == ["rung"] * 6


async def test_silos_find_each_other_again_after_a_short_partition() -> None:
    """A partition of 1 s causes no death."""
    async with TestCluster([Label], silos=3) as cluster:
        cluster.partition(cluster.silos[0], cluster.silos[1])
        await cluster.advance(1)
        cluster.heal()
        await cluster.advance(30)
        await cluster.stable()
        assert len(cluster.silos[0].view.active) == 3
