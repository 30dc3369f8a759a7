"""The comparison of a value with what it reads back as: stricter than `==`, and it names the place."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import math
import uuid
from collections import OrderedDict, defaultdict, deque
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pydantic
import pytest

from grange.proto.equality import MAX_DEPTH, Difference, difference, parts_of


class Word(enum.StrEnum):
    YES = "yes"


class Level(enum.IntEnum):
    LOW = 1


class Colour(enum.Enum):
    RED = "red"


class Name(str):
    __slots__ = ()


class Unnamed(dt.tzinfo):
    """A zone that no key gives: it travels as its offset."""

    def utcoffset(self, when: dt.datetime | None) -> dt.timedelta:
        return dt.timedelta(hours=2)

    def dst(self, when: dt.datetime | None) -> dt.timedelta:
        return dt.timedelta()

    def tzname(self, when: dt.datetime | None) -> str:
        return "two"


class Token:
    """A secret of an author, whose `repr` shows it."""

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def get_secret_value(self) -> str:
        return self.secret

    def __repr__(self) -> str:
        return f"Token({self.secret})"


@dataclasses.dataclass(eq=False)
class Node:
    value: Any = None
    next: Any = None


@dataclasses.dataclass
class Ignoring:
    kept: int = 0
    hidden: int = dataclasses.field(default=0, compare=False)


class Base(msgspec.Struct):
    name: str = ""


class Derived(Base):
    more: int = 0


@attrs.define
class Person:
    name: str
    _secret: int = 0


class Pair(NamedTuple):
    left: Any
    right: Any


class Model(pydantic.BaseModel):
    name: str = ""
    _cache: int = pydantic.PrivateAttr(0)


class Plain:
    def __init__(self, value: object) -> None:
        self.value = value


class Faulty:
    def __eq__(self, other: object) -> bool:
        raise ValueError("not comparable")

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        raise ValueError("not printable")


BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = dt.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN)


def cached(value: int) -> Model:
    model = Model(name="a")
    model._cache = value  # pyright: ignore[reportPrivateUsage]
    return model


SAME: list[tuple[Any, Any]] = [
    (None, None),
    (3, 3.0),  # an int where a float is annotated
    (0, 0.0),
    (math.nan, float("nan")),
    (math.inf, math.inf),
    (-0.0, -0.0),
    (Word.YES, "yes"),
    (Level.LOW, 1),
    (Colour.RED, Colour.RED),
    (uuid.UUID(int=1), uuid.UUID(int=1)),
    (decimal.Decimal("sNaN"), decimal.Decimal("sNaN")),
    ("yes", Word.YES),
    (1, Level.LOW),
    (Name("a"), "a"),
    (bytearray(b"a"), b"a"),
    (b"a", memoryview(b"a")),
    (deque([1.0]), deque([1.0])),
    (defaultdict(list, a=[1]), defaultdict(list, a=[1])),
    (pydantic.SecretStr("a"), pydantic.SecretStr("a")),
    ({"a": [1, {"b": (1, 2)}]}, {"a": [1, {"b": (1, 2)}]}),
    ({1, 2, 3}, {3, 2, 1}),
    (frozenset({(1, "a")}), frozenset({(1, "a")})),
    (Node(1, Node(2)), Node(1, Node(2))),
    (Person("a", 1), Person("a", 1)),
    (Pair(1, [2]), Pair(1, [2])),
    (cached(1), cached(1)),
    (Plain([1]), Plain([1])),
    (NIGHT, dt.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN)),
    (NIGHT.replace(tzinfo=Unnamed()), NIGHT.replace(tzinfo=dt.timezone(dt.timedelta(hours=2)))),
]


@pytest.mark.parametrize(("before", "after"), SAME)
def test_what_reads_back_the_same(before: Any, after: Any) -> None:
    assert difference(before, after) is None


OTHERWISE: list[tuple[Any, Any]] = [
    (1, True),
    (True, 1),
    (3.0, 3),
    (0.0, -0.0),
    (0, -0.0),
    (2**60 + 1, float(2**60)),
    (2**64, float(2**64)),  # equal, but it prints and divides as another number
    (math.nan, None),
    ("1", 1),
    (b"a", "YQ=="),
    (defaultdict(list, a=[1]), {"a": [1]}),
    (OrderedDict(a=1, b=2), {"a": 1, "b": 2}),
    (deque([0.0]), deque([-0.0])),
    ("1", Level.LOW),
    (True, Level.LOW),
    ("red", Colour.RED),
    (Colour.RED, "red"),
    (Word.YES, "no"),
    (decimal.Decimal("1.0"), decimal.Decimal("1.00")),
    (decimal.Decimal("1"), 1),
    ((1, 2), [1, 2]),
    ([1, 2], (1, 2)),
    ({1}, frozenset({1})),
    ({1, 2}, {1}),
    ({1}, {1, 2}),
    ({1}, {True}),
    ([1, 2], [1]),
    ([1], [1, 2]),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({1: "a"}, {"1": "a"}),
    ({"a": 1}, {}),
    ({}, {"a": 1}),
    (Base("a"), Derived("a")),
    (Derived("a"), Base("a")),
    (Ignoring(1, 2), Ignoring(1, 0)),
    (Person("a", 1), Person("a", 0)),
    (Node(1), {"value": 1, "next": None}),
    (cached(1), cached(0)),
    (Plain(1), Plain(2)),
    (Faulty(), Faulty()),
    (Faulty(), None),
    (pydantic.SecretStr("a"), pydantic.SecretStr("b")),
    (pydantic.SecretStr("a"), "a"),
    (NIGHT, NIGHT.replace(fold=1)),
    (NIGHT, NIGHT.replace(tzinfo=dt.timezone(dt.timedelta(hours=2)))),
    (NIGHT, NIGHT.astimezone(dt.UTC)),
    (NIGHT, NIGHT.replace(tzinfo=None)),
    (dt.datetime(2024, 1, 1, fold=1), dt.datetime(2024, 1, 1)),
    (dt.datetime(2024, 1, 1, tzinfo=ZoneInfo("UTC")), dt.datetime(2024, 1, 1, tzinfo=dt.UTC)),
    (dt.datetime(2024, 1, 1), dt.date(2024, 1, 1)),
    (dt.time(1, tzinfo=dt.UTC), dt.time(1)),
]


@pytest.mark.parametrize(("before", "after"), OTHERWISE)
def test_what_reads_back_otherwise(before: Any, after: Any) -> None:
    assert difference(before, after) is not None


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        (Node([1, {"k": (1, 2)}]), Node([1, {"k": [1, 2]}]), ".value[1]['k']"),
        (Person("a", 1), Person("a", 2), "._secret"),
        (Pair(Base("x"), 0.0), Pair(Base("x"), -0.0), ".right"),
        (cached(1), cached(0), ".__pydantic_private__['_cache']"),
        ({"a": {}}, {"a": {"b": 1}}, "['a']['b']"),
        ([Base("a"), Derived("b")], [Base("a"), Base("b")], "[1]"),
    ],
)
def test_the_place_is_named(before: Any, after: Any, path: str) -> None:
    found = difference(before, after)
    assert found is not None
    assert found.path == path


def test_both_sides_are_shown_with_their_classes_if_these_differ() -> None:
    found = difference(math.nan, None)
    assert found is not None
    assert (found.before, found.after) == ("nan (float)", "None (NoneType)")
    long = difference(["x" * 100_000], ["x" * 99_999])
    assert long is not None
    assert len(long.before) < 100


def test_deep_values_end_in_an_answer() -> None:
    """Below the depth limit, `==` decides: it does not see minus zero, and NaN is never equal."""
    deep: list[list[Any]] = []
    for leaf in (0.0, -0.0, math.nan):
        value: Any = leaf
        for _ in range(MAX_DEPTH * 2):
            value = [value]
        deep.append(value)
    assert difference(deep[0], [*deep[0]]) is None
    assert difference(deep[0], deep[1]) is None
    assert difference(deep[0], deep[2]) is not None


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (pydantic.SecretStr("hunter2"), pydantic.SecretStr("swordfish"), ("this `SecretStr`", "another `SecretStr`")),
        (pydantic.SecretStr("hunter2"), "hunter2", ("a `SecretStr`", "a `str`")),
        ("hunter2", pydantic.SecretBytes(b"hunter2"), ("a `str`", "a `SecretBytes`")),
        (Token("hunter2"), Token("swordfish"), ("this `Token`", "another `Token`")),
        (Token("hunter2"), None, ("a `Token`", "a `NoneType`")),
        (({"a": pydantic.SecretStr("hunter2")},), [{"a": "hunter2"}], ("a `tuple`", "a `list`")),
        (Node(Token("hunter2")), {"value": "hunter2"}, ("a `Node`", "a `dict`")),
        ([Token("hunter2")], [], ("this `list`", "another `list`")),
        ({"a": Token("hunter2")}, {}, ("a `Token`", "nothing")),
        ({}, {"a": Token("hunter2")}, ("nothing", "a `Token`")),
        ({Token("hunter2"): 1}, {"hunter2": 1}, ("the key a `Token`", "the key a `str` in its place")),
        ({Token("hunter2"): 1}, {}, ("1", "nothing")),
        ({Token("hunter2")}, {"hunter2"}, ("the element a `Token`", "a set without it")),
        (Plain(Token("hunter2")), Plain("hunter2"), ("a `Token`", "a `str`")),
    ],
)
def test_no_text_shows_a_secret(before: Any, after: Any, says: tuple[str, str]) -> None:
    found = difference(before, after)
    assert found is not None
    assert (found.before, found.after) == says
    assert "hunter2" not in str(found)
    assert "swordfish" not in str(found)


def test_what_is_too_deep_to_be_searched_for_secrets_is_not_shown() -> None:
    value: Any = Token("hunter2")
    for _ in range(MAX_DEPTH * 20):  # deeper than a search without an end could go
        value = [value]
    found = difference(value, None)
    assert found is not None
    assert (found.before, found.after) == ("a `list`", "a `NoneType`")


def test_a_class_that_cannot_be_shown_or_compared_is_named() -> None:
    found = difference([Faulty()], [Faulty()])
    assert found == Difference("[0]", "a `Faulty`", "a `Faulty`")


@pytest.mark.parametrize(
    ("value", "steps"),
    [
        ({"a": 1}, ["['a']", "['a']"]),
        ([1, 2], ["[0]", "[1]"]),
        (Pair(1, 2), [".left", ".right"]),
        (Person("a"), [".name", "._secret"]),
        (Plain(1), []),
        ("text", []),
    ],
)
def test_the_parts_of_a_value_have_steps(value: Any, steps: list[str]) -> None:
    """A mapping's keys come before its items. Objects without declared fields have no parts."""
    assert [step for step, _ in parts_of(value)] == steps
