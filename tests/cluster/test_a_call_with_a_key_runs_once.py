"""`@idempotent`: a call with an idempotency key runs once, and its kept answer answers the repetitions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from grange import (
    Call,
    Grain,
    GrainId,
    InconsistentStateError,
    InvalidCall,
    InvalidResult,
    PersistentState,
    Proceed,
    RemoteError,
    StorageError,
    WriteOutcomeUnknown,
    idempotency_key,
    idempotent,
    one_way,
    request_context,
)
from grange.runtime.activations.phase import Phase
from grange.testing import TestCluster
from tests.cluster.faulty_sets import FaultySets
from tests.cluster.second_activation import plant


@dataclass
class Receipt:
    number: int
    parts: tuple[int, ...] = ()


class Till(Grain):
    def __init__(self, paid: PersistentState[list[int]]) -> None:
        self.paid = paid
        self.runs = 0

    @idempotent(keep=3600)
    async def pay(self, cents: int) -> Receipt:
        self.runs += 1
        self.paid.value.append(cents)
        return Receipt(len(self.paid.value), tuple(self.paid.value))

    @idempotent(keep=3600)
    async def pay_or_fail(self, cents: int) -> int:
        self.paid.value.append(cents)
        if cents < 0:
            raise ValueError("less than nothing")
        return cents

    @idempotent(keep=3600)
    async def count(self) -> int:
        self.runs += 1
        return len(self.paid.value)

    @idempotent(keep=3600)
    async def ratio(self, cents: int) -> float:
        self.paid.value.append(cents)
        return float("nan")

    @idempotent(keep=3600)
    async def long(self, length: int) -> str:
        self.paid.value.append(length)
        return "x" * length

    @idempotent(keep=3600)
    @one_way
    async def pay_later(self, cents: int) -> None:
        self.paid.value.append(cents)

    @idempotent(keep=3600)
    async def pay_through(self, other: Till) -> tuple[int, list[str]]:
        self.paid.value.append(1)
        for _ in range(2):
            await other.pay(1)
        return len(self.paid.value), sorted(request_context)

    async def total(self) -> int:
        return sum(self.paid.value)

    async def times(self) -> int:
        return self.runs

    async def finish(self) -> None:
        self.deactivate_when_idle()


TILL = GrainId("till", "a")
Made = tuple[TestCluster, Till, FaultySets]


@asynccontextmanager
async def a_till(silos: int = 1, **options: Any) -> AsyncIterator[Made]:
    storage = FaultySets()
    async with TestCluster([Till], silos=silos, storage=storage, **options) as cluster:
        yield cluster, cluster.get_grain(Till, "a"), storage


async def test_a_repetition_gets_the_kept_answer() -> None:
    """It has the type of the method's result, and the state is as after one call."""
    async with a_till() as (_, till, storage):
        with idempotency_key("order-1"):
            first = await till.pay(5)
            assert first == Receipt(1, (5,))
            assert await till.pay(5) == first
        with idempotency_key("order-2"):
            assert await till.pay(5) == Receipt(2, (5, 5))
        assert (await till.total(), await till.times()) == (10, 2)
        [write], [kept] = storage.sets[0].writes, storage.sets[0].received
        assert (write.state, kept.id, kept.keep) == ("paid", "pay:order-1", 3600)


async def test_also_after_the_activation_has_ended() -> None:
    async with a_till() as (_, till, _storage):
        with idempotency_key("order-1"):
            first = await till.pay(5)
        await till.finish()
        with idempotency_key("order-1"):
            assert await till.pay(5) == first
        assert (await till.total(), await till.times()) == (5, 0)


async def test_also_after_the_death_of_its_silo() -> None:
    async with a_till(silos=3) as (cluster, till, _storage):
        with idempotency_key("order-1"):
            first = await till.pay(5)
        home = cluster.where(till)
        assert home is not None
        await cluster.kill(home)
        await cluster.advance(15)
        with idempotency_key("order-1"):
            assert await till.pay(5) == first
        assert await till.total() == 5


@pytest.mark.parametrize("applied", [True, False])
async def test_also_after_an_unknown_outcome(applied: bool) -> None:
    """The caller repeats the call until there is an answer: it took effect once."""
    async with a_till() as (cluster, till, storage):
        storage.lost = 1_000 if applied else 0
        storage.before = None if applied else WriteOutcomeUnknown("lost on its way")
        with idempotency_key("order-1"), pytest.raises(WriteOutcomeUnknown):
            await till.pay(5)
        storage.lost, storage.before = 0, None
        await cluster.advance(3)
        with idempotency_key("order-1"):
            assert await till.pay(5) == Receipt(1, (5,))
        assert (await till.total(), await till.times()) == (5, 0 if applied else 1)


async def test_a_repetition_waits_for_the_call_that_runs() -> None:
    async with a_till() as (cluster, till, storage):
        storage.gate = asyncio.Event()

        async def pay() -> Receipt:
            with idempotency_key("order-1"):
                return await till.pay(5)

        both = asyncio.gather(pay(), pay())
        await cluster.advance(0.5)
        storage.gate.set()
        assert await both == [Receipt(1, (5,)), Receipt(1, (5,))]
        assert await till.times() == 1


