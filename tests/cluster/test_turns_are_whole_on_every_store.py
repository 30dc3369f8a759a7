"""Units of work, kept answers and claims on each store of grange, on real servers."""

from __future__ import annotations

import asyncio

import pytest

from grange import Grain, InconsistentStateError, PersistentState, idempotency_key, idempotent, transactional
from grange.grains.deactivation import DeactivationCode, DeactivationReason
from grange.runtime.activations.phase import Phase
from grange.testing import TestCluster
from grange.testing.contracts.set_samples import OpenFull
from tests.cluster.second_activation import plant
from tests.contracts.stores import OnMemory, OnPostgres, OnRedis, OnSqlite

AGAIN = DeactivationReason(DeactivationCode.OPERATOR, "a test")


class Bank(Grain):
    def __init__(self, accounts: PersistentState[dict[str, int]], log: PersistentState[list[str]]) -> None:
        self.accounts = accounts
        self.log = log

    @idempotent(keep=3600)
    async def pay(self, to: str, cents: int) -> int:
        self.accounts.value[to] = self.accounts.value.get(to, 0) + cents
        self.log.value.append(f"{to}: {cents}")
        if cents < 0:
            raise ValueError("less than nothing")
        return self.accounts.value[to]

    @transactional
    async def forget(self) -> None:
        self.log.value = []

    async def read(self) -> tuple[dict[str, int], list[str]]:
        return self.accounts.value, self.log.value


async def ended(cluster: TestCluster, bank: Bank) -> None:
    """End the activation, so that the next call loads what is stored."""
    activation = cluster.activation(bank)
    assert activation is not None
    activation.deactivate(AGAIN)
    while activation.phase is not Phase.GONE:
        await asyncio.sleep(0.01)


class Turns:
    """The suite, for one store."""

    async def test_a_turn_is_stored_whole_or_dropped(self, open_storage: OpenFull) -> None:
        async with open_storage("svc") as storage, TestCluster([Bank], storage=storage, virtual_time=False) as cluster:
            bank = cluster.get_grain(Bank, "a")
            assert await bank.pay("ann", 5) == 5
            with pytest.raises(ValueError, match="less than nothing"):
                await bank.pay("ann", -5)
            await bank.forget()
            assert await bank.pay("bob", 7) == 7
            in_memory = await bank.read()
            await ended(cluster, bank)
            assert await bank.read() == in_memory == ({"ann": 5, "bob": 7}, ["bob: 7"])

    async def test_a_repetition_gets_the_kept_answer(self, open_storage: OpenFull) -> None:
        async with open_storage("svc") as storage, TestCluster([Bank], storage=storage, virtual_time=False) as cluster:
            bank = cluster.get_grain(Bank, "a")
            for number in range(3):
                with idempotency_key("order-1"):
                    assert await bank.pay("ann", 5) == 5
                if number:
                    await ended(cluster, bank)
            with idempotency_key("order-2"):
                assert await bank.pay("ann", 5) == 10
            assert (await bank.read())[1] == ["ann: 5", "ann: 5"]

    async def test_only_the_newest_activation_writes(self, open_storage: OpenFull) -> None:
        async with (
            open_storage("svc") as storage,
            TestCluster([Bank], silos=2, storage=storage, virtual_time=False) as cluster,
        ):
            bank = cluster.get_grain(Bank, "a")
            await bank.pay("ann", 5)
            stays, home = cluster.activation(bank), cluster.where(bank)
            assert stays is not None
            assert home is not None
            other = next(silo for silo in cluster.silos if silo is not home)
            planted = plant(other, stays.grain_id)
            while planted.phase is Phase.ACTIVATING:
                await asyncio.sleep(0.01)
            with pytest.raises(InconsistentStateError, match="newer activation"):
                await home.get_grain(Bank, "a").pay("ann", 1)
            assert await other.get_grain(Bank, "a").pay("ann", 2) == 7


class TestOnMemory(OnMemory, Turns):
    pass


class TestOnSqlite(OnSqlite, Turns):
    pass


class TestOnRedis(OnRedis, Turns):
    pass


class TestOnPostgres(OnPostgres, Turns):
    pass
