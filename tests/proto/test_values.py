"""Values by their annotated types: which are sent, which are refused, and that no bytes do harm."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import gc
import struct
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, TypedDict
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange import ConfigurationError, Grain, GrainId, GrainInterface
from grange.grains.ref import GrainFactory, ReferenceExtension
from grange.proto.message import Encoding
from grange.proto.pydantic_models import PydanticModels
from grange.proto.values import ValueCodec


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


@dataclass
class Line:
    sku: str
    quantity: int = 1


@dataclass
class Order:
    lines: list[Line]
    note: str | None = None
    parent: Order | None = None


class Point(msgspec.Struct, frozen=True):
    x: float
    y: float


class Circle(msgspec.Struct, tag=True):
    radius: float


class Square(msgspec.Struct, tag=True):
    side: float


@attrs.define
class Person:
    name: str
    born: dt.date


class Address(TypedDict, total=False):
    street: str
    number: int


class Pair(NamedTuple):
    left: int
    right: str = "r"


class Address2(pydantic.BaseModel):
    city: str


class Customer(pydantic.BaseModel):
    name: str
    age: int = 0
    address: Address2 | None = None
    since: dt.datetime | None = None


class CartApi(GrainInterface, name="cart_api"):
    async def count(self) -> int: ...


class Cart(Grain, CartApi):
    async def count(self) -> int:
        return 0


async def _no_call(*_: object) -> None:
    raise AssertionError("nothing is called here")


def make_codec() -> tuple[ValueCodec, GrainFactory]:
    references = ReferenceExtension()
    factory = GrainFactory(_no_call, lambda _: pytest.fail("not looked up"))  # type: ignore[arg-type]
    references.bind(factory)
    return ValueCodec([references]), factory


CODEC, FACTORY = make_codec()


def raw(value: Any, encoding: Encoding = Encoding.MSGPACK) -> bytes:
    """The bytes of a value, without the checks of its type."""
    return CODEC.write(value, encoding, None)


BOTH = pytest.mark.parametrize("encoding", list(Encoding))
UTC = dt.UTC

SAMPLES: list[tuple[Any, Any]] = [
    (None, None),
    (bool, True),
    (int, -(2**63)),
    (int, 2**64 - 1),
    (float, 1.5),
    (str, "naïve \0 ☃"),
    (bytes, b"\x00\xff"),
    (bytearray, bytearray(b"ab")),
    (list[int], [1, 2]),
    (tuple[int, str], (1, "a")),
    (tuple[int, ...], (1, 2, 3)),
    (set[str], {"a"}),
    (frozenset[int], frozenset({1, 2})),
    (dict[str, list[int]], {"a": [1]}),
    (dict[int, str], {1: "a"}),
    (dict[UUID, int], {UUID(int=1): 1}),
    (Any, {"a": [1, None, "x"]}),
    (int | str | None, "x"),
    (Literal["a", "b"], "b"),
    (Colour, Colour.RED),
    (Level, Level.LOW),
    (dt.datetime, dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)),
    (dt.datetime, dt.datetime(2026, 1, 2, 3, 4, 5)),
    (dt.date, dt.date(2026, 1, 2)),
    (dt.time, dt.time(3, 4, 5)),
    (dt.timedelta, dt.timedelta(days=-1, microseconds=1)),
    (UUID, UUID(int=7)),
    (decimal.Decimal, decimal.Decimal("1.2300000000000000000001")),
    (Order, Order([Line("a", 2)], "hi", Order([]))),
    (Point, Point(1.0, 2.0)),
    (Circle | Square, Square(2.0)),
    (list[Circle | Square], [Circle(1.0), Square(2.0)]),
    (Person, Person("ann", dt.date(2000, 1, 1))),
    (Address, {"street": "x"}),
    (Pair, Pair(1)),
    (Customer, Customer(name="ann", address=Address2(city="Bern"), since=dt.datetime(2026, 1, 1, tzinfo=UTC))),
    (list[Customer | None], [None, Customer(name="bob")]),
    (Annotated[int, msgspec.Meta(gt=0)], 1),
    (Cart, FACTORY.get_grain(Cart, "ann/bob")),
    (dict[str, list[Cart]], {"a": [FACTORY.get_grain(Cart, "ann")]}),
]


@BOTH
@pytest.mark.parametrize(("kind", "value"), SAMPLES, ids=lambda sample: repr(sample)[:40])
def test_every_supported_type_is_read_back(kind: Any, value: Any, encoding: Encoding) -> None:
    CODEC.check(kind, "here")
    codec = CODEC.of(kind, encoding)
    decoded = codec.decode(codec.encode(value))
    assert decoded == value
    assert type(decoded) is type(value)


@pytest.mark.parametrize(("kind", "value"), SAMPLES, ids=lambda sample: repr(sample)[:40])
def test_a_copy_shares_nothing_that_can_change(kind: Any, value: Any) -> None:
    copied = CODEC.of(kind).decode(CODEC.of(kind).encode(value))
    assert copied == value
    if isinstance(value, list | dict | set | bytearray | Order | Person | Customer):
        assert copied is not value


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)


@given(PLAIN, st.sampled_from(Encoding))
def test_plain_values_are_read_back(value: Any, encoding: Encoding) -> None:
    assert CODEC.of(Any, encoding).decode(raw(value, encoding)) == value


@BOTH
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (int, "1"),
        (str, 1),
        (list[int], [1, "2"]),
        (Literal["a"], "b"),
        (Colour, "blue"),
        (Order, {"lines": [{"sku": 1}]}),
        (Circle | Square, {"type": "Triangle"}),
        (Pair, ["x"]),
        (Customer, {"name": "ann", "age": "old"}),
        (Customer, 7),
        (Annotated[int, msgspec.Meta(gt=0)], 0),
        (Cart, 7),
        (Cart, "no-slash"),
        (Cart, "/key"),
        (Cart, "cart/"),
        (Cart, None),
        (UUID, "no"),
        (dt.datetime, "yesterday"),
    ],
)
def test_what_does_not_fit_is_a_value_error(kind: Any, value: Any, encoding: Encoding) -> None:
    with pytest.raises(ValueError, match=r".+"):
        CODEC.of(kind, encoding).decode(raw(value, encoding))


class Strange:
    def __repr__(self) -> str:
        return "S" * 1000


@dataclass
class HoldsStrange:
    inner: list[Strange]


@pytest.mark.parametrize(
    "kind",
    [
        Strange,
        list[Strange],
        dict[str, Strange],
        Strange | None,
        HoldsStrange,
        tuple[int, HoldsStrange],
        Callable,
        range,
        object,
    ],
)
def test_types_that_cannot_be_sent_are_refused_with_place_and_type(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"cart\.add, argument 'x'") as caught:
        CODEC.check(kind, "cart.add, argument 'x'")
    assert any(name in str(caught.value) for name in ("Strange", "Callable", "range", "object"))


def test_ambiguous_unions_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="result"):
        CODEC.check(Line | Order, "cart.add, result")


@BOTH
def test_a_value_that_cannot_be_sent_is_named_and_cut(encoding: Encoding) -> None:
    with pytest.raises(ValueError, match="type Strange cannot be sent") as caught:
        raw([Strange()], encoding)
    assert len(str(caught.value)) < 200


@BOTH
def test_a_grain_itself_cannot_be_sent(encoding: Encoding) -> None:
    with pytest.raises(ValueError, match=r"pass self\.reference instead of Cart"):
        raw(Cart(), encoding)


def test_a_reference_arrives_as_what_the_annotation_says() -> None:
    """Sent as the class, received as the interface: it has the same id, and calls through the receiver's factory."""
    sent = raw(FACTORY.get_grain(Cart, "ann"))
    received: Any = CODEC.of(CartApi).decode(sent)
    assert received.id == GrainId("cart", "ann")
    assert isinstance(received, CartApi)


