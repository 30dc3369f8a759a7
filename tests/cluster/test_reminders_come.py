"""A reminder comes at its times, wherever its grain is, until it is cancelled (REM, RMT)."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from grange import Cron, Grain, Reminder, Tick
from grange.errors import ConfigurationError
from grange.proto.ids import GrainId
from grange.silo.silo import Silo
from grange.storage.memory import MemoryStorage
from grange.storage.sets import ReminderRow, slot_of
from grange.testing import TestCluster

MINUTE = 60.0
MARGIN = 1.0
"""Seconds by which a tick may be late on a stable cluster."""

TICKS: list[tuple[datetime, str, Tick]] = []
"""When each tick came, to which grain."""


@pytest.fixture(autouse=True)
def no_ticks() -> None:
    """Each test begins without ticks."""
    TICKS.clear()


class Alarm(Grain, name="alarm"):
    """Sets reminders and notes their ticks."""

    async def start(self, name: str, due: float | None = None, every: float | None = None) -> Reminder:
        """Set a reminder."""
        return await self.reminders.set(name, due, every=every)

    async def start_at(self, name: str, cron: Cron, payload: dict[str, Any]) -> Reminder:
        """Set a reminder by cron."""
        return await self.reminders.set(name, cron=cron, payload=payload, missed="all")

    async def set(self, arguments: dict[str, Any]) -> Reminder:
        """Set a reminder with any arguments."""
        return await self.reminders.set("r", **arguments)

    async def start_twice(self, name: str) -> None:
        """Set one reminder twice at a time."""
        await asyncio.gather(self.reminders.set(name, 60), self.reminders.set(name, 60))

    async def start_many(self, count: int) -> None:
        """Set several at a time."""
        await asyncio.gather(*(self.reminders.set(f"r{number}", 60, every=60) for number in range(count)))

    async def stop(self, name: str) -> bool:
        """Cancel the reminder of this name."""
        return await self.reminders.cancel(name)

    async def stop_exactly(self, reminder: Reminder) -> bool:
        """Cancel this reminder."""
        return await self.reminders.cancel(reminder)

    async def find(self, name: str) -> Reminder | None:
        """The reminder of this name."""
        return await self.reminders.get(name)

    async def names(self) -> list[str]:
        """The names of all."""
        return [each.name for each in await self.reminders.list()]

    async def end(self) -> None:
        """End this activation."""
        self.deactivate_when_idle()

    async def on_reminder(self, tick: Tick) -> None:
        """Note it."""
        TICKS.append((now_of(self), str(self.id), tick))


class Other(Alarm, name="other"):
    """Another class with the same names of reminders."""


def now_of(grain: Grain) -> datetime:
    """The wall clock of the test."""
    context: Any = grain._grange
    return datetime.fromtimestamp(context.deps.epoch + asyncio.get_running_loop().time(), UTC)


def count(key: str = "alarm/a", name: str = "r") -> int:
    """The ticks of one reminder so far."""
    return sum((grain, tick.name) == (key, name) for _, grain, tick in TICKS)


def loaded(silo: Silo) -> int:
    """The reminders that a silo holds in memory."""
    service = silo._running.hosting.reminders.service
    assert service is not None
    return len(service.agenda)


async def test_a_reminder_comes_each_period_until_it_is_cancelled() -> None:
    """REM-01: two periods, two ticks; after the end none; started again, it counts from its new start."""
    async with TestCluster([Alarm], silos=2) as cluster:
        alarm = cluster.get_grain(Alarm, "a")
        await alarm.start("r", MINUTE, MINUTE)
        await cluster.advance(2 * MINUTE + MARGIN)
        assert count() == 2
        assert await alarm.stop("r")
        assert not await alarm.stop("r")
        await cluster.advance(MINUTE)
        assert count() == 2
        await alarm.start("r", MINUTE, MINUTE)
        await cluster.advance(2 * MINUTE + MARGIN)
        assert count() == 4


async def test_a_handle_cancels_only_the_reminder_that_it_names() -> None:
    """REM-02: an earlier one of the same name is gone; a handle that was fetched works as well."""
    async with TestCluster([Alarm], silos=2) as cluster:
        alarm = cluster.get_grain(Alarm, "a")
        first = await alarm.start("r", MINUTE, MINUTE)
        second = await alarm.start("r", MINUTE, MINUTE)
        await cluster.advance(MINUTE + MARGIN)  # a tick changes the row, and not which reminder it is
        assert not await alarm.stop_exactly(first)
        assert await alarm.stop_exactly(second)
        await alarm.start("r", MINUTE)
        found = await alarm.find("r")
        assert found is not None
        assert await alarm.stop_exactly(found)
        await cluster.advance(2 * MINUTE)
        assert count() == 1


async def test_several_reminders_of_one_grain_all_come() -> None:
    """REM-03, RMT-10: five set at a time, each has two ticks in two periods; the list has exactly these."""
    async with TestCluster([Alarm], silos=2) as cluster:
        alarm = cluster.get_grain(Alarm, "a")
        await alarm.start_many(5)
        assert await alarm.names() == [f"r{number}" for number in range(5)]
        await cluster.advance(2 * MINUTE + MARGIN)
        assert [count(name=f"r{number}") for number in range(5)] == [2] * 5


async def test_one_reminder_set_twice_at_a_time_is_one_reminder() -> None:
    """REM-04: both succeed."""
    async with TestCluster([Alarm], silos=2) as cluster:
        alarm = cluster.get_grain(Alarm, "a")
        await alarm.start_twice("r")
        await cluster.advance(2 * MINUTE)
        assert count() == 1


async def test_classes_with_equal_names_do_not_disturb_each_other() -> None:
    """REM-05: the end of one leaves the other."""
    async with TestCluster([Alarm, Other], silos=2) as cluster:
        alarm, other = cluster.get_grain(Alarm, "a"), cluster.get_grain(Other, "a")
        await alarm.start("r", MINUTE, MINUTE)
        await other.start("r", 2 * MINUTE, 2 * MINUTE)
        await cluster.advance(4 * MINUTE + MARGIN)
        assert (count(), count("other/a")) == (4, 2)
        await alarm.stop("r")
        await cluster.advance(2 * MINUTE)
        assert (count(), count("other/a")) == (4, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"due": 5, "every": 0.5}, ValueError, "every=0.5 must be 1 s or more"),
        ({"every": True}, TypeError, "every=True must be a number of seconds"),
        ({}, ValueError, "give due=, every= or cron="),
        ({"every": 5, "cron": "* * * * *"}, ValueError, "not both"),
        ({"cron": "* * *"}, ValueError, "3 fields"),
        ({"due": 5, "missed": "skip"}, ValueError, "has no effect on a reminder that comes once"),
        ({"every": 5, "missed": "never"}, ValueError, 'must be "skip", "once" or "all"'),
        ({"due": -1}, ValueError, "due=-1 must be 0 s or more"),
    ],
)
async def test_what_makes_no_sense_is_refused_at_once(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    """REM-06: a period below the least; and nothing is stored."""
    async with TestCluster([Alarm], silos=1) as cluster:
        alarm = cluster.get_grain(Alarm, "a")
        with pytest.raises(error, match=message):
            await alarm.set(arguments)
        assert await alarm.names() == []


class Deaf(Grain, name="deaf"):
    """Has no on_reminder."""

    async def start(self) -> None:
        """Set a reminder all the same."""
        await self.reminders.set("r", 5)


async def test_a_grain_without_the_hook_cannot_set_a_reminder() -> None:
    """REM-06: the error says what to write."""
    async with TestCluster([Deaf, Alarm], silos=1) as cluster:
        with pytest.raises(RuntimeError, match=r"Deaf has no on_reminder.*async def on_reminder\(self, tick: Tick\)"):
            await cluster.get_grain(Deaf, "a").start()


class Plain:
    """A third party's storage, which keeps states only."""

    def __init__(self) -> None:
        inner = MemoryStorage()
        self.read, self.write, self.clear, self.fence = inner.read, inner.write, inner.clear, inner.fence


