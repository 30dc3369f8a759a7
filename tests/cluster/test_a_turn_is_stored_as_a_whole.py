"""`@transactional`: what a method changes in the states of its grain is stored in one set, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest

from grange import (
    Call,
    CallCancelled,
    Grain,
    GrainId,
    InconsistentStateError,
    PersistentState,
    Proceed,
    RemoteError,
    StorageError,
    StorageUnavailable,
    Stored,
    WriteOutcomeUnknown,
    allow_reentrancy,
    cancellable,
    one_way,
    transactional,
)
from grange.storage.memory import MemoryStorage
from grange.testing import TestCluster
from tests.cluster.faulty_sets import FaultySets


@dataclass
class Stock:
    items: dict[str, int] = field(default_factory=dict)


class Shop(Grain):
    """Two states: what is on the shelves, and what was sold."""

    def __init__(self, stock: PersistentState[Stock], sold: PersistentState[list[str]]) -> None:
        self.stock = stock
        self.sold = sold
        self.gate = asyncio.Event()
        self.runs = asyncio.Event()

    @transactional
    async def deliver(self, sku: str, number: int) -> int:
        self.stock.value.items[sku] = self.stock.value.items.get(sku, 0) + number
        return self.stock.value.items[sku]

    @transactional
    async def sell(self, sku: str) -> int:
        left = self.stock.value.items[sku] = self.stock.value.items.get(sku, 0) - 1
        self.sold.value.append(sku)
        if left < 0:
            raise ValueError(f"no {sku} left")
        return left

    @transactional
    async def look(self) -> tuple[int, int]:
        return sum(self.stock.value.items.values()), len(self.sold.value)

    @transactional
    async def replace(self) -> None:
        self.stock.value = Stock({"pear": 1})

    @transactional
    async def operate(self, verb: str) -> None:
        self.sold.value.append("x")
        await getattr(self.sold, verb)()

    @transactional
    async def put(self, value: float) -> None:
        self.sold.value.append("x")
        self.stock.value.items["x"] = value  # type: ignore[assignment]

    @transactional
    @cancellable
    async def sell_slowly(self, sku: str) -> int:
        self.stock.value.items[sku] -= 1
        self.sold.value.append(sku)
        self.runs.set()
        await self.gate.wait()
        return self.stock.value.items[sku]

    @transactional
    @one_way
    async def note(self, sku: str) -> None:
        self.sold.value.append(sku)

    async def state(self) -> tuple[dict[str, int], list[str]]:
        return self.stock.value.items, self.sold.value

    async def change_without_a_write(self) -> None:
        self.sold.value.append("unsaved")

    async def where(self) -> str:
        return self.activation_id


SHOP = GrainId("shop", "a")
Made = tuple[TestCluster, Shop, FaultySets]


@asynccontextmanager
async def a_shop(apples: int = 3, **options: Any) -> AsyncIterator[Made]:
    storage = FaultySets()
    async with TestCluster([Shop], silos=1, storage=storage, **options) as cluster:
        shop = cluster.get_grain(Shop, "a")
        if apples:
            await shop.deliver("apple", apples)
        yield cluster, shop, storage


async def test_all_changed_states_are_stored_in_one_set() -> None:
    async with a_shop() as (_, shop, storage):
        assert await shop.sell("apple") == 2
        [write, other] = storage.sets[-1].writes
        assert {write.state, other.state} == {"stock", "sold"}
        assert await storage.stored(SHOP, "stock") == '{"items":{"apple":2}}'
        assert await storage.stored(SHOP, "sold") == '["apple"]'


async def test_a_state_that_did_not_change_is_checked_and_not_written() -> None:
    async with a_shop() as (_, shop, storage):
        await shop.sell("apple")
        await shop.deliver("pear", 1)
        assert [write.state for write in storage.sets[-1].writes] == ["stock"]
        assert [check.state for check in storage.sets[-1].checks] == ["sold"]


async def test_a_change_of_what_was_only_read_refuses_the_set() -> None:
    """Another writer changed `sold`, so what the turn decided by it must not be stored."""
    async with a_shop() as (_, shop, storage):
        storage.seed(SHOP, "sold", b'["stolen"]')
        with pytest.raises(InconsistentStateError):
            await shop.deliver("pear", 1)
        assert await storage.stored(SHOP, "stock") == '{"items":{"apple":3}}'
        assert (await shop.state())[1] == ["stolen"]  # the activation ended, and the next one has loaded it


async def test_a_method_that_raises_changes_nothing() -> None:
    async with a_shop(apples=0) as (_, shop, storage):
        with pytest.raises(ValueError, match="no apple left"):
            await shop.sell("apple")
        assert await shop.state() == ({}, [])
        assert storage.sets == []


async def test_a_value_that_was_replaced_is_stored_or_rolled_back() -> None:
    async with a_shop() as (_, shop, storage):
        storage.before = StorageUnavailable("away")
        with pytest.raises(StorageUnavailable):
            await shop.replace()
        assert (await shop.state())[0] == {"apple": 3}
        storage.before = None
        await shop.replace()
        assert (await shop.state())[0] == {"pear": 1}


async def test_a_turn_that_changes_nothing_writes_nothing() -> None:
    async with a_shop() as (_, shop, storage):
        count = len(storage.sets)
        assert await shop.look() == (3, 0)
        assert len(storage.sets) == count


async def test_changes_from_before_the_turn_stay_in_memory() -> None:
    """The turn rolls back to the value that it found, which an earlier method changed without a write."""
    async with a_shop(apples=1) as (_, shop, storage):
        await shop.change_without_a_write()
        await shop.sell("apple")
        with pytest.raises(ValueError, match="no apple left"):
            await shop.sell("apple")
        assert (await shop.state())[1] == ["unsaved", "apple"]
        assert await storage.stored(SHOP, "sold") == '["unsaved","apple"]'


@pytest.mark.parametrize("verb", ["write", "clear", "read"])
async def test_operations_of_single_states_are_refused_with_a_hint(verb: str) -> None:
    async with a_shop() as (_, shop, _storage):
        with pytest.raises(RuntimeError, match=rf"{verb}\(\)"):
            await shop.operate(verb)
        assert (await shop.state())[1] == []


async def test_a_value_that_cannot_be_stored_is_refused_and_rolled_back() -> None:
    async with a_shop() as (_, shop, storage):
        where, count = await shop.where(), len(storage.sets)
        with pytest.raises(StorageError, match="stock"):
            await shop.put(float("nan"))
        assert await shop.state() == ({"apple": 3}, [])
        assert (await shop.where(), len(storage.sets)) == (where, count)


async def test_when_the_store_is_away_the_turn_is_rolled_back_and_the_activation_stays() -> None:
    async with a_shop() as (_, shop, storage):
        where = await shop.where()
        storage.before = StorageUnavailable("away")
        with pytest.raises(StorageUnavailable):
            await shop.sell("apple")
        storage.before = None
        assert await shop.state() == ({"apple": 3}, [])
        assert await shop.sell("apple") == 2
        assert await shop.where() == where


@pytest.mark.parametrize("applied", [True, False])
async def test_an_unknown_outcome_is_told_and_ends_the_activation(applied: bool) -> None:
    async with a_shop() as (cluster, shop, storage):
        where = await shop.where()
        if applied:
            storage.lost = 1_000
        else:
            storage.before = WriteOutcomeUnknown("lost on its way")
        with pytest.raises(WriteOutcomeUnknown):
            await shop.sell("apple")
        storage.lost, storage.before = 0, None
        await cluster.advance(3)
        assert await shop.where() != where
        assert await shop.state() == (({"apple": 2}, ["apple"]) if applied else ({"apple": 3}, []))


async def test_a_lost_answer_is_resolved_by_repetition() -> None:
    async with a_shop() as (_, shop, storage):
        where, storage.lost = await shop.where(), 2
        assert await shop.sell("apple") == 2
        assert await storage.stored(SHOP, "sold") == '["apple"]'
        assert await shop.where() == where


async def test_a_filter_cannot_hide_that_nothing_is_certain() -> None:
    async def hide(call: Call, proceed: Proceed) -> Any:
        try:
            return await proceed()
        except StorageError:
            return 0

    async with a_shop(incoming_filters=[hide]) as (cluster, shop, storage):
        storage.lost = 1_000
        with pytest.raises(StorageError):
            await shop.sell("apple")
        storage.lost = 0
        await cluster.advance(3)
        assert await shop.state() == ({"apple": 2}, ["apple"])


async def test_no_other_turn_runs_beside_it() -> None:
    """Neither while the method runs, nor while its changes are on their way to the store."""
    async with a_shop() as (cluster, shop, storage):
        storage.gate = asyncio.Event()
        selling = asyncio.create_task(shop.sell("apple"))
        await storage.waits.wait()
        reading = asyncio.create_task(shop.state())
        await cluster.advance(0.5)
        assert not reading.done()
        storage.gate.set()
        assert await selling == 2
        assert await reading == ({"apple": 2}, ["apple"])


async def test_a_cancelled_method_is_rolled_back() -> None:
    async with a_shop() as (cluster, shop, _storage):
        selling = asyncio.create_task(shop.sell_slowly("apple"))
        await cluster.advance(0.1)
        selling.cancel()
        with pytest.raises((asyncio.CancelledError, CallCancelled)):
            await selling
        await cluster.advance(0.1)
        assert await shop.state() == ({"apple": 3}, [])


async def test_a_turn_cancelled_at_its_commit_ends_the_activation() -> None:
    """Its set may be stored after all: what memory held must not be seen by a later turn."""
    async with a_shop() as (cluster, shop, storage):
        where, activation = await shop.where(), cluster.activation(shop)
        assert activation is not None
        storage.gate = asyncio.Event()
        selling = asyncio.create_task(shop.sell_slowly("apple"))
        await cluster.advance(0.1)
        activation.grain.gate.set()
        await storage.waits.wait()
        selling.cancel()
        with pytest.raises((asyncio.CancelledError, CallCancelled)):
            await selling
        await cluster.advance(0.1)
        storage.gate.set()
        storage.gate = None
        await cluster.advance(1)
        assert await shop.where() != where
        assert await shop.state() == ({"apple": 2}, ["apple"])


async def test_a_one_way_method_is_stored_too() -> None:
    async with a_shop() as (cluster, shop, storage):
        await shop.note("pear")
        await cluster.advance(0.1)
        assert await storage.stored(SHOP, "sold") == '["pear"]'


async def test_a_write_of_an_earlier_turn_is_waited_for() -> None:
    """A task that an earlier turn left behind still writes a state: the turn begins after it."""

    class Late(Grain):
        def __init__(self, log: PersistentState[list[int]]) -> None:
            self.log = log

        async def leave_a_write(self) -> None:
            self.log.value.append(1)
            self.task = asyncio.create_task(self.log.write())

        @transactional
        async def add(self) -> list[int]:
            self.log.value.append(2)
            return self.log.value

    storage = FaultySets()
    async with TestCluster([Late], silos=1, storage=storage) as cluster:
        late = cluster.get_grain(Late, "a")
        storage.gate = asyncio.Event()
        await late.leave_a_write()
        adding = asyncio.create_task(late.add())
        await cluster.advance(0.1)
        storage.gate.set()
        assert await adding == [1, 2]
        assert await storage.stored(GrainId("late", "a"), "log") == "[1,2]"


class Split(Grain):
    """Its states lie in two storages."""

    def __init__(
        self,
        here: PersistentState[list[int]],
        there: Annotated[PersistentState[list[int]], Stored(provider="orders")],
    ) -> None:
        self.here = here
        self.there = there

    @transactional
    async def add(self, here: bool, there: bool) -> None:
        if here:
            self.here.value.append(1)
        if there:
            self.there.value.append(1)

    async def state(self) -> tuple[list[int], list[int]]:
        return self.here.value, self.there.value


async def test_states_in_two_storages_are_refused_by_name() -> None:
    storages = {"orders": MemoryStorage()}
    async with TestCluster([Split], silos=1, storages=storages) as cluster:
        split = cluster.get_grain(Split, "a")
        await split.add(here=True, there=False)
        await split.add(here=False, there=True)
        with pytest.raises(StorageError, match=r"'here' \(storage 'default'\), 'there' \(storage 'orders'\)"):
            await split.add(here=True, there=True)
        assert await split.state() == ([1], [1])


class Outer(Grain):
    """Calls out, and is called back."""

    def __init__(self, log: PersistentState[list[str]]) -> None:
        self.log = log

    @transactional
    async def call_out(self) -> None:
        self.log.value.append("out")
        await self.get_grain(Inner, "b").call_back(self.reference)

    @transactional
    async def allow(self) -> None:
        with allow_reentrancy():
            await self.get_grain(Inner, "b").call_back(self.reference)

    async def call_out_and_allow(self) -> None:
        with allow_reentrancy():
            await self.get_grain(Inner, "b").call_back_whole(self.reference)

    async def seen(self) -> list[str]:
        return self.log.value

    @transactional
    async def add(self) -> None:
        self.log.value.append("added")


class Inner(Grain):
    async def call_back(self, outer: Outer) -> list[str]:
        return await outer.seen()

    async def call_back_whole(self, outer: Outer) -> None:
        await outer.add()


async def test_a_call_that_comes_back_into_it_is_a_deadlock() -> None:
    """It would see changes that may be rolled back."""
    async with TestCluster([Outer, Inner], silos=1) as cluster:
        outer = cluster.get_grain(Outer, "a")
        with pytest.raises(RemoteError, match="DeadlockError"):
            await outer.call_out()
        assert await outer.seen() == []


async def test_allow_reentrancy_is_refused_in_it() -> None:
    async with TestCluster([Outer, Inner], silos=1) as cluster:
        with pytest.raises(RuntimeError, match="no effect in a @transactional method"):
            await cluster.get_grain(Outer, "a").allow()


async def test_a_transactional_method_does_not_run_beside_a_turn_that_lets_its_chain_back_in() -> None:
    """That turn is suspended amid its own changes, which the set would contain in part."""
    async with TestCluster([Outer, Inner], silos=1) as cluster:
        outer = cluster.get_grain(Outer, "a")
        with pytest.raises(RemoteError, match="DeadlockError"):
            await outer.call_out_and_allow()
        await outer.add()
        assert await outer.seen() == ["added"]
