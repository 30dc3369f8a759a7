"""A reminder or a job that a `@transactional` method sets or cancels is stored with the states it changes, or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import pytest

from grange import (
    Grain,
    Job,
    PersistentState,
    StorageError,
    StorageUnavailable,
    Stored,
    Tick,
    WriteOutcomeUnknown,
    idempotency_key,
    idempotent,
    transactional,
)
from grange.storage.memory import MemoryStorage
from grange.testing import TestCluster
from tests.cluster.faulty_sets import FaultySets


class Bill(Grain):
    """A bill is due, until it is paid."""

    def __init__(self, log: PersistentState[list[str]]) -> None:
        self.log = log

    @transactional
    async def send(self, due: float, fails: bool = False) -> list[str]:
        self.log.value.append("sent")
        await self.reminders.set("due", due)
        if fails:
            raise ValueError("not sent")
        return [each.name for each in await self.reminders.list()]

    @transactional
    async def pay(self, fails: bool = False) -> bool:
        self.log.value.append("paid")
        cancelled = await self.reminders.cancel("due")
        if fails:
            raise ValueError("not paid")
        return cancelled

    @transactional
    async def send_and_pay(self) -> bool:
        await self.reminders.set("due", 10)
        return await self.reminders.cancel("due")

    @transactional
    async def only_remind(self, due: float) -> None:
        await self.reminders.set("due", 60)
        await self.reminders.set("due", due)

    @transactional
    async def send_and_leave_a_task(self) -> None:
        self.log.value.append("sent")
        self.task = asyncio.create_task(self.reminders.set("late", 10))

    @idempotent(keep=3600)
    async def hand_over(self, other: str, fails: bool = False) -> str:
        job = await self.jobs.schedule(self.get_grain(Bill, other), 5)
        self.log.value.append("handed over")
        if fails:
            raise ValueError("not handed over")
        return job.id

    async def on_reminder(self, tick: Tick) -> None:
        self.log.value.append(f"reminded: {tick.name}")
        await self.log.write()

    async def on_job(self, job: Job) -> None:
        self.log.value.append("taken over")
        await self.log.write()

    async def entries(self) -> list[str]:
        return self.log.value

    async def names(self) -> list[str]:
        return [each.name for each in await self.reminders.list()]


Made = tuple[TestCluster, Bill, FaultySets]


@asynccontextmanager
async def a_bill() -> AsyncIterator[Made]:
    storage = FaultySets()
    async with TestCluster([Bill], silos=2, storage=storage) as cluster:
        storage._clock = cluster._store_clock
        yield cluster, cluster.get_grain(Bill, "a"), storage


async def test_a_reminder_is_stored_in_the_set_of_the_turn() -> None:
    """Within the turn the grain sees it already."""
    async with a_bill() as (cluster, bill, storage):
        assert await bill.send(10) == ["due"]
        [changes] = storage.sets
        assert (len(changes.writes), [each.name for each in changes.reminders]) == (1, ["due"])
        await cluster.advance(11)
        assert await bill.entries() == ["sent", "reminded: due"]


async def test_a_turn_that_raises_sets_no_reminder() -> None:
    async with a_bill() as (cluster, bill, _storage):
        with pytest.raises(ValueError, match="not sent"):
            await bill.send(10, fails=True)
        assert await bill.names() == []
        await cluster.advance(20)
        assert await bill.entries() == []


async def test_a_turn_that_raises_cancels_no_reminder() -> None:
    async with a_bill() as (cluster, bill, _storage):
        await bill.send(10)
        with pytest.raises(ValueError, match="not paid"):
            await bill.pay(fails=True)
        await cluster.advance(11)
        assert await bill.entries() == ["sent", "reminded: due"]


async def test_a_cancelled_reminder_does_not_come() -> None:
    async with a_bill() as (cluster, bill, _storage):
        await bill.send(10)
        assert await bill.pay()
        assert not await bill.pay()
        await cluster.advance(20)
        assert await bill.entries() == ["sent", "paid", "paid"]


async def test_a_reminder_that_is_set_and_cancelled_in_one_turn_is_nothing() -> None:
    async with a_bill() as (_, bill, storage):
        assert await bill.send_and_pay()
        assert (await bill.names(), storage.sets) == ([], [])


async def test_the_last_of_two_settings_counts_without_a_changed_state() -> None:
    async with a_bill() as (cluster, bill, storage):
        await bill.only_remind(10)
        assert [len(each.writes) for each in storage.sets] == [0]
        await bill.only_remind(5)
        await cluster.advance(6)
        assert await bill.entries() == ["reminded: due"]


async def test_what_a_task_sets_while_the_turn_is_stored_is_stored_by_itself() -> None:
    """The set is on its way already, so it would be lost with it."""
    async with a_bill() as (cluster, bill, storage):
        await bill.send_and_leave_a_task()
        await cluster.advance(11)
        assert sorted((len(each.writes), len(each.reminders)) for each in storage.sets[:2]) == [(0, 1), (1, 0)]
        assert await bill.entries() == ["sent", "reminded: late"]


async def test_a_turn_that_could_not_be_stored_leaves_the_earlier_reminder() -> None:
    async with a_bill() as (cluster, bill, storage):
        await bill.send(10)
        storage.before = StorageUnavailable("away")
        with pytest.raises(StorageUnavailable):
            await bill.send(60)
        storage.before = None
        await cluster.advance(12)
        assert await bill.entries() == ["sent", "reminded: due"]


async def test_a_reminder_of_a_turn_in_doubt_comes_if_it_was_stored() -> None:
    async with a_bill() as (cluster, bill, storage):
        storage.lost = 1_000
        with pytest.raises(WriteOutcomeUnknown):
            await bill.send(10)
        storage.lost = 0
        await cluster.advance(12)
        assert await bill.entries() == ["sent", "reminded: due"]


async def test_a_job_of_another_grain_is_scheduled_with_the_turn_and_once_for_a_key() -> None:
    async with a_bill() as (cluster, bill, storage):
        other = cluster.get_grain(Bill, "b")
        with idempotency_key("k"):
            with pytest.raises(ValueError, match="not handed over"):
                await bill.hand_over("b", fails=True)
            first = await bill.hand_over("b")
            assert await bill.hand_over("b") == first
        assert [(len(each.writes), len(each.received), len(each.reminders)) for each in storage.sets] == [(1, 1, 1)]
        await cluster.advance(10)
        assert (await bill.entries(), await other.entries()) == (["handed over"], ["taken over"])


async def test_a_reminder_in_another_storage_than_the_states_is_refused_by_name() -> None:
    class Far(Grain, name="far"):
        def __init__(self, log: Annotated[PersistentState[list[str]], Stored(provider="orders")]) -> None:
            self.log = log

        @transactional
        async def remind(self) -> None:
            await self.reminders.set("due", 10)

        async def on_reminder(self, tick: Tick) -> None: ...

    async with TestCluster([Far], silos=1, storages={"orders": MemoryStorage()}) as cluster:
        with pytest.raises(StorageError, match=r"'log' \(storage 'orders'\), the reminder 'due'"):
            await cluster.get_grain(Far, "a").remind()
