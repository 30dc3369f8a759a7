"""Reminders survive deaths, outages, wrong clocks and failing grains; none is early or lost (REM, F1)."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Collection
from typing import Any

import pytest

from grange import Grain
from grange.errors import StorageUnavailable
from grange.grains.tick import MissedTicks, Tick
from grange.silo.silo import Silo
from grange.storage.memory import MemoryStorage
from grange.storage.sets import ChangeSet, Committed, ReminderRow
from grange.testing import TestCluster

FAIL_OVER = 10.0
"""Seconds within which a dead silo is found and replaced, at most."""


class Notes:
    """What happened in one test."""

    def __init__(self) -> None:
        self.ticks: list[tuple[str, Tick, float]] = []
        self.failing: set[str] = set()
        self.seconds = 0.0

    def of(self, key: str) -> list[Tick]:
        """The ticks of one grain."""
        return [tick for grain, tick, _ in self.ticks if grain == key]

    def lateness(self, key: str) -> list[float]:
        """How late each of its ticks was, in seconds."""
        return [late for grain, _, late in self.ticks if grain == key]


NOTES = Notes()


@pytest.fixture(autouse=True)
def no_notes() -> None:
    """Each test begins without notes."""
    NOTES.__init__()  # type: ignore[misc]


class Clock(Grain, name="clock"):
    """Notes its ticks."""

    async def start(self, due: float, every: float | None = None, missed: MissedTicks | None = None) -> None:
        """Set a reminder."""
        await self.reminders.set("r", due, every=every, missed=missed)

    async def stop(self) -> bool:
        """Cancel it."""
        return await self.reminders.cancel("r")

    async def stored(self) -> list[tuple[str, int, str]]:
        """Name, failures and error of each reminder."""
        return [(each.name, each.failed, each.error) for each in await self.reminders.list()]

    async def end(self) -> None:
        """End this activation."""
        self.deactivate_when_idle()

    async def on_reminder(self, tick: Tick) -> None:
        """Note it; fail or take long as the test says."""
        context: Any = self._grange
        now = context.deps.epoch + asyncio.get_running_loop().time()
        NOTES.ticks.append((str(self.key), tick, now - tick.scheduled.timestamp()))
        await asyncio.sleep(NOTES.seconds)
        if self.key in NOTES.failing:
            raise ValueError("not today")


class Store(MemoryStorage):
    """A store that a test can stop and slow down."""

    def __init__(self) -> None:
        self.time: Any = None
        super().__init__(clock=lambda: self.time().timestamp())
        self.down = False
        self.slow = 0.0

    def _check(self) -> None:
        if self.down:
            raise StorageUnavailable("the store is down")

    async def now(self) -> int:
        """See `ReminderStorage.now`."""
        self._check()
        return await super().now()

    async def commit(self, changes: ChangeSet) -> Committed:
        """See `SetStorage.commit`."""
        self._check()
        return await super().commit(changes)

    async def reminders_due(self, slots: Collection[int], until: int, limit: int) -> list[ReminderRow]:
        """The answer is made at once, and takes its time."""
        self._check()
        rows = await super().reminders_due(slots, until, limit)
        await asyncio.sleep(self.slow)
        return rows


class Clocks(TestCluster):
    """A cluster of clocks with such a store."""

    def __init__(self, silos: int) -> None:
        self.store = Store()
        super().__init__([Clock], silos=silos, storage=self.store)
        self.store.time = lambda: self.time.utc_now()  # type: ignore[union-attr]

    async def start(self, count: int, due: float, every: float | None = None, missed: Any = None) -> None:
        """Set the reminders of so many grains."""
        for number in range(count):
            await self.get_grain(Clock, str(number)).start(due, every, missed)

    async def pause(self, seconds: float) -> Silo:
        """Have no silo for so long; then the only one starts again."""
        (silo,) = self.silos
        await self.kill(silo)
        await self.advance(seconds)
        return await self.add_silo(port=silo.address.port, gateway_port=int(silo.gateway.rpartition(":")[2]))


async def test_the_death_of_an_owner_delays_its_reminders_by_no_more_than_the_fail_over() -> None:
    """F1, I5: no tick is lost; at most one is repeated, with its id."""
    async with Clocks(3) as cluster:
        await cluster.start(30, 5, 5)
        await cluster.advance(12)
        await cluster.kill(cluster.silos[0])
        await cluster.advance(40)
    for number in range(30):
        ticks, late = NOTES.of(str(number)), NOTES.lateness(str(number))
        assert max(late) <= FAIL_OVER + 2
        assert min(late) >= 0
        times = sorted({tick.scheduled for tick in ticks})
        missed = sum(tick.missed for tick in {tick.id: tick for tick in ticks}.values())
        assert (times[-1] - times[0]).total_seconds() == 5 * (len(times) - 1 + missed)
        assert sum(Counter(tick.id for tick in ticks).values()) - len(times) <= 1


async def test_a_tick_that_ran_when_its_silo_died_comes_again_with_its_id() -> None:
    """The grain sees that it is the same."""
    async with Clocks(2) as cluster:
        clock = cluster.get_grain(Clock, "a")
        await clock.start(5)
        NOTES.seconds = 3.0
        await cluster.advance(6)
        host = cluster.where(clock)
        assert host is not None
        await cluster.kill(host)
        await cluster.advance(20)
    first, second = NOTES.of("a")
    assert (first.id, first.scheduled) == (second.id, second.scheduled)


async def test_a_tick_under_way_is_not_run_again_by_the_next_owner() -> None:
    """A silo joins while the hook runs: the activation knows that it has run."""
    async with Clocks(1) as cluster:
        await cluster.start(20, 5)
        NOTES.seconds = 8.0
        await cluster.advance(6)
        await cluster.add_silo()
        await cluster.add_silo()
        await cluster.advance(20)
        assert all(len(NOTES.of(str(number))) == 1 for number in range(20))
        assert await cluster.get_grain(Clock, "3").stored() == []


async def test_a_stop_waits_for_the_ticks_under_way() -> None:
    """None is doubled, although the hook takes seconds."""
    async with Clocks(3) as cluster:
        await cluster.start(20, 5)
        NOTES.seconds = 2.0
        await cluster.advance(6)
        await cluster.stop(cluster.silos[0])
        await cluster.advance(20)
        assert all(len(NOTES.of(str(number))) == 1 for number in range(20))


@pytest.mark.parametrize("missed", ["once", "skip", "all"])
async def test_the_policy_says_what_becomes_of_ticks_while_no_silo_runs(missed: MissedTicks) -> None:
    """All silos are gone for 125 s; the period is 10 s."""
    async with Clocks(1) as cluster:
        await cluster.start(1, 10, 10, missed)
        await cluster.advance(11)
        await cluster.pause(125)
        await cluster.advance(1)
        ticks = NOTES.of("0")[1:]
        if missed == "all":
            assert 12 <= len(ticks) <= 14
            assert {tick.missed for tick in ticks} == {0}
        else:  # a period is shorter than the grace of "skip", so the newest still counts
            assert len(ticks) == 1
            assert ticks[0].missed in (11, 12)
        await cluster.advance(60)
        times = [tick.scheduled.timestamp() for tick in NOTES.of("0")]
        assert {round(time - times[0], 3) % 10 for time in times} == {0}


async def test_skip_leaves_out_a_tick_that_is_late_by_more_than_the_grace() -> None:
    """A daily reminder, missed by an hour, comes the next day."""
    async with Clocks(1) as cluster:
        await cluster.start(1, 100, 86_400, "skip")
        silo = await cluster.pause(200)
        await cluster.advance(20)
        assert NOTES.ticks == []
        assert silo.inspection.figures.snapshot().reminders.missed == 1
        stored = await cluster.get_grain(Clock, "0").stored()
        assert stored == [("r", 0, "")]


async def test_each_attempt_of_a_tick_tells_how_many_were_missed_before_it() -> None:
    """Its first attempt fails, so the grain has done nothing about them."""
    async with Clocks(1) as cluster:
        await cluster.start(1, 10, 60)
        NOTES.failing = {"0"}  # before the silo is back: its first attempt may come before the client is
        await cluster.pause(200)
        await cluster.advance(10)
        NOTES.failing = set()
        await cluster.advance(30)
        ticks = NOTES.of("0")
        assert len({tick.id for tick in ticks}) == 1
        assert [tick.attempt for tick in ticks] == list(range(1, len(ticks) + 1))
        assert len(ticks) > 1
        assert {tick.missed for tick in ticks} == {3}
        await cluster.advance(60)
        assert NOTES.of("0")[-1].missed == 0


async def test_a_store_outage_loses_and_doubles_nothing() -> None:
    """F21: what was loaded is delivered, each tick once; then the ticks wait, and go on."""
    async with Clocks(2) as cluster:
        await cluster.start(10, 5, 5, "all")
        await cluster.advance(11)
        cluster.store.down = True
        await cluster.advance(30)
        cluster.store.down = False
        await cluster.advance(15)
        for number in range(10):
            ids = [tick.id for tick in NOTES.of(str(number))]
            assert len(ids) == len(set(ids)) == 11
            assert NOTES.lateness(str(number))[-1] < 1


async def test_a_slow_read_does_not_bring_back_what_was_cancelled() -> None:
    """Each read takes 3 s, and answers with what was stored when it began."""
    async with Clocks(1) as cluster:
        cluster.store.slow = 3.0
        await cluster.start(20, 12)
        for number in range(20):
            await cluster.advance(0.5)
            assert await cluster.get_grain(Clock, str(number)).stop()
            await cluster.get_grain(Clock, str(number)).end()  # so that its memory does not help
        await cluster.advance(20)
    assert NOTES.ticks == []


@pytest.mark.parametrize("seconds", [30.0, -30.0, 3600.0])
async def test_a_wrong_clock_of_a_silo_changes_nothing(seconds: float) -> None:
    """F25: the clock of the store counts; no tick is early, doubled or late."""
    async with Clocks(2) as cluster:
        await cluster.start(10, 5, 5)
        await cluster.advance(7)
        for silo in cluster.silos:
            cluster.shift_clock(silo, seconds)
        await cluster.get_grain(Clock, "new").start(5)
        await cluster.advance(20)
        for number in range(10):
            assert len(NOTES.of(str(number))) == 5
        assert all(0 <= late < 1 for _, _, late in NOTES.ticks)
        assert len(NOTES.of("new")) == 1


async def test_a_poisoned_reminder_is_tried_within_bounds_and_delays_no_neighbour() -> None:
    """F40: five attempts with growing pauses; then one that comes once is parked, and the others were never late."""
    async with Clocks(2) as cluster:
        NOTES.failing = {f"bad{number}" for number in range(200)}
        for key in NOTES.failing:
            await cluster.get_grain(Clock, key).start(5)
        await cluster.start(20, 5, 5)
        await cluster.advance(60)
        late = NOTES.lateness("bad0")
        assert [round(after - before) for before, after in itertools.pairwise(late)] == [1, 2, 4, 8]
        assert [tick.attempt for tick in NOTES.of("bad0")] == [1, 2, 3, 4, 5]
        assert len({tick.id for tick in NOTES.of("bad0")}) == 1
        assert max(max(NOTES.lateness(str(number))) for number in range(20)) < 1
        assert await cluster.get_grain(Clock, "bad0").stored() == [("r", 5, "ValueError: not today")]


async def test_a_poisoned_periodic_reminder_goes_on_with_its_next_tick() -> None:
    """The failed tick is given up when the next one is due."""
    async with Clocks(1) as cluster:
        NOTES.failing = {"0"}
        await cluster.start(1, 2, 2)
        await cluster.advance(11)
        ticks = NOTES.of("0")
        assert len({tick.id for tick in ticks}) == 5
        NOTES.failing = set()
        await cluster.advance(4)
        assert NOTES.of("0")[-1].attempt == 1
        assert max(NOTES.lateness("0")) < 2


async def test_a_hanging_grain_delays_no_other() -> None:
    """Its tick has no answer; the others are in time."""
    async with Clocks(1) as cluster:
        NOTES.seconds = 100.0
        for number in range(100):
            await cluster.get_grain(Clock, f"slow{number}").start(5)
        await cluster.advance(6)
        NOTES.seconds = 0.0
        await cluster.start(20, 5, 5)
        await cluster.advance(31)
        assert max(max(NOTES.lateness(str(number))) for number in range(20)) < 1
