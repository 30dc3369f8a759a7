"""The types that type checkers must infer. Checked by mypy and pyright (`make check`), never run.

A line that must be an error has an ignore for exactly that error; both checkers report unneeded ignores.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Generic, TypeVar, assert_type
from uuid import UUID

from grange import (
    Grain,
    GrainInterface,
    PersistentState,
    Timer,
    always_interleave,
    cancellable,
    one_way,
    read_only,
    response_timeout,
    with_batch_size,
)
from grange.client import Client
from grange.silo import Silo
from grange.testing.cluster import TestCluster
from tests.typing.cart_contract import CartApi

T = TypeVar("T")
K = TypeVar("K", bound="str | int | UUID | tuple[str | int | UUID, ...]")


@dataclass
class CartState:
    items: dict[str, int] = field(default_factory=dict)


class Cart(Grain, CartApi, name="cart", idle_timeout=600):
    def __init__(self, state: PersistentState[CartState]) -> None:
        self.state = state

    async def add(self, sku: str, quantity: int = 1) -> int:
        assert_type(self.state.value, CartState)
        assert_type(self.key, str)
        _: Cart = self.reference
        assert_type(self.get_grain(Aircraft, "N1"), Aircraft)
        return quantity

    async def items(self) -> AsyncIterator[str]:
        yield ""

    async def prices(self, above: int = 0) -> AsyncGenerator[float, None]:
        yield 1.0

    @read_only
    async def count(self) -> int:
        return 0

    @cancellable
    async def work(self) -> int:
        return 0

    @cancellable(wait=True)
    @response_timeout(5, cancel=True)
    async def insist(self) -> str:
        return ""

    @one_way
    async def note(self, text: str) -> None: ...

    @always_interleave
    async def peek(self) -> list[str]:
        return []

    @response_timeout(5)
    async def slow(self, *, hard: bool = False) -> bytes:
        return b""


class Undone(Cart, idle_timeout=None, mailbox_limit=None, may_interleave=None):
    pass


class Aircraft(Grain):
    async def fly(self) -> None:
        assert_type(self.start_timer(self._tick, 1.0, 2.0), Timer)

        self.start_timer(self._plain, 1.0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    async def _tick(self) -> None: ...
    def _plain(self) -> None: ...


class Repo(Grain[K], Generic[K, T]):
    async def swap(self, value: T) -> tuple[K, T]:
        return self.key, value


class CartRepo(Repo[int, CartState]):
    pass


class Order(Grain[int]):
    async def number(self) -> int:
        assert_type(self.key, int)
        return self.key


class Seat(Grain[tuple[str, int]]):
    async def row(self) -> int:
        assert_type(self.key, tuple[str, int])
        return self.key[1]


class Person(Grain[UUID]):
    async def friends(self) -> list[Person]:
        assert_type(self.key, UUID)
        return [self.reference]


async def through_a_client(client: Client) -> None:
    cart = client.get_grain(Cart, "ann")
    assert_type(cart, Cart)
    assert_type(await cart.add("apple", 2), int)
    assert_type(await cart.count(), int)
    assert_type(await cart.peek(), list[str])
    assert_type(await cart.slow(hard=True), bytes)
    assert_type(await cart.work(), int)
    assert_type(await cart.insist(), str)
    async for item in cart.items():
        assert_type(item, str)
    async for item in client.get_grain(CartApi, "ann").items():
        assert_type(item, str)
    async with aclosing(cart.prices(above=2)) as prices:
        assert_type([price async for price in prices], list[float])
    assert_type(with_batch_size(cart.items(), 5), AsyncIterator[str])
    assert_type(await client.get_grain(CartApi, "ann").add("apple"), int)
    cart.prices("2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(await client.get_grain(Person, UUID(int=1)).friends(), list[Person])
    assert_type(await client.get_grain(CartRepo, 1).swap(CartState()), tuple[int, CartState])
    assert_type(await client.get_grain(Seat, ("a", 1)).row(), int)

    await cart.add(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await cart.add("apple", quantity="2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await cart.add()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await cart.take("apple")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    await cart.slow(True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.get_grain(Cart, 1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.get_grain(CartState, "ann")  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    text: str = await cart.count()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


async def through_a_silo_and_a_cluster() -> None:
    silo = Silo(grains=[Cart, Order])
    assert_type(silo.get_grain(Order, 7), Order)
    Silo(grains=[CartState])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    async with TestCluster(grains=[Cart], silos=2) as cluster:
        assert_type(cluster.get_grain(Cart, "ann"), Cart)
        assert_type(await cluster.get_grain(Cart, "ann").add("apple"), int)


def options_are_checked() -> None:
    class Wrong(Grain, idle_timeout="soon"):  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportGeneralTypeIssues]
        pass

    class OfSilo(GrainInterface, idle_timeout=1):  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue, reportGeneralTypeIssues]
        pass

    class Unknown(Grain, idle=1):  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue, reportGeneralTypeIssues]
        pass


def unit_test() -> None:
    state = PersistentState.detached(CartState())
    assert_type(state, PersistentState[CartState])
    assert_type(Cart(state), Cart)
