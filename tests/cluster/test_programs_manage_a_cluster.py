"""The management of a cluster for programs: what there is, what is done, and the roles."""

from __future__ import annotations

import pytest

from grange import Grain, GrainId, Unauthorized
from grange.client import Client
from grange.proto.acts import Act, Action, Outcome
from grange.proto.journal import After
from grange.testing import TestCluster


class Cart(Grain, name="cart"):
    async def add(self) -> int:
        return 1


class Other(Grain, name="other"):
    async def add(self) -> int:
        return 1


async def test_hosts_and_counts_follow_the_cluster() -> None:
    """HST-05: as many active hosts as silos after a join; the count of a type rises by one for each new grain."""
    async with TestCluster([Cart, Other], silos=2) as cluster:
        admin = cluster.client.management
        await cluster.add_silo()
        assert len(await admin.silos()) == len(cluster.silos) == 3
        for number in range(1, 6):
            await cluster.get_grain(Cart, f"c{number}").add()
            assert (await admin.counts()).by_type.get("cart") == number
        await cluster.get_grain(Other, "o").add()
        counts = await cluster.silos[0].cluster_management.counts()
        assert counts.by_type == {"cart": 5, "other": 1}
        assert counts.missing == {}
        assert set(counts.by_silo) == {"silo-1", "silo-2", "silo-3"}
        await cluster.stop(cluster.silos[0])
        assert len(await admin.silos()) == 2
        assert len(await admin.silos(dead=True)) == 3


async def test_activations_are_listed_by_page() -> None:
    """HST-05: each activation of the type is on exactly one page."""
    async with TestCluster([Cart, Other], silos=2) as cluster:
        for number in range(45):
            await cluster.get_grain(Cart, f"c{number}").add()
        await cluster.get_grain(Other, "o").add()
        pages = [page async for page in cluster.client.management.activations(Cart, page=10)]
        rows = [row.grain_id.key for page in pages for row in page.rows]
        assert sorted(rows) == sorted(f"c{number}" for number in range(45))
        assert all(len(page.rows) <= 10 for page in pages)
        assert len(pages) >= 5


async def test_one_activation_is_found_and_deactivated() -> None:
    """HST-05: detail and deactivation of one grain, wherever it is; by its reference or its id."""
    async with TestCluster([Cart], silos=3) as cluster:
        admin = cluster.client.management
        cart = cluster.get_grain(Cart, "ann")
        assert await admin.activation(cart) is None
        await cart.add()
        found = await admin.activation(GrainId("cart", "ann"))
        where = cluster.where(cart)
        assert found is not None
        assert where is not None
        assert found.address == where.address
        report = await admin.deactivate(cart, reason="a test")
        assert report.complete
        assert report.count == 1
        assert set(report.outcomes) == {where.name}
        await cluster.advance(1)
        assert cluster.count() == 0
        again = await admin.deactivate(cart, reason="a test")
        assert not again.complete
        assert {each.outcome for each in again.outcomes.values()} == {Outcome.REFUSED}


async def test_one_activation_is_moved() -> None:
    """HST-05: to the silo with this address or name, or where its placement chooses; not to the silo where it is."""
    async with TestCluster([Cart], silos=3) as cluster:
        admin = cluster.client.management
        cart = cluster.get_grain(Cart, "ann")
        assert not (await admin.move(cart, reason="a test")).complete, "it is not active"
        await cart.add()
        here = cluster.where(cart)
        assert here is not None
        one, two = (silo for silo in cluster.silos if silo is not here)
        report = await admin.move(cart, one.address, reason="a test")
        assert (report.complete, [*report.outcomes], cluster.where(cart)) == (True, [here.name], one)
        assert (await admin.move(GrainId("cart", "ann"), two.name, reason="a test")).complete
        assert cluster.where(cart) is two
        assert {each.outcome for each in (await admin.move(cart, two.name, reason="a test")).outcomes.values()} == {
            Outcome.REFUSED
        }
        assert (await admin.move(cart, reason="a test")).complete
        assert cluster.where(cart) is not two


async def test_a_type_is_deactivated_and_idle_ones_are_collected() -> None:
    """HST-05: force collection, and the end of all activations of a class."""
    async with TestCluster([Cart, Other], silos=2) as cluster:
        admin = cluster.silos[0].cluster_management
        for number in range(20):
            await cluster.get_grain(Cart, f"c{number}").add()
        await cluster.advance(30)
        await cluster.get_grain(Other, "o").add()
        for wrong in (-1, float("nan"), "20"):
            with pytest.raises(ValueError, match="0 or more"):
                await admin.collect(idle=wrong, reason="a test")  # type: ignore[arg-type]
        assert (await admin.collect(idle=20, reason="a test")).count == 20
        await cluster.advance(1)
        assert (await admin.counts()).by_type == {"other": 1}
        assert (await admin.deactivate(Other, reason="a test")).count == 1
        await cluster.advance(1)
        assert cluster.count() == 0


async def test_the_role_of_the_client_counts() -> None:
    """HST-05: a client without a token may not even count; a viewer counts, and ends nothing."""
    async with TestCluster([Cart], silos=2, viewer_token="a-token-of-a-viewer") as cluster:
        gateways = [silo.gateway for silo in cluster.silos]
        await cluster.get_grain(Cart, "ann").add()
        async with Client(gateways, transport=cluster.new_transport("no role")) as client:
            with pytest.raises(Unauthorized):
                await client.management.counts()
        async with Client(gateways, transport=cluster.new_transport("viewer"), token="a-token-of-a-viewer") as client:
            assert (await client.management.counts()).by_type == {"cart": 1}
            with pytest.raises(Unauthorized):
                await client.management.deactivate(Cart, reason="a test")
        assert cluster.count() == 1


async def test_acts_are_in_the_audit_of_the_silo() -> None:
    """HST-05: with the name of the program and the reason."""
    async with TestCluster([Cart], silos=1) as cluster:
        report = await cluster.client.management.act(Act(Action.DUMP_TASKS, reason="a look"))
        assert report.complete
        rows = cluster.silos[0].control.audit.after(After(0)).rows
        assert [(row.actor, row.reason, row.action) for row in rows][-1] == (
            "client by token:admin",
            "a look",
            "dump tasks",
        )
