"""In a @transactional method, reminders and jobs are stored with the state in one step, or not at all."""

from __future__ import annotations

import pytest

from grange import Grain, Job, PersistentState, StorageError, Tick, transactional
from grange.storage.memory import MemoryStorage
from grange.testing import TestCluster

DONE: list[str] = []


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    """Each test begins so."""
    DONE.clear()


class Order(Grain, name="order"):
    """Changes its state and its reminder together."""

    def __init__(self, total: PersistentState[int]) -> None:
        self.total = total

    @transactional
    async def place(self, amount: int, fails: bool = False) -> None:
        """Set a reminder and a job, and change the state."""
        self.total.value += amount
        await self.reminders.set("pay", 10)
        await self.jobs.schedule(self.reference, 20, name="ship")
        if fails:
            raise ValueError("no such article")

    @transactional
    async def paid(self) -> bool:
        """Cancel the reminder, and change the state."""
        self.total.value = 0
        return await self.reminders.cancel("pay")

    @transactional
    async def change_twice(self) -> None:
        """Set one reminder twice."""
        await self.reminders.set("pay", 10)
        await self.reminders.set("pay", 15)

    async def look(self) -> tuple[int, list[str]]:
        """The state, and the reminders."""
        return self.total.value, [each.name for each in await self.reminders.list()]

    async def on_reminder(self, tick: Tick) -> None:
        """Note it."""
        DONE.append(tick.name)

    async def on_job(self, job: Job) -> None:
        """Note it."""
        DONE.append(job.name)


async def test_a_turn_that_ends_stores_state_reminder_and_job() -> None:
    """And they come in time."""
    async with TestCluster([Order], silos=2) as cluster:
        order = cluster.get_grain(Order, "a")
        await order.place(5)
        assert await order.look() == (5, ["pay"])
        await cluster.advance(11)
        assert DONE == ["pay"]
        await cluster.advance(10)
        assert DONE == ["pay", "ship"]


async def test_a_turn_that_fails_stores_none_of_them() -> None:
    """A reminder that was set before stays."""
    async with TestCluster([Order], silos=2) as cluster:
        order = cluster.get_grain(Order, "a")
        with pytest.raises(ValueError, match="no such article"):
            await order.place(5, fails=True)
        assert await order.look() == (0, [])
        await cluster.advance(30)
        assert DONE == []


async def test_a_cancellation_is_stored_with_the_state() -> None:
    """No tick comes after it."""
    async with TestCluster([Order], silos=2) as cluster:
        order = cluster.get_grain(Order, "a")
        await order.place(5)
        assert await order.paid()
        assert not await order.paid()
        await cluster.advance(15)
        assert (await order.look(), DONE) == ((0, []), [])


async def test_the_last_of_two_changes_counts() -> None:
    """In one turn."""
    async with TestCluster([Order], silos=2) as cluster:
        order = cluster.get_grain(Order, "a")
        await order.change_twice()
        await order.change_twice()
        await cluster.advance(12)
        assert DONE == []
        await cluster.advance(5)
        assert DONE == ["pay"]


async def test_states_and_reminders_in_two_storages_are_refused() -> None:
    """Nothing is stored."""
    async with TestCluster(
        [Order], silos=1, storages={"other": MemoryStorage()}, reminders={"provider": "other"}
    ) as cluster:
        order = cluster.get_grain(Order, "a")
        with pytest.raises(StorageError, match="in several storages"):
            await order.place(5)
        assert await order.look() == (0, [])
