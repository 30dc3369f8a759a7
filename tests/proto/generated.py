"""Generated types with values of them, for property tests of everything that carries values: calls and stores.

`typed_values()` draws a type annotation and a strategy of values that fit it. `misfits()` also draws values of another
type. `same` compares strictly: by type, sign of zero, NaN, time zone and order of mappings.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import math
import types
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, TypedDict
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pydantic
from hypothesis import strategies as st


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(enum.StrEnum):
    YES = "yes"
    NO = "1"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Animal:
    name: str = ""


@dataclasses.dataclass
class Dog(Animal):
    tricks: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Frozen:
    at: float
    since: dt.datetime | None = None


@dataclasses.dataclass
class Rounded:
    """A class whose construction changes values."""

    cents: float = 0.0
    seen: int = dataclasses.field(default=0, init=False)

    def __post_init__(self) -> None:
        self.cents = round(self.cents, 2)


@dataclasses.dataclass(eq=False)
class Tree:
    value: int | float
    children: list[Tree] = dataclasses.field(default_factory=list)


class Renamed(msgspec.Struct, rename="camel", omit_defaults=True):
    first_name: str = "x"
    last_seen: dt.datetime | None = None
    ratio: float = 0.0


class Cat(msgspec.Struct, tag=True):
    lives: int


class Fish(msgspec.Struct, tag=True, frozen=True):
    depth: float


class Row(msgspec.Struct, array_like=True):
    number: int
    when: dt.datetime


@dataclasses.dataclass
class Sealed:
    at: dt.datetime
    data: bytes


@attrs.define
class Person:
    name: str
    born: dt.date
    _secret: int = 0


class Partial(TypedDict, total=False):
    street: str
    number: int


class Pair(NamedTuple):
    left: int
    right: str = "r"


class Model(pydantic.BaseModel):
    user_name: str = pydantic.Field(default="", alias="userName")
    token: pydantic.SecretStr = pydantic.SecretStr("")
    when: dt.datetime | None = None
    amounts: dict[str, decimal.Decimal] = {}
    data: bytes = b""


ZONES = [ZoneInfo("America/New_York"), ZoneInfo("Europe/Berlin"), ZoneInfo("Australia/Lord_Howe"), ZoneInfo("UTC")]
OFFSETS = [dt.UTC, *(dt.timezone(dt.timedelta(seconds=s)) for s in (7200, -16200, 86340, -1, 3723))]

INTEGERS = st.integers(-(2**63), 2**64 - 1)
FLOATS = st.floats() | st.sampled_from([-0.0, 1e16, 2.0**53, 5e-324, 1.7976931348623157e308])
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["1", "nan", "null", "2024-07-01T22:00:00-04:00[America/New_York]", "2024-07-01T22:00:00Z", "a\\b[c=d]"]
)
DATETIMES = st.builds(
    lambda when, fold, zone: when.replace(fold=fold, tzinfo=zone),
    st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2100, 1, 1))
    | st.sampled_from([dt.datetime(2024, 11, 3, 1, 30), dt.datetime(2024, 3, 10, 2, 30), dt.datetime(2024, 7, 1)]),
    st.integers(0, 1),
    st.sampled_from([None, *OFFSETS, *ZONES]),
)
TIMES = st.builds(lambda at, zone: at.replace(tzinfo=zone), st.times(), st.sampled_from([None, *OFFSETS, *ZONES]))
DECIMALS = st.decimals() | st.sampled_from([decimal.Decimal(text) for text in ("sNaN", "-NaN12", "-0E+5", "1.000")])

Typed = tuple[Any, st.SearchStrategy[Any]]
"""A type annotation and a strategy of values that fit it."""

KEYS: list[Typed] = [
    (str, TEXTS),
    (int, INTEGERS),
    (float, st.floats(allow_nan=False)),
    (uuid.UUID, st.uuids()),
    (dt.date, st.dates()),
    (dt.datetime, DATETIMES),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (Word, st.sampled_from(Word)),
    (str | int, TEXTS | INTEGERS | st.sampled_from(["1", 1])),
    (Literal["a", "b"], st.sampled_from(["a", "b"])),
    (bytes, st.binary(max_size=5)),
    (dt.timedelta, st.timedeltas()),
    (Any, st.sampled_from(["a", "1", 1, 2.5, b"x", True])),
]
"""Types of keys of mappings that every encoding can write for at least some values."""

LEAVES: list[Typed] = [
    *KEYS,
    (None, st.none()),
    (bool, st.booleans()),
    (float, FLOATS),
    (int | float, INTEGERS | FLOATS),
    (float | None, FLOATS | st.none()),
    (bytearray, st.binary(max_size=5).map(bytearray)),
    (dt.time, TIMES),
    (decimal.Decimal, DECIMALS),
    (Rights, st.integers(0, 3).map(Rights)),
    (Annotated[int, msgspec.Meta(gt=0)], st.integers(-1, 5)),
    (Annotated[str, msgspec.Meta(max_length=3)], st.text("ab", max_size=5)),
    (Literal[1, "a", None], st.sampled_from([1, "a", None])),
    (Animal, st.builds(Animal, TEXTS) | st.builds(Dog, TEXTS, st.just(["sit"]))),
    (Frozen, st.builds(Frozen, FLOATS, DATETIMES | st.none())),
    (Rounded, st.builds(Rounded, st.floats(-1e6, 1e6))),
    (Tree, st.builds(lambda a, b: Tree(a, [Tree(b)]), INTEGERS | FLOATS, INTEGERS | FLOATS)),
    (Renamed, st.builds(Renamed, TEXTS, DATETIMES | st.none(), FLOATS)),
    (Cat | Fish, st.builds(Cat, INTEGERS) | st.builds(Fish, FLOATS)),
    (Row, st.builds(Row, INTEGERS, DATETIMES)),
    (Sealed, st.builds(Sealed, DATETIMES, st.binary(max_size=9))),
    (Person, st.builds(Person, TEXTS, st.dates(), st.integers(0, 9))),
    (Partial, st.fixed_dictionaries({}, optional={"street": TEXTS, "number": INTEGERS, "unknown": st.just(1)})),
    (Pair, st.builds(Pair, INTEGERS, TEXTS)),
    (
        Model,
        st.builds(
            lambda name, token, when, amounts, data: Model.model_validate(
                {"userName": name, "token": token, "when": when, "amounts": amounts, "data": data}
            ),
            TEXTS,
            TEXTS,
            st.none() | DATETIMES,
            st.dictionaries(TEXTS, st.decimals(allow_nan=False, allow_infinity=False), max_size=2),
            st.binary(max_size=4),
        ),
    ),
    (
        Any,
        st.recursive(
            st.none() | st.booleans() | INTEGERS | FLOATS | TEXTS | DATETIMES | st.binary(max_size=3),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(TEXTS | st.integers(), inner, max_size=3)
                | st.tuples(inner)
            ),
            max_leaves=6,
        ),
    ),
]


def _alias(origin: type, *args: Any) -> Any:
    return types.GenericAlias(origin, args)


def _composites(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    keyed = st.sampled_from(KEYS)
    return st.one_of(
        inner.map(lambda typed: (_alias(list, typed[0]), st.lists(typed[1], max_size=3))),
        inner.map(lambda typed: (_alias(tuple, typed[0], ...), st.lists(typed[1], max_size=3).map(tuple))),
        st.tuples(inner, inner).map(
            lambda both: (_alias(tuple, both[0][0], both[1][0]), st.tuples(both[0][1], both[1][1]))
        ),
        keyed.map(lambda typed: (_alias(set, typed[0]), st.sets(typed[1], max_size=3))),
        keyed.map(lambda typed: (_alias(frozenset, typed[0]), st.frozensets(typed[1], max_size=3))),
        st.tuples(keyed, inner).map(
            lambda both: (_alias(dict, both[0][0], both[1][0]), st.dictionaries(both[0][1], both[1][1], max_size=3))
        ),
        st.tuples(st.sampled_from(_MAKERS), inner, inner).map(lambda drawn: _class_of(*drawn)),
        inner.filter(lambda typed: typed[0] is not None and typed[0] is not Any).map(
            lambda typed: (typed[0] | None, typed[1] | st.none())
        ),
    )


def _dataclass(first: Any, second: Any) -> type[Any]:
    return dataclasses.make_dataclass("MadeDataclass", [("first", first), ("second", second)])


def _frozen(first: Any, second: Any) -> type[Any]:
    return dataclasses.make_dataclass("MadeFrozen", [("first", first), ("second", second)], frozen=True, slots=True)


def _struct(first: Any, second: Any) -> type[Any]:
    return msgspec.defstruct("MadeStruct", [("first", first), ("second", second)], rename="pascal")


def _attrs(first: Any, second: Any) -> type[Any]:
    kinds = {"first": first, "second": second}
    fields = {name: attrs.field(type=type(None) if kind is None else kind) for name, kind in kinds.items()}
    return attrs.make_class("MadeAttrs", fields)


_MAKERS: list[Callable[[Any, Any], type[Any]]] = [_dataclass, _frozen, _struct, _attrs]


def _class_of(maker: Callable[[Any, Any], type[Any]], first: Typed, second: Typed) -> Typed:
    made = maker(first[0], second[0])
    return made, st.builds(made, first[1], second[1])


def typed_values() -> st.SearchStrategy[Typed]:
    """Strategies of a type annotation with a strategy of its values; draw from the second part for values."""
    return st.recursive(st.sampled_from(LEAVES), _composites, max_leaves=4)


@st.composite
def fits(draw: st.DrawFn) -> tuple[Any, Any]:
    """A type annotation and a value that fits it, as a type checker judges."""
    kind, values = draw(typed_values())
    return kind, draw(values)


@st.composite
def misfits(draw: st.DrawFn) -> tuple[Any, Any]:
    """A type annotation and a value of some other type, which now and then fits as well."""
    kind, _ = draw(typed_values())
    return kind, draw(draw(typed_values())[1])


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal in all that a program can observe, apart from identity."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return _bits(left) == _bits(right)
    if isinstance(left, dt.datetime | dt.time):
        return _same_moment(left, right)
    if isinstance(left, decimal.Decimal):
        return str(left) == str(right)
    if isinstance(left, dict):
        return len(left) == len(right) and all(
            same(a, b) and same(left[a], right[b]) for a, b in zip(left, right, strict=True)
        )
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, set | frozenset):
        return len(left) == len(right) and all(any(same(a, b) for b in right) for a in left)
    fields = _fields(left)
    if fields is not None:
        return all(same(getattr(left, name, None), getattr(right, name, None)) for name in fields)
    return bool(left == right)


def _bits(value: float) -> object:
    """Distinguishes the zeros; all NaNs are one."""
    return "nan" if math.isnan(value) else (value, math.copysign(1, value))


def _same_moment(left: Any, right: Any) -> bool:
    zones = [getattr(value.tzinfo, "key", None) for value in (left, right)]
    plain = [value.replace(tzinfo=None) for value in (left, right)]
    offsets = [value.utcoffset() for value in (left, right)]
    return plain[0] == plain[1] and left.fold == right.fold and offsets[0] == offsets[1] and zones[0] == zones[1]


def _fields(value: Any) -> list[str] | None:
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    if isinstance(value, msgspec.Struct):
        return list(value.__struct_fields__)
    if attrs.has(type(value)):
        return [field.name for field in attrs.fields(type(value))]
    if isinstance(value, pydantic.BaseModel):
        return [*type(value).model_fields, "__pydantic_extra__", "__pydantic_private__"]
    return None
