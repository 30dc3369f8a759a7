"""Silos that host different grain classes: calls go only to silos that host the class, as silos come and go."""

from __future__ import annotations

import pytest

from grange import Grain, GrainInterface, NoSuchGrain
from grange.testing import TestCluster


class PriceApi(GrainInterface, name="price_api"):
    async def price(self) -> int: ...


class Cart(Grain, name="cart"):
    async def where(self) -> str:
        return str(self._grange.deps.address)  # type: ignore[attr-defined]

    async def ask_price(self) -> int:
        return await self.get_grain(Price, "p").price()


class Price(Grain, PriceApi, name="price"):
    async def price(self) -> int:
        return 7

    async def where(self) -> str:
        return str(self._grange.deps.address)  # type: ignore[attr-defined]


class Roaming(Grain, name="roaming", placement="random"):
    async def where(self) -> str:
        return str(self._grange.deps.address)  # type: ignore[attr-defined]


class Worker(Grain, name="worker", stateless_workers=2):
    async def where(self) -> str:
        return str(self._grange.deps.address)  # type: ignore[attr-defined]


async def test_calls_go_only_to_silos_that_host_the_class() -> None:
    """VER-05: from a client and from each silo, for every placement."""
    async with TestCluster([Cart], silos=2) as cluster:
        others = {str((await cluster.add_silo(grains=[Price, Roaming, Worker])).address) for _ in range(2)}
        carts = {str(silo.address) for silo in cluster.silos} - others
        for number in range(20):
            key = f"k{number}"
            for door in (cluster, *cluster.silos):
                assert await door.get_grain(Cart, key).where() in carts
                for kind in (Price, Roaming, Worker):
                    assert await door.get_grain(kind, key).where() in others  # type: ignore[attr-defined]
        assert await cluster.get_grain(Cart, "a").ask_price() == 7


async def test_a_class_that_appears_is_callable_without_a_new_client() -> None:
    """VER-05: a class, and an interface that nothing implemented, become callable when a silo brings them."""
    async with TestCluster([Cart], silos=2) as cluster:
        with pytest.raises(NoSuchGrain, match="no active silo hosts grain type 'price'; hosted types are cart"):
            await cluster.get_grain(Price, "p").price()
        with pytest.raises(NoSuchGrain, match="no implementation of the interface 'price_api'"):
            cluster.get_grain(PriceApi, "p")
        await cluster.add_silo(grains=[Price])
        assert await cluster.get_grain(Price, "p").price() == 7
        assert await cluster.get_grain(PriceApi, "p").price() == 7
        assert await cluster.get_grain(Cart, "a").ask_price() == 7


async def test_a_client_looks_again_for_an_interface_that_it_does_not_know() -> None:
    """VER-05: a client that is told nothing reads the cluster's map again, because a class was missing in it."""
    async with TestCluster([Cart], silos=2) as cluster:
        await cluster._start_silo({}, {"grains": [Price]})  # without waiting until the client has seen it
        for silo in cluster.silos:
            await silo.wait_for({each.address for each in cluster.silos})
        with pytest.raises(NoSuchGrain):
            cluster.get_grain(PriceApi, "p")
        await cluster.advance(1)
        assert await cluster.get_grain(PriceApi, "p").price() == 7


async def test_a_class_that_leaves_fails_by_name_until_it_returns() -> None:
    """VER-05: without a silo of the class its calls fail, certainly not executed; with a new one they go on."""
    async with TestCluster([Cart], silos=1) as cluster:
        host = await cluster.add_silo(grains=[Price])
        price = cluster.get_grain(PriceApi, "p")
        assert await price.price() == 7
        await cluster.stop(host)
        for door in (cluster, *cluster.silos):
            with pytest.raises(NoSuchGrain, match="no active silo hosts grain type 'price'"):
                await door.get_grain(Price, "p").price()
        with pytest.raises(NoSuchGrain):
            await price.price()
        await cluster.add_silo(grains=[Price, Roaming])
        assert await price.price() == 7
        assert await cluster.silos[0].get_grain(Price, "p").price() == 7


async def test_the_grains_of_a_host_that_dies_go_to_another_host_of_their_class() -> None:
    """VER-05: never to a silo without the class, although the ring of silos has it."""
    async with TestCluster([Cart], silos=2) as cluster:
        first, second = [await cluster.add_silo(grains=[Price]) for _ in range(2)]
        assert {await cluster.get_grain(Price, f"k{n}").where() for n in range(40)} == {
            str(first.address),
            str(second.address),
        }
        await cluster.kill(first)
        await cluster.advance(15)
        assert {await cluster.get_grain(Price, f"k{n}").where() for n in range(40)} == {str(second.address)}
