"""The application's own code beside its grains: start-up tasks and background services."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from grange import ConfigurationError, Grain, StartupFailed
from grange.silo import Silo
from grange.testing import TestCluster


class Cell(Grain, name="cell"):
    def __init__(self) -> None:
        self.value = 0

    async def set(self, value: int) -> None:
        self.value = value

    async def get(self) -> int:
        return self.value


async def set_first(silo: Silo) -> None:
    await silo.get_grain(Cell, "one").set(777)


async def set_second(silo: Silo) -> None:
    await silo.get_grain(Cell, "two").set(888)


async def test_start_up_tasks_may_call_grains() -> None:
    """HST-02: 777 and 888 are visible afterwards; with a second silo whose view of the cluster is new, too."""
    async with TestCluster([Cell], silos=2, startup=[set_first, set_second]) as cluster:
        assert await cluster.get_grain(Cell, "one").get() == 777
        assert await cluster.get_grain(Cell, "two").get() == 888
        await cluster.get_grain(Cell, "one").set(1)
        await cluster.add_silo()
        assert await cluster.get_grain(Cell, "one").get() == 777


async def test_start_up_tasks_run_in_order_before_clients_are_admitted() -> None:
    """HST-02: one after the other, and the silo is not ready before they have ended."""
    seen: list[str] = []

    async def first(silo: Silo) -> None:
        await asyncio.sleep(1)
        seen.append("first")

    async def second(silo: Silo) -> None:
        seen.append("second")
        assert silo.view.active
        assert silo.address in {member.address for member in silo.view.active}

    async with TestCluster([Cell], silos=1, startup=[first, second]):
        assert seen == ["first", "second"]


async def test_a_failing_start_up_task_stops_the_start_by_name() -> None:
    """HST-02: StartupFailed names the task and has its error; the silo has left the cluster."""

    async def load(silo: Silo) -> None:
        raise FileNotFoundError("prices.csv")

    cluster = TestCluster([Cell], silos=1, startup=[load])
    with pytest.raises(StartupFailed, match=r"start-up task '.*load' failed: FileNotFoundError: prices.csv") as caught:
        async with cluster:
            raise AssertionError("it started")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    table = await cluster.table.read()
    assert {str(row.member.status) for row in table.rows} == {"dead"}


async def test_a_background_service_runs_until_the_stop() -> None:
    """HST-03: it runs while the silo serves, and ends before the silo leaves, so that it can still call grains."""
    ticks = 0
    ended: list[int] = []

    async def tick(silo: Silo) -> None:
        nonlocal ticks
        try:
            while True:
                await asyncio.sleep(1)
                await silo.get_grain(Cell, "clock").set(ticks := ticks + 1)
        finally:
            ended.append(await silo.get_grain(Cell, "clock").get())

    async with TestCluster([Cell], silos=1, background=[tick]) as cluster:
        await cluster.advance(5.5)
        assert await cluster.get_grain(Cell, "clock").get() == 5
        await cluster.silos.pop().stop()
        assert ended == [5]


async def test_a_failing_background_service_runs_again() -> None:
    """HST-03: after growing pauses, with an event each time; the silo serves on."""
    runs: list[float] = []

    async def poll(silo: Silo) -> None:
        runs.append(asyncio.get_running_loop().time())
        raise ConnectionError("the queue is away")

    async with TestCluster([Cell], silos=1, background=[poll]) as cluster:
        await cluster.advance(300)
        pauses = [later - earlier for earlier, later in pairwise(runs)]
        assert 1 <= pauses[0] <= 2
        assert pauses == sorted(pauses[:6]) + pauses[6:]
        assert 40 <= pauses[-1] <= 60
        await cluster.get_grain(Cell, "k").set(1)
        events, _ = cluster.silos[0]._running.ports.events.after(0, 2000)  # pyright: ignore[reportPrivateUsage]
        failed = [each for each in events if each.name == "background_failed"]
        assert len(failed) == len(runs)
        assert "poll" in failed[0].text
        assert "ConnectionError: the queue is away" in failed[0].text


async def test_a_background_service_that_returns_is_done() -> None:
    """HST-03: it does not run again."""
    runs = 0

    async def once(silo: Silo) -> None:
        nonlocal runs
        runs += 1

    async with TestCluster([Cell], silos=1, background=[once]) as cluster:
        await cluster.advance(300)
        assert runs == 1


def test_wrong_functions_are_refused() -> None:
    """HST-03: a plain function, or one that does not take the silo, is refused when the silo is defined."""

    def plain(silo: Silo) -> None: ...

    async def without() -> None: ...

    with pytest.raises(ConfigurationError, match="startup= is a list of async functions that take the silo"):
        Silo([Cell], startup=[plain])  # type: ignore[list-item]
    with pytest.raises(ConfigurationError, match=r"background=.* must take the silo"):
        Silo([Cell], background=[without])  # type: ignore[list-item]
    with pytest.raises(ConfigurationError, match="startup= is a list of async functions that take the silo, not"):
        TestCluster([Cell], startup=plain)  # type: ignore[arg-type]