async def test_of_two_activations_one_stores_the_call() -> None:
    """A second activation, past the directory, runs the call at the same time: its set is refused."""
    async with a_till(silos=2) as (cluster, till, storage):
        assert await till.total() == 0  # it has no record, so there is nothing to claim
        stays, home = cluster.activation(till), cluster.where(till)
        assert stays is not None
        other = next(silo for silo in cluster.silos if silo is not home)
        planted = plant(other, stays.grain_id)
        while planted.phase is Phase.ACTIVATING:
            await cluster.advance(0.001)
        storage.gate = asyncio.Event()

        async def count(near: Till) -> int:
            with idempotency_key("order-1"):
                return await near.count()

        assert home is not None
        calls = [asyncio.create_task(count(silo.get_grain(Till, "a"))) for silo in (home, other)]
        await cluster.advance(0.5)
        storage.gate.set()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert sorted(type(each).__name__ for each in outcomes) == ["InconsistentStateError", "int"]
        assert isinstance(next(each for each in outcomes if each != 0), InconsistentStateError)
        with idempotency_key("order-1"):
            assert await till.count() == 0


async def test_a_failed_call_keeps_nothing() -> None:
    async with a_till() as (_, till, _storage):
        with idempotency_key("order-1"):
            with pytest.raises(ValueError, match="less than nothing"):
                await till.pay_or_fail(-1)
            assert await till.pay_or_fail(2) == 2
        assert await till.total() == 2


async def test_a_call_that_changes_nothing_is_kept_too() -> None:
    async with a_till() as (_, till, storage):
        with idempotency_key("order-1"):
            assert await till.count() == 0
        await till.pay(5)
        with idempotency_key("order-1"):
            assert await till.count() == 0
        assert [len(each.writes) for each in storage.sets] == [0, 1]


async def test_without_a_key_nothing_is_kept_and_nothing_is_looked_up() -> None:
    async with a_till() as (_, till, storage):
        assert await till.pay(5) == Receipt(1, (5,))
        assert await till.pay(5) == Receipt(2, (5, 5))
        assert (storage.looks, [each.received for each in storage.sets]) == ([], [(), ()])


async def test_an_answer_is_kept_for_its_time() -> None:
    async with TestCluster([Till], silos=1) as cluster:
        till = cluster.get_grain(Till, "a")
        for seconds, number in ((0, 1), (3590, 1), (20, 2)):
            await cluster.advance(seconds)
            with idempotency_key("order-1"):
                assert (await till.pay(5)).number == number


async def test_a_key_belongs_to_a_method_of_a_grain() -> None:
    async with a_till() as (cluster, till, _storage):
        with idempotency_key("order-1"):
            assert (await till.pay(5)).number == 1
            assert await till.count() == 1
            assert (await cluster.get_grain(Till, "b").pay(7)).number == 1


async def test_a_key_does_not_travel_on() -> None:
    """The grain's own calls have none, so both take effect; nor does its context show one."""
    async with a_till() as (cluster, till, _storage):
        other = cluster.get_grain(Till, "b")
        with idempotency_key("order-1"):
            for _ in range(2):
                assert await till.pay_through(other) == (1, [])
        assert await other.total() == 2


async def test_a_key_for_a_method_that_is_not_idempotent_is_refused() -> None:
    async with a_till() as (_, till, _storage):
        with idempotency_key("order-1"), pytest.raises(InvalidCall, match="total is not @idempotent"):
            await till.total()
        assert await till.total() == 0


@pytest.mark.parametrize(
    ("key", "error"), [("", ValueError), ("x" * 201, ValueError), ("a\0b", ValueError), (7, TypeError)]
)
def test_a_key_is_a_short_text(key: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="idempotency key"), idempotency_key(key):
        pass


async def test_an_answer_that_cannot_be_kept_is_refused_and_nothing_is_stored() -> None:
    """NaN is no JSON. The call without a key has no such limit."""
    async with a_till() as (_, till, storage):
        with idempotency_key("order-1"), pytest.raises((InvalidResult, RemoteError), match="cannot be sent"):
            await till.ratio(5)
        assert (await till.total(), storage.sets) == (0, [])
        assert await till.ratio(5) != 0


async def test_an_answer_over_the_limit_of_the_store_is_refused_and_nothing_is_stored() -> None:
    async with a_till() as (_, till, storage):
        storage._options = type(storage._options)(payload_limit=1000)
        with idempotency_key("order-1"), pytest.raises(StorageError, match="the limit is 1,000"):
            await till.long(2000)
        assert await till.total() == 0
        with idempotency_key("order-1"):
            assert len(await till.long(500)) == 500


async def test_a_one_way_call_runs_once_too() -> None:
    async with a_till() as (cluster, till, _storage):
        with idempotency_key("order-1"):
            await till.pay_later(5)
            await till.pay_later(5)
        await cluster.advance(0.1)
        assert await till.total() == 5


async def test_filters_run_for_repetitions_too() -> None:
    """So a caller that may not call the method does not get the answer of one who may."""
    seen: list[str] = []

    async def check(call: Call, proceed: Proceed) -> Any:
        seen.append(call.method)
        if request_context.get("user") != "ann" and call.method == "pay":
            raise PermissionError("not allowed")
        return await proceed()

    async with a_till(incoming_filters=[check]) as (_, till, _storage):
        request_context["user"] = "ann"
        with idempotency_key("order-1"):
            first = await till.pay(5)
            assert await till.pay(5) == first
            request_context["user"] = "bob"
            with pytest.raises(PermissionError):
                await till.pay(5)
        assert seen == ["pay"] * 3


async def test_figures_count_repetitions_and_roll_backs() -> None:
    async with a_till() as (cluster, till, _storage):
        with idempotency_key("order-1"):
            for _ in range(3):
                await till.pay(5)
            with pytest.raises(ValueError, match="less"):
                await till.pay_or_fail(-1)
        [hosted] = cluster.silos[0].catalog.hosted.values()
        figures = {plan.name: plan.figures.snapshot() for plan in hosted.plans.values()}
        assert (figures["pay"].replayed, figures["pay"].rolled_back) == (2, 0)
        assert (figures["pay_or_fail"].replayed, figures["pay_or_fail"].rolled_back) == (0, 1)