async def test_a_silo_whose_storage_keeps_no_reminders_says_so_at_its_start() -> None:
    """If one of its classes has the hook; else it starts, and a grain that sets one is refused."""
    with pytest.raises(ConfigurationError, match=r"Alarm \('alarm'\) has on_reminder, and the storage 'default' keeps"):
        async with TestCluster([Alarm], silos=1, storage=Plain()):
            pass
    async with TestCluster([Deaf], silos=1, storage=Plain()) as cluster:
        with pytest.raises(RuntimeError, match="storage keeps no reminders"):
            await cluster.get_grain(Deaf, "a").start()
    with pytest.raises(ConfigurationError, match=r"reminders\.provider.*there is no storage 'orders'"):
        async with TestCluster([Alarm], silos=1, reminders={"provider": "orders"}):
            pass


@pytest.mark.parametrize("silos", [2, 4])
async def test_a_planned_stop_loses_and_doubles_no_tick(silos: int) -> None:
    """REM-07: the silos that own the reminders stop one after the other, and the count is exact."""
    async with TestCluster([Alarm], silos=silos) as cluster:
        for number in range(20):
            await cluster.get_grain(Alarm, str(number)).start("r", 10, 10)
        for _ in range(silos - 1):
            await cluster.advance(25)
            await cluster.stop(cluster.silos[0])
        began = TICKS[0][0]
        await cluster.advance(30)
        expected = round((TICKS[-1][0] - began).total_seconds() / 10) + 1
        assert {count(f"alarm/{number}") for number in range(20)} == {expected}


