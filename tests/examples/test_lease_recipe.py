"""The lease recipe: one holder at a time, waiters in order, and a late write of an old holder is refused."""

from __future__ import annotations

import asyncio
import time

import pytest

from examples.recipes.document import Document, StaleToken
from examples.recipes.lease import SECONDS, Lease, LeaseBusy, LeaseLost
from grange.storage import MemoryStorage
from grange.testing import TestCluster


def cluster_of(storage: MemoryStorage | None = None) -> TestCluster:
    return TestCluster(grains=[Lease, Document], silos=2, storage=storage)


async def test_the_late_write_of_a_paused_holder_is_refused() -> None:
    """Its pause is longer than the lease, as that of a stopped process, so it does not know that the lease ended."""
    async with cluster_of() as cluster:
        lease, document = cluster.get_grain(Lease, "plan"), cluster.get_grain(Document, "plan")
        resumed = asyncio.Event()

        async def paused_holder() -> None:
            token = await lease.acquire("ann")
            text = await document.read(token)
            await resumed.wait()
            await document.write(token, f"{text} by ann")

        ann = asyncio.create_task(paused_holder())
        await cluster.advance(1)
        token = await lease.acquire("bob", patience=25)
        assert await document.read(token) == ""
        resumed.set()  # before bob writes: what he has read is still the truth
        with pytest.raises(StaleToken):
            await ann
        await document.write(token, "by bob")
        assert await document.read(token) == "by bob"


async def test_a_lease_ends_by_itself_and_each_grant_has_a_higher_token() -> None:
    async with cluster_of() as cluster:
        lease, now = cluster.get_grain(Lease, "x"), asyncio.get_running_loop().time
        began = now()
        first = await lease.acquire("ann")
        with pytest.raises(LeaseBusy, match="ann"):
            await lease.acquire("bob")
        with pytest.raises(LeaseBusy):
            await lease.acquire("bob", patience=SECONDS - 1)
        assert now() - began == pytest.approx(SECONDS - 1, abs=0.1)
        second = await lease.acquire("bob", patience=SECONDS)
        assert now() - began == pytest.approx(SECONDS, abs=0.1)
        assert await lease.acquire("bob") > second > first, "a holder may repeat a call that had no answer"


async def test_a_renewed_lease_goes_on_and_a_lost_one_cannot_be_renewed() -> None:
    async with cluster_of() as cluster:
        lease = cluster.get_grain(Lease, "x")
        token = await lease.acquire("ann")
        waiter = asyncio.create_task(lease.acquire("bob", patience=29))
        for _ in range(3):
            await cluster.advance(SECONDS / 2)
            await lease.renew(token)
        assert not waiter.done()
        assert await waiter > token
        with pytest.raises(LeaseLost):
            await lease.renew(token)
        await lease.release(token)
        with pytest.raises(LeaseBusy, match="bob"):
            await lease.acquire("cid")


async def test_waiters_are_served_in_order_as_the_lease_is_released() -> None:
    async with cluster_of() as cluster:
        lease, served = cluster.get_grain(Lease, "x"), list[str]()

        async def work(name: str) -> None:
            token = await lease.acquire(name, patience=25)
            served.append(name)
            await asyncio.sleep(1)
            await lease.release(token)

        began = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for name in "abcde":
                group.create_task(work(name))
                await asyncio.sleep(0.1)
        assert served == list("abcde")
        assert asyncio.get_running_loop().time() - began < SECONDS


async def test_a_waiter_that_gives_up_leaves_the_queue() -> None:
    async with cluster_of() as cluster:
        lease = cluster.get_grain(Lease, "x")
        token = await lease.acquire("ann")
        gone = asyncio.create_task(lease.acquire("bob", patience=25))
        await cluster.advance(1)
        next_one = asyncio.create_task(lease.acquire("cid", patience=20))
        await cluster.advance(1)
        gone.cancel()
        await cluster.advance(1)
        await lease.release(token)
        assert await next_one == token + 1


async def test_a_lease_survives_its_silo_and_no_token_comes_twice() -> None:
    async with cluster_of() as cluster:
        lease = cluster.get_grain(Lease, "x")
        token = await lease.acquire("ann")
        home = cluster.where(lease)
        assert home is not None
        await cluster.kill(home)
        with pytest.raises(LeaseBusy):
            await lease.acquire("bob")
        assert await lease.acquire("bob", patience=SECONDS) == token + 1


async def test_the_clock_of_another_machine_does_not_keep_a_lease_for_ever() -> None:
    """Its writer's clock was an hour ahead: the lease ends after its usual length. Or behind: it has ended."""
    storage = MemoryStorage()
    async with cluster_of(storage) as cluster:
        for key, until in (("ahead", time.time() + 3600), ("behind", time.time() - 3600)):
            payload = b'{"holder": "ann", "token": 7, "until": %f}' % until
            storage.seed(cluster.get_grain(Lease, key).id, "grant", payload)
        assert await cluster.get_grain(Lease, "behind").acquire("bob") == 8
        with pytest.raises(LeaseBusy):
            await cluster.get_grain(Lease, "ahead").acquire("bob", patience=SECONDS - 1)
        assert await cluster.get_grain(Lease, "ahead").acquire("bob", patience=2) == 8
