"""Exercise 5, two services: one calls the other, and the machine of the other one fails in the middle.

A chain of calls is as strong as its weakest part. Here the first service learns at once, by the class of the error,
whether its call may have been executed; and the second one is back on another silo without a change in the first.
"""

from __future__ import annotations

import asyncio

from grange import CallOutcomeUnknown, Grain
from grange.silo import Silo
from grange.testing import TestCluster


class Stock(Grain):
    """The second service."""

    async def reserve(self, count: int) -> str:
        """Reserve; it takes a second."""
        await asyncio.sleep(1)
        return f"{count} of {self.key}"


class Orders(Grain):
    """The first service: it needs the second one, and decides what its failure means."""

    async def order(self, item: str) -> str:
        """Order one item."""
        try:
            return f"ordered {await self.get_grain(Stock, item).reserve(1)}"
        except CallOutcomeUnknown as error:
            return f"not known whether it is reserved: {type(error).__name__}"


async def main() -> None:
    """Three silos. That of the stock is killed while an order waits for it."""
    async with TestCluster(grains=[Orders, Stock], silos=3) as cluster:
        now = asyncio.get_running_loop().time
        orders = cluster.get_grain(Orders, "ann")
        print(await orders.order("pears"))
        home = cluster.where(orders)
        homes = {item: await silo_of(cluster, item) for item in ("pears", "plums", "figs", "dates")}
        item, victim = next((item, silo) for item, silo in homes.items() if silo is not home)
        order = asyncio.create_task(orders.order(item))
        await cluster.advance(0.5)
        killed = now()
        await cluster.kill(victim)
        print(f"{await order}, {now() - killed:.1f} s after the crash")
        print(f"{await orders.order(item)}, {now() - killed:.0f} s after the crash")


async def silo_of(cluster: TestCluster, item: str) -> Silo:
    """The silo of this part of the stock, once it is active."""
    stock = cluster.get_grain(Stock, item)
    await stock.reserve(0)
    silo = cluster.where(stock)
    assert silo is not None
    return silo


if __name__ == "__main__":
    asyncio.run(main())
