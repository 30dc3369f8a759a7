"""References: they call, compare, and explain why a name cannot be called."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from typing import Any
from uuid import UUID

import pytest

from grange import ConfigurationError, Grain, GrainId, GrainInterface, NoSuchGrain
from grange.grains.definition import spec_of
from grange.grains.interface import MethodSpec
from grange.grains.ref import GrainFactory, grain_id_of, reference_class


class Cart(Grain):
    """A cart."""

    limit = 3

    async def add(self, sku: str, quantity: int = 1) -> int:
        """Put something in."""
        return quantity

    def total(self) -> int:
        return 0

    async def on_activate(self) -> None: ...


class Seat(Grain[tuple[str, int]]):
    async def row(self) -> int: ...


class Api(GrainInterface, name="api"):
    async def add(self, sku: str) -> int: ...


class Calls:
    """A `grains.ref.CallsGrains` that records the calls."""

    def __init__(self) -> None:
        self.made: list[tuple[GrainId, str, tuple[Any, ...], dict[str, Any]]] = []

    async def __call__(
        self, grain_id: GrainId, method: MethodSpec, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        self.made.append((grain_id, method.name, args, kwargs))
        return "result"


class Found:
    """Implements `grains.ref.Candidates`."""

    def __init__(self, *types: str, default: str | None = None) -> None:
        self.types = types
        self.default = default


def factory(*types: str, default: str | None = None) -> tuple[GrainFactory, Calls]:
    calls = Calls()
    return GrainFactory(calls, lambda _: Found(*types, default=default)), calls


async def test_a_reference_forwards_its_calls() -> None:
    grains, calls = factory()
    cart = grains.get_grain(Cart, "ann")
    assert calls.made == []
    assert await cart.add("apple", quantity=2) == "result"
    assert calls.made == [(GrainId("cart", "ann"), "add", ("apple",), {"quantity": 2})]


def test_references_are_equal_by_identity() -> None:
    grains, _ = factory("cart")
    cart, again, other = (grains.get_grain(Cart, key) for key in ("ann", "ann", "bob"))
    through_interface: object = grains.get_grain(Api, "ann")
    assert cart == again == through_interface
    assert hash(cart) == hash(again)
    assert cart != other
    assert cart != "cart/ann"
    assert {cart: 1}[again] == 1


def test_a_reference_looks_like_its_grain() -> None:
    """Type checkers see the class, so `isinstance` and `__doc__` agree."""
    grains, _ = factory()
    cart: Any = grains.get_grain(Cart, "ann")
    assert isinstance(cart, Cart)
    assert type(cart) is reference_class(spec_of(Cart))
    assert type(cart).__name__ == "CartReference"
    assert type(cart).__doc__ == "A cart."
    assert cart.add.__doc__ == "Put something in."
    assert list(inspect.signature(type(cart).add).parameters) == ["self", "sku", "quantity"]
    assert repr(cart) == "<reference to Cart 'cart/ann'>"
    assert cart.reference is cart
    assert (cart.key, cart.id) == ("ann", GrainId("cart", "ann"))
    assert grain_id_of(cart) == cart.id


def test_a_reference_is_small() -> None:
    cart: Any = factory()[0].get_grain(Cart, "ann")
    with pytest.raises(AttributeError):
        cart.anything = 1


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("_private", "leading underscore"),
        ("on_activate", "only the runtime calls"),
        ("on_call", "only the runtime calls"),
        ("total", "not an async def; make it one"),
        ("limit", "only methods can be called"),
        ("ad", "it has: add"),
        ("start_timer", "not an async def"),
        ("deactivate_when_idle", "not an async def"),
    ],
)
def test_what_cannot_be_called_says_why(name: str, hint: str) -> None:
    cart = factory()[0].get_grain(Cart, "ann")
    with pytest.raises(AttributeError, match=f"a reference to Cart has no '{name}': .*{hint}|{hint}"):
        getattr(cart, name)


@pytest.mark.parametrize(
    ("grain", "key", "error", "says"),
    [
        (Cart, 7, TypeError, "grain 'cart': the key must be str, not int"),
        (Cart, "", ValueError, "grain 'cart': a string key must not be empty"),
        (Cart, "\ud800", ValueError, "grain 'cart': the key is not valid Unicode"),
        (Seat, ("A", "1"), TypeError, r"grain 'seat': the key must be tuple\[str, int\]"),
        (Cart, UUID(int=1), TypeError, "must be str, not uuid.UUID"),
    ],
)
def test_wrong_keys_are_refused_without_a_call(
    grain: type[Grain[Any]], key: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        factory()[0].get_grain(grain, key)


def test_interfaces_are_resolved_by_name() -> None:
    assert factory("one")[0].get_grain(Api, "a").id.type == "one"  # type: ignore[attr-defined]
    assert factory("one", "two", default="two")[0].get_grain(Api, "a").id.type == "two"  # type: ignore[attr-defined]
    grains, _ = factory("cart", "cart_big", "kiosk")
    for wanted, found in (("cart", "cart"), ("cart_", "cart_big"), ("k", "kiosk")):
        assert grains.get_grain(Api, "a", implementation=wanted).id.type == found  # type: ignore[attr-defined]
    with pytest.raises(ConfigurationError, match="implemented by cart, cart_big, kiosk; choose one"):
        grains.get_grain(Api, "a")
    with pytest.raises(ConfigurationError, match="it matches 2"):
        grains.get_grain(Api, "a", implementation="c")
    with pytest.raises(ConfigurationError, match="it matches 0"):
        grains.get_grain(Api, "a", implementation="x")
    with pytest.raises(NoSuchGrain, match="no implementation of the interface 'api'"):
        factory()[0].get_grain(Api, "a")


def test_only_references_have_a_grain_id() -> None:
    with pytest.raises(TypeError, match="expected a reference"):
        grain_id_of("cart/ann")


def test_a_grain_outside_a_silo_says_what_it_lacks() -> None:
    """Unit tests build the class directly; members that need an identity raise an error that explains it."""
    cart = Cart()
    for use in (lambda: cart.key, lambda: cart.id, lambda: cart.reference, cart.deactivate_when_idle):
        with pytest.raises(RuntimeError, match=r"built outside a silo .*TestContext"):
            use()


# --- errors of the classes in use ---


def test_the_errors_of_a_class_are_learned_when_it_is_used() -> None:
    """Once as long as the class stays the same; a class that is defined again counts anew."""

    class Sold(Exception): ...

    first, again = (type("Shop", (Grain,), {}, errors=[Sold]) for _ in range(2))
    learned: list[Any] = []
    grains = GrainFactory(Calls(), lambda _: Found(), learned.append)
    for cls in (first, first, again, first):
        grains.get_grain(cls, "a")
    assert learned == [(Sold,)] * 3
    grains.from_id(Cart, GrainId("cart", "ann"))
    assert learned[3:] == [()]


# --- identity ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Order:
    cart: Cart
    others: list[Cart]


def test_a_copy_of_a_reference_is_the_reference() -> None:
    """References are immutable, so copies of what holds them keep them."""
    grains, _ = factory()
    cart, other = grains.get_grain(Cart, "ann"), grains.get_grain(Cart, "bob")
    order = Order(cart, [other])
    assert copy.copy(cart) is cart
    copied = copy.deepcopy(order)
    assert copied == order
    assert copied.cart is cart
    assert copied.others is not order.others
    assert dataclasses.asdict(order) == {"cart": cart, "others": [other]}
    assert dataclasses.replace(order, others=[]).cart is cart


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_reference_is_not_pickled(protocol: int) -> None:
    cart = factory()[0].get_grain(Cart, "ann")
    for value in (cart, Order(cart, [])):
        with pytest.raises(TypeError, match=r"<reference to Cart 'cart/ann'> cannot be pickled, .* its key .'ann'."):
            pickle.dumps(value, protocol)


def test_references_compare_with_each_other_only() -> None:
    one, same = (factory()[0].get_grain(Cart, "ann") for _ in range(2))
    other = factory()[0].get_grain(Seat, ("ann", 1))
    assert one == same
    assert len({one, same, other}) == 2
    assert one != other
    assert one not in ("ann", "cart/ann", None, 5, one.id, Cart)
    assert {one: 1}[same] == 1


def test_a_reference_prints_what_it_refers_to() -> None:
    """Also by an interface, and without control characters, which a key from elsewhere may contain."""
    grains, _ = factory("cart")
    assert str(grains.get_grain(Api, "ann")) == f"{grains.get_grain(Api, 'ann')!r}" == "<reference to Api 'cart/ann'>"
    assert repr(grains.get_grain(Seat, ("a/b", 1))) == "<reference to Seat 'seat/a\\\\/b/1'>"
    assert repr(grains.get_grain(Cart, "a\x1b[2J\n")) == r"<reference to Cart 'cart/a\x1b[2J\n'>"


def test_a_grain_itself_is_neither_copied_nor_pickled() -> None:
    """A copy would share the activation of the original."""
    for spread in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=r"a grain cannot be copied or pickled; pass self\.reference"):
            spread(Cart())
