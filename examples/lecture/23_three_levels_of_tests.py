"""Exercise 23, tests on three levels: the class alone, with a service that is faked, and in a cluster whose silo dies.

Each function is a test that pytest runs as it is; this program runs all three.
"""

from __future__ import annotations

import asyncio

import svcs

from grange import Grain, PersistentState
from grange.testing import TestCluster


class Mailer:
    """A service: the real one would send mails. This one keeps them, for a look at them."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def send(self, text: str) -> None:
        """Send a mail."""
        self.texts.append(text)


class Invoice(Grain):
    """The grain under test: it gets its state and its service by its constructor."""

    def __init__(self, cents: PersistentState[dict[str, int]], mailer: Mailer) -> None:
        self.cents = cents
        self.mailer = mailer

    async def pay(self, cents: int) -> int:
        """Pay a part; returns what is paid in all."""
        paid = self.cents.value["paid"] = self.cents.value.get("paid", 0) + cents
        await self.cents.write()
        await self.mailer.send(f"{cents} paid")
        return paid


def services(mailer: Mailer) -> svcs.Registry:
    """What the silo injects, by type: in a test, the fake."""
    registry = svcs.Registry()
    registry.register_value(Mailer, mailer)
    return registry


async def test_the_class_alone() -> None:
    """A grain is a plain class: no silo, no network, no store."""
    assert await Invoice(PersistentState.detached({"paid": 100}), Mailer()).pay(50) == 150


async def test_with_a_fake_service() -> None:
    """One silo, and what the service was asked to do."""
    mailer = Mailer()
    async with TestCluster(grains=[Invoice], silos=1, services=services(mailer)) as cluster:
        await cluster.get_grain(Invoice, "one").pay(50)
    assert mailer.texts == ["50 paid"]


async def test_in_a_cluster_whose_silo_dies() -> None:
    """Two silos on a memory network, in virtual time: what is stored is there on the other one."""
    async with TestCluster(grains=[Invoice], silos=2, services=services(Mailer())) as cluster:
        invoice = cluster.get_grain(Invoice, "one")
        await invoice.pay(50)
        await cluster.kill(cluster.where(invoice) or cluster.silos[0])
        assert await invoice.pay(25) == 75


async def main() -> None:
    """Run the three levels."""
    for test in (test_the_class_alone, test_with_a_fake_service, test_in_a_cluster_whose_silo_dies):
        await test()
        print(f"{test.__name__}: passed")


if __name__ == "__main__":
    asyncio.run(main())