def test_references_are_not_decoded_before_a_factory_is_bound() -> None:
    codec = ValueCodec([ReferenceExtension()])
    with pytest.raises(ValueError, match="not a reference"):
        codec.of(Cart).decode(msgspec.msgpack.encode("cart/ann"))


# --- bytes from strangers ------------------------------------------------------------------------------------------

KINDS: list[Any] = [int, str, list[int], dict[str, Any], Any, Order, Circle | Square, Person, Address, Pair, Customer]
KINDS += [Cart, tuple[int, Order], dt.datetime, decimal.Decimal, set[str], Colour, Point]


@given(st.binary(max_size=300), st.sampled_from(KINDS), st.sampled_from(Encoding))
def test_no_bytes_break_a_decoder(data: bytes, kind: Any, encoding: Encoding) -> None:
    """Any bytes give a value or a ValueError."""
    try:
        CODEC.of(kind, encoding).decode(data)
    except ValueError:
        return


@given(st.sampled_from(SAMPLES), st.data(), st.sampled_from(Encoding))
def test_no_damage_on_the_way_breaks_a_decoder(
    sample: tuple[Any, Any], data: st.DataObject, encoding: Encoding
) -> None:
    """Valid bytes with a few changed ones reach deeper code than noise does."""
    kind, value = sample
    damaged = bytearray(raw(value, encoding))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        CODEC.of(kind, encoding).decode(bytes(damaged))
    except ValueError:
        return


