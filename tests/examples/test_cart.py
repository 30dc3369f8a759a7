"""The cart example."""

from __future__ import annotations

from examples.cart import Cart, CartState, silo
from grange import PersistentState
from grange.testing import TestCluster


async def test_a_cart_remembers_its_items_when_its_silo_dies() -> None:
    async with TestCluster(grains=[Cart], silos=2) as cluster:
        cart = cluster.get_grain(Cart, "ann")
        assert await cart.add("apple", 2) == 2
        where = cluster.where(cart)
        assert where is not None
        await cluster.kill(where)
        assert await cart.add("apple") == 3
        assert await cart.count() == 3


async def test_a_cart_is_a_plain_class() -> None:
    assert await Cart(PersistentState.detached(CartState({"pear": 1}))).count() == 1


def test_its_silo_is_ready_for_grange_run() -> None:
    assert silo.definition(port=0, gateway_port=0).grains == (Cart,)
