"""A silo refuses to start with a state that could not be kept: the error names the class, the state and the remedy."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Optional, TypeVar

import msgspec
import pytest
import svcs

from grange import ConfigurationError, Grain, PersistentState, Stored, idempotent, transactional
from grange.storage.memory import MemoryStorage
from grange.testing import TestCluster
from tests.cluster.plain_storage import PlainStorage


async def refused(grain: type[Grain[Any]], match: str, **options: Any) -> None:
    with pytest.raises(ConfigurationError, match=match):
        async with TestCluster([grain], silos=1, **options):
            raise AssertionError("it must not start")


async def accepted(grain: type[Grain[Any]], **options: Any) -> None:
    async with TestCluster([grain], silos=1, **options):
        pass


async def test_two_states_under_one_name_are_refused() -> None:
    """Also when the parameter's own name is the other's `Stored` name."""

    class Twice(Grain, name="twice"):
        def __init__(
            self,
            one: Annotated[PersistentState[int], Stored("cart")],
            two: Annotated[PersistentState[int], Stored("cart")],
        ) -> None: ...

    class Mixed(Grain, name="mixed"):
        def __init__(
            self, cart: PersistentState[int], two: Annotated[PersistentState[int], Stored("cart")]
        ) -> None: ...

    await refused(Twice, r"Twice.__init__, state 'two': state 'one' has the same name 'cart' .* Stored\('cart-2'\)")
    await refused(Mixed, r"Mixed.__init__, state 'two': state 'cart' has the same name 'cart'")


async def test_one_name_in_two_stores_is_two_records() -> None:
    """But two names of one store are one store: a silo opens each URL once."""

    class Spread(Grain, name="spread"):
        def __init__(
            self, cart: PersistentState[int], other: Annotated[PersistentState[int], Stored("cart", provider="orders")]
        ) -> None: ...

    await accepted(Spread, storages={"orders": MemoryStorage()})
    store = MemoryStorage()
    await refused(
        Spread, "state 'cart' has the same name 'cart' in the same", storage=store, storages={"orders": store}
    )


async def test_a_derived_class_may_not_add_a_state_under_an_inherited_name() -> None:
    class Base(Grain, name="base"):
        def __init__(self, cart: PersistentState[int]) -> None:
            self.cart = cart

    class Derived(Base, name="derived"):
        def __init__(self, cart: PersistentState[int], more: Annotated[PersistentState[int], Stored("cart")]) -> None:
            super().__init__(cart)
            self.more = more

    await accepted(Base)
    await refused(Derived, "Derived.__init__, state 'more': state 'cart' has the same name")


@pytest.mark.parametrize("name", ["a\0b", "lone\ud800", "x" * 2_600])
async def test_a_state_name_that_no_store_holds_is_refused(name: str) -> None:
    class Named(Grain, name="named"):
        def __init__(self, cart: Annotated[PersistentState[int], Stored(name)]) -> None: ...

    Named.__init__.__annotations__["cart"] = Annotated[PersistentState[int], Stored(name)]
    await refused(Named, "Named.__init__, state 'cart'")


class Pool:
    pass


async def test_a_stored_without_effect_is_refused() -> None:
    class Elsewhere(Grain, name="elsewhere"):
        def __init__(self, pool: Annotated[Pool, Stored("x")]) -> None: ...

    class Elective(Grain, name="elective"):
        def __init__(self, cart: PersistentState[int], pool: Annotated[Pool | None, Stored("x")] = None) -> None: ...

    class Bare(Grain, name="bare"):
        def __init__(self, cart: Annotated[PersistentState[int], Stored]) -> None: ...

    class Doubled(Grain, name="doubled"):
        def __init__(self, cart: Annotated[PersistentState[int], Stored("x"), Stored(provider="y")]) -> None: ...

    services = svcs.Registry()
    services.register_value(Pool, Pool())
    await refused(Elsewhere, r"Elsewhere.__init__: Stored\(...\) has no effect on 'pool'", services=services)
    await refused(Elective, r"Elective.__init__: Stored\(...\) has no effect on 'pool'")
    await refused(Bare, r"Bare.__init__, state 'cart': write Stored\(...\) with the name or the provider")
    await refused(Doubled, r"Doubled.__init__, state 'cart': it has 2 Stored\(...\)")


async def test_a_state_that_is_optional_or_in_a_container_is_refused() -> None:
    """The parameter would keep its default, and nothing would be stored."""

    class Maybe(Grain, name="maybe"):
        def __init__(self, cart: PersistentState[int] | None = None) -> None: ...

    class Marked(Grain, name="marked"):
        def __init__(self, cart: Optional[Annotated[PersistentState[int], Stored("x")]] = None) -> None: ...  # noqa: UP045

    class Many(Grain, name="many"):
        def __init__(self, carts: list[PersistentState[int]]) -> None: ...

    for grain in (Maybe, Marked, Many):
        await refused(grain, rf"{grain.__name__}.__init__, state 'carts?': write PersistentState\[...\] alone")


async def test_a_state_of_a_generic_class_without_its_types_is_refused() -> None:
    class Bare(Grain, name="bare_box"):
        def __init__(self, box: PersistentState[dict[str, Box]]) -> None: ...  # type: ignore[type-arg]

    class Named(Grain, name="named_box"):
        def __init__(self, box: PersistentState[Box[int]]) -> None: ...

    await refused(Bare, "Bare.__init__, state 'box': Box is generic and needs its types")
    await accepted(Named)


T = TypeVar("T")


@dataclass
class Box(Generic[T]):
    content: list[T] = field(default_factory=list)


class Colour(enum.Enum):
    RED = "red"


@dataclass
class NotMeasured:
    celsius: float = math.nan


@dataclass
class Lists:
    names: Sequence[str] = ()


@dataclass
class Positive:
    amount: Annotated[int, msgspec.Meta(gt=0)] = 0


@dataclass
class Keyed:
    flags: dict[str, int] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()
    colour: Colour = Colour.RED
    ratio: float = 0


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        (NotMeasured, "state 'cart': the default .*nan.* cannot be stored"),
        (Lists, r"state 'cart': the default .*cannot be stored.*\.names"),
        (Positive, "state 'cart': the default .* cannot be stored"),
        (tuple[int, int], r"state 'cart': the default \(\) cannot be stored"),
        (Colour, "state 'cart': Colour has no default"),
    ],
)
async def test_a_default_that_cannot_be_stored_is_refused(kind: Any, match: str) -> None:
    """The value before the first write is a value of the type like any other."""

    class Defaulted(Grain, name="defaulted"):
        def __init__(self, cart: PersistentState[Any]) -> None: ...

    Defaulted.__init__.__annotations__["cart"] = PersistentState[kind]
    await refused(Defaulted, f"Defaulted.__init__, {match}")


async def test_usual_defaults_are_accepted() -> None:
    class Usual(Grain, name="usual"):
        def __init__(
            self,
            keyed: PersistentState[Keyed],
            maybe: PersistentState[NotMeasured | None],
            total: PersistentState[int],
            table: PersistentState[dict[str, list[int]]],
        ) -> None: ...

    await accepted(Usual)


async def test_a_transactional_method_without_a_state_is_refused() -> None:
    class Stateless(Grain, name="stateless"):
        @transactional
        async def add(self) -> None: ...

    await refused(Stateless, "add: @transactional has no effect, because Stateless has no state; give it a Persistent")


async def test_a_transactional_method_needs_a_store_with_sets() -> None:
    class Whole(Grain, name="whole"):
        def __init__(self, cart: PersistentState[int]) -> None: ...

        @transactional
        async def add(self) -> None: ...

    await refused(
        Whole, "Whole.add is @transactional, but the storage 'default' of its state 'cart'", storage=PlainStorage()
    )
    await accepted(Whole)


async def test_the_states_of_an_idempotent_method_are_in_one_storage() -> None:
    class Kept(Grain, name="kept"):
        def __init__(
            self, here: PersistentState[int], there: Annotated[PersistentState[int], Stored(provider="orders")]
        ) -> None: ...

        @idempotent(keep=60)
        async def add(self) -> None: ...

    storages = {"orders": MemoryStorage()}
    await refused(Kept, "in several storages: default, orders; keep them in one", storages=storages)


async def test_the_answer_of_an_idempotent_method_must_be_json() -> None:
    class Odd(Grain, name="odd"):
        def __init__(self, cart: PersistentState[int]) -> None: ...

        @idempotent(keep=60)
        async def add(self) -> dict[tuple[int, int], int]:
            return {}

    await refused(Odd, "odd.add, result, which is kept as JSON")