@pytest.mark.parametrize(
    "header", [b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9"], ids=["array", "map", "bytes", "text", "extension"]
)
@pytest.mark.parametrize("kind", [Any, list[int], dict[str, int], tuple[int, ...], set[int], bytes, str, Order])
def test_a_declared_length_allocates_nothing(header: bytes, kind: Any) -> None:
    """Five bytes that declare four billion items are refused before anything is allocated for them."""
    decode = CODEC.of(kind).decode
    gc.collect()
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r".+"):
            decode(header + struct.pack(">I", 2**32 - 1) + b"\x01" * 10)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("depth", [100_000, 1_000_000])
@pytest.mark.parametrize("kind", [Any, Order])
def test_deep_nesting_is_bad_data(depth: int, kind: Any) -> None:
    """It does not crash the interpreter and raises no internal error."""
    nested = {
        Encoding.MSGPACK: b"\x91" * depth + b"\x01"
        if kind is Any
        else b"\x82\xa5lines\x90\xa6parent" * depth + b"\xc0",
        Encoding.JSON: b"[" * depth + b"]" * depth if kind is Any else b'{"lines":[],"parent":' * depth + b"null",
    }
    for encoding, data in nested.items():
        with pytest.raises(ValueError, match=r".+"):
            CODEC.of(kind, encoding).decode(data)


@BOTH
def test_values_nested_too_deeply_or_in_themselves_are_refused(encoding: Encoding) -> None:
    endless: list[Any] = []
    endless.append(endless)
    deep: list[Any] = []
    for _ in range(200_000):
        deep = [deep]
    for value in (endless, deep):
        with pytest.raises(ValueError, match="nested too deeply, or contains itself"):
            raw(value, encoding)


# --- what needs no copy --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FrozenDataclass:
    x: int


@dataclass(frozen=True)
class FrozenDataclassOfList:
    xs: list[int]


class FrozenChain(msgspec.Struct, frozen=True):
    inner: FrozenDataclass
    next: FrozenChain | None = None


class Mutable(msgspec.Struct):
    x: int


class FrozenOfList(msgspec.Struct, frozen=True):
    xs: list[int]


@pytest.mark.parametrize(
    ("kind", "classes"),
    [
        (int, {int}),
        (str, {str}),
        (None, {type(None)}),
        (dt.datetime, {dt.datetime}),
        (int | None, {int, type(None)}),
        (str | int, {str, int}),
        (Literal["a", 1], {str, int}),
        (Colour, {Colour}),
        (Point, set()),
        (Annotated[int, "a word"], {int}),
        (list[int], set()),
        (dict[str, int], set()),
        (tuple[int, ...], set()),
        (Any, set()),
        (Mutable, set()),
        (FrozenOfList, set()),
        (Line, set()),
        (FrozenDataclass, set()),
        (FrozenChain, set()),
        (FrozenDataclassOfList, set()),
        (Customer, set()),
        (int | list[int], {int}),
    ],
)
def test_only_what_cannot_change_is_shared(kind: Any, classes: set[type]) -> None:
    assert set(CODEC.shared(kind, 1024)) == classes


