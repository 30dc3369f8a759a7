"""A value that is sure by its classes reads back equal from JSON; a value that might change is never sure."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import math
import uuid
from typing import Annotated, Any, Generic, Literal, TypeVar
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pytest
from hypothesis import HealthCheck, event, given, settings

from grange.proto.checks import Found
from grange.proto.equality import difference
from grange.proto.message import Encoding
from grange.proto.values import TypedCodec, ValueCodec
from tests.proto.generated import Animal, Colour, Dog, Fish, Level, Renamed, Rights, Rounded, Tree, fits, misfits, same

CODEC = ValueCodec()
T = TypeVar("T")


def json_of(kind: Any) -> TypedCodec:
    return CODEC.of(kind, Encoding.JSON)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(fits() | misfits())
def test_a_sure_value_reads_back_equal(typed: tuple[Any, Any]) -> None:
    kind, value = typed
    codec = json_of(kind)
    if not codec.is_sure(value):
        event("not sure")
        return
    event("sure")
    codec.check(value, Found())
    read = codec.decode(codec.write(value))
    assert difference(value, read) is None
    assert same(value, read)


@dataclasses.dataclass
class Line:
    sku: str = ""
    number: int = 0
    price: float = 0.0
    sold: dt.datetime | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    owner: str
    lines: list[Line] = dataclasses.field(default_factory=list)
    by_sku: dict[str, Line] = dataclasses.field(default_factory=dict)


class Point(msgspec.Struct, frozen=True, omit_defaults=True):
    x: float
    label: str | None = None
    tags: frozenset[str] = frozenset()


class Moved(msgspec.Struct):
    left: int
    right: int = 0


@attrs.define
class Plain:
    pair: tuple[int, bool]
    key: uuid.UUID
    day: dt.date


class Sly(enum.Enum):
    """A class whose members have the value of another member."""

    LOW = "low"
    HIGH = "high"

    @property
    def value(self) -> str:
        return "low"


@dataclasses.dataclass
class Box(Generic[T]):
    content: T


LINE = Line("apple", 2**70, 1e300, dt.datetime(2024, 2, 29, tzinfo=dt.UTC))
UNIQUE = uuid.UUID(int=7)

SURE: list[tuple[Any, Any]] = [
    (int, -(2**80)),
    (str, "é\ud7ff"),
    (bytes, b"\0\xff"),
    (float, -0.0),
    (dt.datetime, dt.datetime.max),
    (Line, LINE),
    (Order, Order("ann", [LINE, Line()], {"apple": LINE})),
    (dict[str, list[Point]], {"a": [Point(0.5), Point(-1.0, "b", frozenset({"c"}))], "b": []}),
    (dict[int, tuple[str, ...]], {1: ("a",), -(2**63): ()}),
    (set[str], {"a"}),
    (list[Plain], [Plain((1, True), UNIQUE, dt.date.min)]),
    (Box[int], Box(3)),
    (Colour | None, Colour.RED),
    (Level, Level.HIGH),
    (Sly, Sly.HIGH),
    (list[Annotated[int, msgspec.Meta(title="number")]], [1, 2]),
    (dict[str, dict[str, int]], {str(number): {"a": number} for number in range(100)}),
]


@pytest.mark.parametrize(("kind", "value"), SURE)
def test_values_of_these_types_need_no_comparison(kind: Any, value: Any) -> None:
    codec = json_of(kind)
    assert codec.is_sure(value)
    assert same(codec.decode(codec.write(value)), value)


@dataclasses.dataclass
class Capped:
    number: int


def _capped(self: Capped, value: int) -> None:
    vars(self)["number"] = min(value, 9)


Capped.number = property(lambda self: vars(self)["number"], _capped)  # type: ignore[assignment,method-assign]


@dataclasses.dataclass(slots=True)
class Slotted:
    number: int = 0


@dataclasses.dataclass
class WithDict(Slotted):
    name: str = ""


@attrs.define
class Validated:
    number: int = attrs.field(validator=attrs.validators.lt(9))


@dataclasses.dataclass(slots=True)
class CappedSlot:
    number: int


SLOT: Any = vars(CappedSlot)["number"]
setattr(CappedSlot, "number", property(SLOT.__get__, lambda self, value: SLOT.__set__(self, min(value, 9))))  # noqa: B010


@dataclasses.dataclass(slots=True)
class Counting:
    number: int

    def __getattribute__(self, name: str) -> Any:
        value = object.__getattribute__(self, name)
        return value + 1 if name == "number" else value


@dataclasses.dataclass(unsafe_hash=True)
class Hashed:
    number: int


@attrs.frozen(cache_hash=True)
class KeepsHash:
    """Its hash is kept by `__init__`, which a decoder does not call."""

    number: int


class Open(enum.Enum):
    """Makes a new member of each value, each time."""

    KNOWN = 1

    @classmethod
    def _missing_(cls, value: object) -> Open:
        made = object.__new__(cls)
        made._name_, made._value_ = "MADE", 7
        return made


class Words(list[str]):
    pass


def unset(value: Any, name: str) -> Any:
    """The value, without one of its attributes."""
    delattr(value, name)
    return value


NOT_SURE: list[tuple[Any, Any]] = [
    (int, True),
    (int, 1.0),
    (int, Level.LOW),
    (float, 1),
    (float, math.nan),
    (float, math.inf),
    (str | None, 3),
    (bool, 1),
    (list[int], (1,)),
    (list[str], Words(["a"])),
    (list[list[float]], [[1.0], [1.0, math.nan]]),
    (dict[str, int], collections.OrderedDict(a=1)),
    (dict[str, int], collections.Counter("a")),
    (dict[str, int], {1: 1}),
    (dict[int, int], {True: 1}),
    (dict[Colour, int], {Colour.RED: 1}),
    (dict[float, int], {1.0: 1}),
    (dict[str, Any], {"a": 1}),
    (Animal, Dog("rex")),
    (list[Animal], [Animal("a"), Dog("b")]),
    (Line, unset(Line(), "price")),
    (Line, Line(1)),  # type: ignore[arg-type]
    (Point, Point(1)),
    (Moved, unset(Moved(1), "left")),
    (Point, Point(math.nan)),
    (dt.datetime, dt.datetime(2024, 11, 3, 1, 30, fold=1)),
    (dt.datetime, dt.datetime(2024, 7, 1, tzinfo=ZoneInfo("Europe/Berlin"))),
    (dt.date, dt.datetime(2024, 7, 1)),
    (int | float, 1),
    (Literal["a"], "b"),
    (Annotated[int, msgspec.Meta(gt=0)], 1),
    (Annotated[int, msgspec.Meta(multiple_of=2)], 2),
    (Annotated[list[int], msgspec.Meta(max_length=1)], [1]),
    (Annotated[str, msgspec.Meta(min_length=1)], "a"),
    (Annotated[str, msgspec.Meta(pattern="a")], "a"),
    (Annotated[dt.datetime, msgspec.Meta(tz=True)], dt.datetime(2024, 1, 1, tzinfo=dt.UTC)),
    (Rights, Rights.READ),
    (tuple[int, float], (1, math.nan)),
    (tuple[int, int], (1,)),
    (Rounded, Rounded(1.005)),
    (Renamed, Renamed(first_name=None)),  # type: ignore[arg-type]
    (Tree, Tree(1)),
    (Fish, Fish(1)),
    (Capped, Capped(3)),
    (WithDict, WithDict(1, "a")),
    (Validated, Validated(1)),
    (CappedSlot, CappedSlot(3)),
    (Counting, Counting(1)),
    (set[Hashed], {Hashed(1)}),
    (frozenset[KeepsHash], frozenset({KeepsHash(1)})),
    (set[Colour], {Colour.RED}),
    (Open, Open(7)),
    (Box, Box(3)),
    (Any, 1),
]


@pytest.mark.parametrize(("kind", "value"), NOT_SURE)
def test_values_that_might_change_are_compared(kind: Any, value: Any) -> None:
    assert not json_of(kind).is_sure(value)


def test_a_value_that_contains_itself_is_not_sure() -> None:
    cells: list[Any] = []
    cells.append(cells)
    assert not json_of(list[list[int]]).is_sure(cells)


def test_messages_are_checked_part_by_part() -> None:
    assert not CODEC.of(int, Encoding.MSGPACK).is_sure(1)
