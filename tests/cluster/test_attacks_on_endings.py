"""A silo stops or is killed at a bad moment: no call is lost, no drain waits in vain, and no turn runs on."""

from __future__ import annotations

import asyncio

import pytest

from grange import ActivationFailed, CallerClosed, CallOutcomeUnknown, Grain
from grange.grains.deactivation import DeactivationReason
from grange.silo import Silo
from grange.testing import TestCluster

journal: list[str] = []


@pytest.fixture(autouse=True)
def _empty_journal() -> None:
    journal.clear()


async def noted(line: str) -> None:
    """Wait until some grain has written this line."""
    async with asyncio.timeout(60):
        while line not in journal:
            await asyncio.sleep(0.01)


class SlowStart(Grain):
    async def on_activate(self) -> None:
        journal.append("activating")
        await asyncio.sleep(3)

    async def get(self) -> str:
        return self.key


async def test_a_grain_that_activates_during_a_planned_stop_answers_on_another_silo() -> None:
    async with TestCluster([SlowStart]) as cluster:
        grain = cluster.get_grain(SlowStart, "a")
        call = asyncio.create_task(grain.get())
        await noted("activating")
        first = cluster.where(grain)
        assert first is not None
        await cluster.stop(first)
        assert await call == "a"
        assert cluster.where(grain) in cluster.silos


class Worker(Grain, stateless_workers=2):
    async def work(self, seconds: float) -> str:
        journal.append("working")
        await asyncio.sleep(seconds)
        return str(self._grange.owner.deps.address)  # type: ignore[attr-defined]


class Foreman(Grain):
    async def work_later(self) -> str:
        journal.append("foreman")
        await asyncio.sleep(2)
        return await self.get_grain(Worker, "w").work(0)


async def test_a_draining_silo_makes_no_new_workers() -> None:
    """A worker made after the others began to end would delay the drain up to its time-out."""
    async with TestCluster([Worker], drain_timeout=30) as cluster:
        silo, other = cluster.silos
        worker = silo.get_grain(Worker, "w")
        first = asyncio.create_task(worker.work(3))
        await noted("working")
        loop = asyncio.get_running_loop()
        began = loop.time()
        stop = asyncio.create_task(cluster.stop(silo))
        await cluster.advance(1)
        second = asyncio.create_task(worker.work(0))
        await stop
        assert loop.time() - began < 10
        assert await first == str(silo.address)
        assert await second == str(other.address)


async def test_a_turn_on_a_draining_silo_uses_workers_of_another_silo() -> None:
    async with TestCluster([Worker, Foreman], drain_timeout=60) as cluster:
        grain = cluster.get_grain(Foreman, "f")
        call = asyncio.create_task(grain.work_later())
        await noted("foreman")
        silo = cluster.where(grain)
        assert silo is not None
        await cluster.stop(silo)
        assert await call == str(cluster.silos[0].address)


class Busy(Grain):
    async def work(self) -> None:
        journal.append("begun")
        await asyncio.sleep(3)
        journal.append("ended")

    async def tick_on(self) -> None:
        self.start_timer(self._tick, 1, 1, keep_alive=True)

    async def _tick(self) -> None:
        journal.append("tick")


async def test_on_a_killed_silo_no_turn_and_no_timer_runs_on() -> None:
    """Neither the running turn, nor the waiting ones, nor a timer. The waiting calls get an error."""
    async with TestCluster([Busy], silos=1) as cluster:
        silo = cluster.silos[0]
        await silo.get_grain(Busy, "timer").tick_on()
        await noted("tick")
        calls = [asyncio.create_task(silo.get_grain(Busy, "a").work()) for _ in range(3)]
        await noted("begun")
        await cluster.kill(silo)
        before = list(journal)
        await cluster.advance(60)
        assert journal == before
        assert journal.count("begun") == 1
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(each, CallerClosed) for each in outcomes] == [False, True, True]


class Cancelled(Grain):
    async def on_activate(self) -> None:
        journal.append("activating")
        raise asyncio.CancelledError

    async def get(self) -> None: ...


async def test_a_hook_that_cancels_itself_fails_the_activation_once() -> None:
    """It must not be taken for the silo's stop, after which callers retry."""
    async with TestCluster([Cancelled], silos=1) as cluster:
        with pytest.raises(ActivationFailed, match="CancelledError"):
            await cluster.get_grain(Cancelled, "a").get()
        assert journal == ["activating"]


class Leaves(Grain):
    async def leave(self) -> None:
        self.deactivate_when_idle()

    async def get(self) -> str:
        return self.activation_id

    async def on_deactivate(self, reason: DeactivationReason) -> None:
        raise SystemExit(reason)


async def test_a_hook_cannot_end_the_process() -> None:
    """Neither can a method. Any exception of `on_deactivate` is logged."""
    async with TestCluster([Leaves], silos=1) as cluster:
        grain = cluster.get_grain(Leaves, "a")
        first = await grain.get()
        await grain.leave()
        assert await grain.get() != first


class Stubborn(Grain):
    def __init__(self) -> None:
        self.free = asyncio.Event()

    async def hold(self) -> None:
        journal.append("held")
        while not self.free.is_set():
            try:
                await self.free.wait()
            except asyncio.CancelledError:
                journal.append("cancelled")


async def test_a_turn_that_swallows_its_cancellation_does_not_delay_the_stop() -> None:
    async with TestCluster([Stubborn], drain_timeout=5) as cluster:
        grain = cluster.get_grain(Stubborn, "a")
        call = asyncio.create_task(grain.hold())
        await noted("held")
        silo, activation = cluster.where(grain), cluster.activation(grain)
        assert silo is not None
        assert activation is not None
        assert activation.built is not None
        instance = activation.built.grain
        async with asyncio.timeout(30):
            await cluster.stop(silo)
        assert "cancelled" in journal
        with pytest.raises(CallOutcomeUnknown):
            await call
        instance.free.set()  # type: ignore[attr-defined]


async def test_two_stops_at_once_are_one() -> None:
    """The second must not close the network and the table that the first one uses, nor return before it."""
    async with TestCluster([Busy]) as cluster:
        grain = cluster.get_grain(Busy, "a")
        call = asyncio.create_task(grain.work())
        await noted("begun")
        silo = cluster.where(grain)
        assert silo is not None
        cluster.silos.remove(silo)
        await asyncio.gather(silo.stop(), silo.stop(), silo.stop())
        assert "ended" in journal
        await call


async def test_a_silo_cannot_be_stopped_while_it_starts() -> None:
    """Parts that start while others stop would be left running. Cancelling the start stops all of them."""
    before = asyncio.all_tasks()
    silo = Silo([Busy], membership="memory://", storage="memory://", port=0, gateway_port=0)
    start = asyncio.create_task(silo.start())
    await asyncio.sleep(0)
    for end in (silo.stop, silo.kill):
        with pytest.raises(RuntimeError, match="still starting"):
            await end()
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    await silo.stop()
    assert asyncio.all_tasks() == before