async def test_reminders_go_on_while_silos_come_and_go() -> None:
    """REM-08: of four silos two die, one joins; each reminder comes each period, the late ones within the bound."""
    async with TestCluster([Alarm], silos=4) as cluster:
        for number in range(20):
            await cluster.get_grain(Alarm, str(number)).start("r", 20, 20)
        await cluster.advance(30)
        await cluster.kill(cluster.silos[0])
        await cluster.kill(cluster.silos[0])
        await cluster.add_silo()
        await cluster.advance(60)
        for number in range(20):
            ticks = [(at, tick) for at, grain, tick in TICKS if grain == f"alarm/{number}"]
            scheduled = [tick.scheduled for _, tick in ticks]
            assert {b - a for a, b in itertools.pairwise(scheduled)} <= {timedelta(seconds=20)}
            assert all(timedelta() <= at - tick.scheduled < timedelta(seconds=12) for at, tick in ticks)
            assert len(ticks) >= 4


async def test_a_changed_schedule_takes_the_place_of_the_old_one() -> None:
    """REM-09: exactly one of them is held, before and after."""
    async with TestCluster([Alarm], silos=1) as cluster:
        alarm = cluster.get_grain(Alarm, "a")
        await alarm.start("r", 5, 5)
        await cluster.advance(5 + MARGIN)
        for _ in range(3):
            await alarm.start("r", 3, 3)
            await cluster.advance(0.1)
            assert loaded(cluster.silos[0]) == 1
        await cluster.advance(6 + MARGIN)
        assert count() == 3


async def test_a_distant_reminder_is_held_only_when_it_is_due_soon() -> None:
    """REM-11: held within the window, evicted after its tick, held again for the next."""
    async with TestCluster([Alarm], silos=1) as cluster:
        silo = cluster.silos[0]
        await cluster.get_grain(Alarm, "a").start("r", 600, 600)
        await cluster.advance(500)
        assert (loaded(silo), count()) == (0, 0)
        await cluster.advance(99)
        assert (loaded(silo), count()) == (1, 0)
        await cluster.advance(2)
        assert (loaded(silo), count()) == (0, 1)
        await cluster.advance(598)
        assert (loaded(silo), count()) == (1, 1)
        await cluster.advance(2)
        assert count() == 2


async def test_a_period_beyond_the_limits_of_timers_keeps_its_cadence() -> None:
    """REM-14: ten years, exactly."""
    years = 10 * 365 * 24 * 3600.0
    async with TestCluster([Alarm], silos=1) as cluster:
        alarm = cluster.get_grain(Alarm, "a")
        set_at = await alarm.start("r", years, years)
        found = await alarm.find("r")
        assert found is not None
        assert found == set_at
        assert found.every == timedelta(seconds=years)


