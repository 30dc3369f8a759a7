"""What the class of a grain says holds for its calls: generic types, options of interfaces, classes defined again."""

# No `from __future__ import annotations`: the classes inside tests could not be resolved.

import asyncio
import copy
import dataclasses
from typing import Any, Generic, TypeVar

import attrs
import pytest

from grange import CallTimeout, ConfigurationError, Grain, GrainInterface, PersistentState, read_only, response_timeout
from grange.testing.cluster import TestCluster

T = TypeVar("T")


@dataclasses.dataclass
class User:
    name: str = ""


class Repo(Grain, Generic[T]):
    def __init__(self, state: PersistentState[T]) -> None:
        self.state = state

    async def put(self, value: T, others: dict[str, list[T]]) -> str:
        self.state.value = value
        await self.state.write()
        return f"{type(value).__name__}, {type(others['x'][0]).__name__}"

    async def get(self) -> T:
        await self.state.read()
        return self.state.value


class Users(Repo[User]): ...


async def test_a_type_variable_arrives_as_the_type_that_binds_it() -> None:
    """Near and far, in arguments, results and stored state."""
    async with TestCluster(grains=[Users], silos=2) as cluster:
        for key in range(6):
            users = cluster.get_grain(Users, f"key {key}")
            assert await users.put(User("ann"), {"x": [User("bob")]}) == "User, User"
            assert await users.get() == User("ann")


async def test_a_type_variable_that_nothing_binds_stops_the_start() -> None:
    with pytest.raises(ConfigurationError, match="nothing binds the type variable ~T"):
        async with TestCluster(grains=[Repo]):
            pass


class Looks(GrainInterface):
    @read_only
    @response_timeout(5)
    async def look(self, seconds: float) -> None: ...


class Shop(Grain, Looks):
    async def look(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@pytest.mark.parametrize("by", [Looks, Shop])
async def test_options_of_an_interface_count_for_its_grain(by: Any) -> None:
    """The silo lets read-only calls run beside each other, and callers wait as long as the interface says."""
    async with TestCluster(grains=[Shop], silos=1) as cluster:
        shop, loop = cluster.get_grain(by, "a"), asyncio.get_running_loop()
        began = loop.time()
        await asyncio.gather(*(shop.look(1) for _ in range(5)))
        assert loop.time() - began == pytest.approx(1, abs=0.1)
        with pytest.raises(CallTimeout):
            await shop.look(6)
        assert loop.time() - began == pytest.approx(6, abs=0.1)


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen(Grain, name="frozen", mailbox_limit=3):
    state: PersistentState[int]

    async def read(self) -> tuple[int, str]:
        return self.state.value, self.key


@attrs.define
class Defined(Grain, name="defined_here"):
    state: PersistentState[int]

    async def read(self) -> str:
        return str(self.id)


async def test_classes_made_anew_are_hosted_under_their_names() -> None:
    async with TestCluster(grains=[Frozen, Defined]) as cluster:
        assert await cluster.get_grain(Frozen, "a").read() == (0, "a")
        assert await cluster.get_grain(Defined, "a").read() == "defined_here/a"


class Lender(Grain):
    async def borrow(self) -> str:
        return str(copy.deepcopy([self.reference]))

    async def copied(self) -> None:
        copy.deepcopy(self)


async def test_a_grain_copies_references_and_never_itself() -> None:
    async with TestCluster(grains=[Lender]) as cluster:
        lender = cluster.get_grain(Lender, "a")
        assert await lender.borrow() == "[<reference to Lender 'lender/a'>]"
        with pytest.raises(TypeError, match=r"a grain cannot be copied or pickled; pass self\.reference"):
            await lender.copied()


CELL = """
from grange import Grain
class OutOfStock(Exception): ...
class Shop(Grain, name="cell_shop", errors=[OutOfStock]):
    async def buy(self) -> int:
        raise OutOfStock("none")
    async def pay(self, shop: "Shop") -> str:
        try:
            await shop.buy()
        except OutOfStock:
            return "the silo's own class"
        return "another"
"""


async def test_a_class_that_is_defined_again_replaces_the_old_one_for_clients() -> None:
    """A notebook cell runs again: the client takes the new classes, and the running silo keeps its own."""
    first, second = ({"__name__": "cell"} for _ in range(2))
    names: list[dict[str, Any]] = [first, second]
    for cell in names:
        exec(compile(CELL, "<cell>", "exec"), cell)
    async with TestCluster(grains=[names[0]["Shop"]], silos=1) as cluster:
        for cell in names:
            with pytest.raises(cell["OutOfStock"]):
                await cluster.get_grain(cell["Shop"], "a").buy()
        other = cluster.get_grain(names[1]["Shop"], "b")
        assert await cluster.get_grain(names[1]["Shop"], "a").pay(other) == "the silo's own class"
    both = [cell["Shop"] for cell in names]
    with pytest.raises(ConfigurationError, match="are both named 'cell_shop'"):
        async with TestCluster(grains=both):
            pass


class Sold(Exception): ...


class Seller(Grain, errors=[Sold]):
    async def buy(self) -> None:
        raise Sold


class Buyer(Grain):
    async def buy(self) -> str:
        try:
            await self.get_grain(Seller, "a").buy()
        except Sold:
            return "sold"
        return "bought"

    async def buy_from(self, seller: Seller) -> str:
        try:
            await seller.buy()
        except Sold:
            return "sold"
        return "bought"


@pytest.mark.parametrize("given", [False, True])
async def test_a_silo_knows_the_errors_of_classes_that_only_another_hosts(given: bool) -> None:
    """The grain gets the error as itself, as if both grains were in one silo: by `get_grain` and by an argument."""
    cluster = TestCluster(grains=[Seller], silos=1)
    async with cluster:
        await cluster.add_silo(grains=[Buyer])
        buyer = cluster.get_grain(Buyer, "a")
        assert await (buyer.buy_from(cluster.get_grain(Seller, "a")) if given else buyer.buy()) == "sold"