class Bits(enum.IntFlag):
    """A flag keeps unknown bits, of any number."""

    ONE = 1


def test_what_may_be_long_is_looked_at_and_flags_are_not_shared() -> None:
    assert CODEC.shared(Bits, 1024) == {}
    for kind, short, long in ((bytes, b"1234", b"12345"), (str, "1234", "12345")):
        look = CODEC.shared(kind, 4)[kind]
        assert look is not None
        assert look(short)
        assert not look(long)


def test_references_are_shared_by_their_exact_class() -> None:
    assert set(CODEC.shared(Cart, 9)) == {type(FACTORY.get_grain(Cart, "a"))}
    assert set(CODEC.shared(Cart, 9)) != set(CODEC.shared(CartApi, 9))


def test_an_extension_ignores_values_of_other_types() -> None:
    assert PydanticModels().encode(object(), Encoding.JSON) is NotImplemented
    assert ReferenceExtension().encode(object(), Encoding.JSON) is NotImplemented


@dataclass
class Defaults:
    items: dict[str, int] = field(default_factory=dict)


def test_a_field_that_a_newer_sender_added_is_ignored_and_one_it_left_out_is_filled() -> None:
    """Rolling upgrades: silos of two releases share a cluster."""
    assert CODEC.of(Defaults).decode(raw({"items": {"a": 1}, "new": 2})) == Defaults({"a": 1})
    assert CODEC.of(Defaults).decode(raw({})) == Defaults()


@BOTH
def test_references_are_keys_beside_moments_in_zones(encoding: Encoding) -> None:
    kind: Any = dict[Cart, dt.datetime]
    value = {FACTORY.get_grain(Cart, "ann"): dt.datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))}
    decoded = CODEC.of(kind, encoding).decode(CODEC.of(kind, encoding).encode(value))
    assert decoded == value
    assert isinstance(next(iter(decoded)), Cart)


@dataclass
class Sealed:
    at: dt.datetime
    data: bytes
    more: bytearray = field(default_factory=bytearray)
    by_digest: dict[bytes, tuple[bytes, dt.time]] = field(default_factory=dict)
    note: str = ""


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("zone", [ZoneInfo("America/New_York"), None])
def test_bytes_arrive_beside_moments_in_zones(encoding: Encoding, zone: ZoneInfo | None) -> None:
    """Also beside a text that only looks like such a moment."""
    value = Sealed(
        dt.datetime(2024, 7, 1, 22, tzinfo=zone), b"\xff", bytearray(b"\0"), {b"k": (b"v", dt.time(1))}, "10:30:00[x"
    )
    typed = ValueCodec().of(list[Sealed | None], encoding)
    assert typed.decode(typed.encode([value, None])) == [value, None]


@dataclass
class Base:
    first: int = 5


@dataclass(frozen=True)
class Derived:
    name: str
    number: int = 1


@dataclass
class DerivedBase(Base):
    second: int = 6


@pytest.mark.parametrize("encoding", Encoding)
def test_defaults_that_were_not_sent_are_written_again(encoding: Encoding) -> None:
    """A field that was added to a class is stored with the next write: a later change of the default loses nothing."""
    codec = ValueCodec()
    encode = msgspec.json.encode if encoding is Encoding.JSON else msgspec.msgpack.encode
    decode = msgspec.json.decode if encoding is Encoding.JSON else msgspec.msgpack.decode
    for kind, stored, whole in (
        (Derived, {"name": "x"}, {"name": "x", "number": 1}),
        (DerivedBase, {}, {"first": 5, "second": 6}),
        (list[Derived], [{"name": "x"}], [{"name": "x", "number": 1}]),
    ):
        typed = codec.of(kind, encoding)
        assert decode(typed.encode(typed.decode(encode(stored)))) == whole