async def test_ticks_are_never_early_and_do_not_drift() -> None:
    """A hundred ticks later the time is still a whole number of periods after the first."""
    async with TestCluster([Alarm], silos=3) as cluster:
        reminder = await cluster.get_grain(Alarm, "a").start("r", 7, 7)
        await cluster.advance(100 * 7 + MARGIN)
        assert reminder.due is not None
        assert count() == 100
        for number, (at, _, tick) in enumerate(TICKS):
            assert tick.scheduled == reminder.due + number * timedelta(seconds=7)
            assert timedelta() <= at - tick.scheduled < timedelta(seconds=1)
        assert len({tick.id for _, _, tick in TICKS}) == 100


async def test_cron_follows_the_clock_of_its_zone_and_carries_a_payload() -> None:
    """Each tick carries it."""
    async with TestCluster([Alarm], silos=1) as cluster:
        reminder = await cluster.get_grain(Alarm, "a").start_at(
            "r", Cron("0 * * * *", "Asia/Kathmandu"), {"to": ["ann"], "sum": 1.5}
        )
        assert reminder.cron == Cron("0 * * * *", "Asia/Kathmandu")
        await cluster.advance(3600 + MARGIN)
        assert count() == 1
        for _, _, tick in TICKS:
            assert (tick.scheduled.minute, tick.payload) == (15, {"to": ["ann"], "sum": 1.5})


async def test_a_tick_activates_its_grain() -> None:
    """The reminder outlives the activation that set it."""
    async with TestCluster([Alarm], silos=2) as cluster:
        alarm = cluster.get_grain(Alarm, "a")
        await alarm.start("r", 30)
        await alarm.end()
        await cluster.advance(1)
        assert cluster.activation(alarm) is None
        await cluster.advance(30)
        assert count() == 1
        assert await alarm.names() == []


async def test_a_client_cannot_send_a_tick() -> None:
    """Only silos deliver: a forged tick is refused, also for a grain that is active."""
    async with TestCluster([Alarm], silos=2) as cluster:
        alarm = cluster.get_grain(Alarm, "a")
        await alarm.names()
        with pytest.raises(Exception, match="only silos deliver"):
            await cluster.client.call_json(alarm.id, "@reminder", b'[{"name": "r", "id": "x"}]', 5)
        assert count() == 0


async def test_a_row_that_cannot_be_read_is_left_and_delays_no_other() -> None:
    """RMT-12 and F39: one event; the others come in time."""
    async with TestCluster([Alarm], silos=1) as cluster:
        grain_id = GrainId("alarm", "b")
        storage = cluster.storage
        assert isinstance(storage, MemoryStorage)
        row = ReminderRow(grain_id, "r", slot_of(grain_id), 1, b'{"id": "x", "schedule": "new"}', "e")
        storage._reminders[grain_id] = {"r": row}
        await cluster.get_grain(Alarm, "a").start("r", 10, 10)
        await cluster.advance(20 + MARGIN)
        assert (count(), count("alarm/b")) == (2, 0)
        assert await storage.reminders_of(grain_id) == [row]


async def test_a_cluster_that_does_not_deliver_leaves_reminders_to_the_other() -> None:
    """Blue and green share a store: only the one that delivers has the ticks."""
    async with TestCluster([Alarm], silos=1) as blue:
        options = {"storage": blue.storage, "reminders": {"deliver": False}}
        async with TestCluster([Alarm], silos=1, **options) as green:  # type: ignore[arg-type]
            await green.get_grain(Alarm, "a").start("r", 20, 20)
            await blue.advance(20 + MARGIN)
            assert count() == 1
            assert green.activation(green.get_grain(Alarm, "a")) is not None
            assert blue.activation(blue.get_grain(Alarm, "a")) is not None


async def test_a_time_zone_that_is_not_installed_delays_only_its_reminder() -> None:
    """It stays stored as it is."""
    async with TestCluster([Alarm], silos=1) as cluster:
        grain_id = GrainId("alarm", "b")
        storage = cluster.storage
        assert isinstance(storage, MemoryStorage)
        entry = b'{"id":"x","schedule":{"first":1,"cron":"0 0 * * *","zone":"Mars/Olympus"},"occurrence":1}'
        row = ReminderRow(grain_id, "r", slot_of(grain_id), 1, entry, "e")
        storage._reminders[grain_id] = {"r": row}
        await cluster.get_grain(Alarm, "a").start("r", 10)
        await cluster.advance(10 + MARGIN)
        assert (count(), count("alarm/b")) == (1, 0)
        assert await storage.reminders_of(grain_id) == [row]
