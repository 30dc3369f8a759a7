"""What is accepted comes out equal, of the same types, in both encodings; all else is refused with its path."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import math
import types
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grange import ConfigurationError
from grange.proto.equality import difference
from grange.proto.message import Encoding
from grange.proto.values import ValueCodec
from tests.proto.generated import (
    Animal,
    Cat,
    Colour,
    Dog,
    Fish,
    Frozen,
    Level,
    Pair,
    Partial,
    Person,
    Renamed,
    Rights,
    Row,
    Tree,
    Word,
    fits,
    misfits,
    same,
)  # fmt: skip

CODEC = ValueCodec()
MSGPACK, JSON = Encoding
BOTH = pytest.mark.parametrize("encoding", list(Encoding))
NEW_YORK = ZoneInfo("America/New_York")
T = TypeVar("T")


def carried(kind: Any, value: Any, encoding: Encoding = MSGPACK) -> Any:
    """The value as it arrives. Raises ValueError if it is refused."""
    codec = CODEC.of(kind, encoding)
    return codec.decode(codec.encode(value))


def arrives(sent: Any, received: Any) -> bool:
    """Whether a value came out the same. A scalar of a derived class may come out as the builtin that equals it."""
    if type(sent) is not type(received):
        return isinstance(sent, enum.Enum | int | bytes | bytearray | uuid.UUID) and bool(sent == received)
    if isinstance(sent, list | tuple):
        return len(sent) == len(received) and all(map(arrives, sent, received))
    if isinstance(sent, dict):
        return len(sent) == len(received) and all(map(arrives, sent.items(), received.items()))
    return same(sent, received) or (isinstance(sent, set | frozenset) and sent == received)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(fits() | misfits(), st.sampled_from(Encoding))
def test_any_value_of_any_type_comes_out_equal_or_is_refused(typed: tuple[Any, Any], encoding: Encoding) -> None:
    kind, value = typed
    try:
        CODEC.check(kind, "here", encoding)
        received = carried(kind, value, encoding)
    except ValueError:
        return
    assert arrives(value, received), (kind, value, received)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(fits())
def test_a_value_equals_itself(typed: tuple[Any, Any]) -> None:
    assert difference(typed[1], typed[1]) is None
    assert same(typed[1], typed[1])


# --- what is carried -----------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Box(Generic[T]):
    content: T


@dataclasses.dataclass
class Measured:
    """Only trying tells whether it comes out equal."""

    name: str = ""
    length: float = 0.0
    content: bytearray = dataclasses.field(default_factory=bytearray)

    def __post_init__(self) -> None:
        pass


@dataclasses.dataclass
class Counted:
    total: int = 0

    def __post_init__(self) -> None:
        self.total = abs(self.total)


class Default(msgspec.Struct, omit_defaults=True):
    ratio: float | bool = 0.0
    items: list[int] = []
    maybe: int | msgspec.UnsetType = msgspec.UNSET


CARRIED: list[tuple[Any, Any]] = [
    (float, math.inf),
    (float | None, math.nan),
    (float, -0.0),
    (int | float, 1e16),
    (int | float, 1),
    (int, 2**64 - 1),
    (dict[str | int, int], {"1": 1, 1: 2}),
    (dict[Any, int], {1: 1, "1": 2}),
    (dict[tuple[int, int], str], {(1, 2): "x"}),
    (dict[Frozen, int], {Frozen(1.0): 1}),
    (dict[str, int], {"zebra": 1, "ant": 2}),
    (dict[Annotated[str, msgspec.Meta(description="name")], int], {"ann": 1}),
    (Any, {"a": [1, None, 1.5, b"x", {"b": True}]}),
    (list[Animal], [Animal("a")]),
    (Cat | Fish, Fish(1.0)),
    (Box[int], Box(1)),
    (Counted, Counted(3)),
    (Rights, Rights.READ | Rights.WRITE),
    (Sequence[int], [1]),
    (Mapping[str, int], {"a": 1}),
    (Default, Default(-0.0)),
    (Default, Default(False, [], 5)),
    (decimal.Decimal, decimal.Decimal("sNaN")),
    (Tree, Tree(1, [Tree(1.0, [Tree(-0.0)])])),
    (tuple[Pair, ...], (Pair(1),)),
]
IN_JSON_TOO = [
    (kind, value)
    for kind, value in CARRIED
    if not (isinstance(value, float) and not math.isfinite(value))
    and kind not in (Any, dict[str | int, int], dict[Any, int], dict[tuple[int, int], str], dict[Frozen, int])
]


@pytest.mark.parametrize(("kind", "value"), CARRIED, ids=repr)
def test_these_values_are_carried(kind: Any, value: Any) -> None:
    assert same(carried(kind, value), value)


@pytest.mark.parametrize(("kind", "value"), IN_JSON_TOO, ids=repr)
def test_these_values_are_carried_in_json(kind: Any, value: Any) -> None:
    assert same(carried(kind, value, JSON), value)


@BOTH
@pytest.mark.parametrize(
    ("kind", "sent", "received"),
    [
        (str, Word.YES, "yes"),
        (list[str], [Word.NO], ["1"]),
        (int, Level.HIGH, 2),
        (float, 3, 3.0),
        (bytes, bytearray(b"x"), b"x"),
        (Word, "yes", Word.YES),
        (Literal["yes"], Word.YES, "yes"),
    ],
)
def test_an_equal_scalar_of_another_class_is_accepted(kind: Any, sent: Any, received: Any, encoding: Encoding) -> None:
    got = carried(kind, sent, encoding)
    assert got == sent
    assert same(got, received)


def test_the_uuid_class_of_a_driver_is_a_uuid() -> None:
    """asyncpg returns UUIDs of a class of its own."""

    class DriversUUID(uuid.UUID):
        pass

    value = DriversUUID(int=7)
    assert type(carried(uuid.UUID, value)) is uuid.UUID
    assert carried(dict[uuid.UUID, int], {value: 1}, JSON) == {uuid.UUID(int=7): 1}


# --- what would change ---------------------------------------------------------------------------------------------


@attrs.define
class Hidden:
    shown: int = 0
    _hidden: int = 0


@attrs.define
class Doubled:
    number: int

    def __attrs_post_init__(self) -> None:
        self.number *= 2


@dataclasses.dataclass
class Holder:
    pets: list[Animal] = dataclasses.field(default_factory=list)
    by_name: dict[str, float | None] = dataclasses.field(default_factory=dict)
    any: Any = None


class Point(NamedTuple):
    x: int
    y: int


class Plain(enum.Enum):
    ONE = 1


class Fallback(msgspec.Struct):
    """A field that is left out comes back as its default, which is not UNSET."""

    number: int | msgspec.UnsetType = 5


REFUSED: list[tuple[Any, Any, str]] = [
    (Animal, Dog("rex"), r"Expected `Animal`, got its subclass `Dog`.*annotate `Dog`"),
    (list[Animal], [Animal(), Dog()], r"subclass `Dog`.*`\$\[1\]`"),
    (Animal | None, Dog(), "subclass `Dog`"),
    (Holder, Holder([Dog()]), r"`\$\.pets\[0\]`"),
    (Animal, {"name": "rex"}, "Expected `Animal`, got `dict`"),
    (Partial, {"street": "a", "other": 1}, "`Partial` has no key 'other'"),
    (Pair, (1, "r"), "Expected `Pair`, got `tuple`"),
    (tuple[int, int], Point(1, 2), "Expected `tuple`, got `Point`"),
    (list[int], (1, 2), "Expected `list`, got `tuple`"),
    (Sequence[int], (1, 2), "Expected `list`, got `tuple`"),
    (tuple[int, ...], [1], "Expected `tuple`, got `list`"),
    (set[int], frozenset({1}), "Expected `set`, got `frozenset`"),
    (dict[str, int], collections.OrderedDict(a=1), "Expected `dict`, got `OrderedDict`"),
    (dict[str, int], collections.Counter("a"), "Expected `dict`, got `Counter`"),
    (dict[str, list[int]], collections.defaultdict(list), "Expected `dict`, got `defaultdict`"),
    (str, uuid.UUID(int=1), "Expected `str`, got `UUID`"),
    (str, dt.date(2024, 1, 1), "Expected `str`, got `date`"),
    (str, Colour.RED, "Expected `str`, got `Colour`"),
    (str, decimal.Decimal(1), "Expected `str`, got `Decimal`"),
    (int, Plain.ONE, "Expected `int`, got `Plain`"),
    (int, True, "Expected `int`, got `bool`"),
    (float, 2**53 + 1, "Expected `float`, got `int`"),
    (float, 10**400, "Expected `float`, got `int`"),
    (decimal.Decimal, 1.5, "Expected `Decimal`, got `float`"),
    (uuid.UUID, "0" * 32, "Expected `UUID`, got `str`"),
    (dt.datetime, "2024-01-01T00:00:00", "Expected `datetime`, got `str`"),
    (dt.date, dt.datetime(2024, 1, 1), "Expected `date`, got `datetime`"),
    (Colour, "red", "Expected `Colour`, got `str`"),
    (Literal["red"], Colour.RED, "Expected `Literal"),
    (Any, (1, 2), "`tuple` does not come back equal where any type is allowed: annotate its type"),
    (dict[str, Any], {"a": [{1}]}, r"`set` does not come back.*`\$\['a'\]\[0\]`"),
    (Any, Animal(), "`Animal` does not come back equal"),
    (Any, {(1, 2): 3}, "a key of type `tuple`"),
    (Level, True, "Expected `Level`, got `bool`"),
    (Fallback, Fallback(msgspec.UNSET), r"Expected `int`, got `UnsetType`.*`\$\.number`"),
    (Hidden, Hidden(1, 2), r"`Hidden` is changed when it is built again.*`\$\._hidden`"),
    (Doubled, Doubled(2), r"`Doubled` is changed.*`\$\.number`"),
    (msgspec.Raw, msgspec.Raw(b"\xc1"), "invalid|malformed|truncated"),
]


@BOTH
@pytest.mark.parametrize(("kind", "value", "says"), REFUSED, ids=lambda part: repr(part).partition(" at 0x")[0])
def test_a_value_that_would_change_is_refused_with_its_path(
    kind: Any, value: Any, says: str, encoding: Encoding
) -> None:
    with pytest.raises(ValueError, match=says):
        CODEC.of(kind, encoding).encode(value)


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        (float, math.nan, "JSON has no number nan"),
        (float | None, math.inf, "JSON has no number inf"),
        (Holder, Holder(by_name={"a": math.nan}), r"JSON has no number nan - at `\$\.by_name\['a'\]`"),
        (Any, {"a": [math.nan]}, r"no number nan - at `\$\['a'\]\[0\]`"),
        (Any, b"x", "`bytes` does not come back equal"),
        (Any, {1: 2}, "a key of type `int`"),
        (Any, {"a": 1, None: 2}, "a key of type `None`"),
        (dict[str | int, int], {1: 1, "1": 2}, r"the key 1 \(int\) is read back from JSON as '1'"),
        (dict[Any, int], {1: 1}, r"the key 1 \(int\) is read back"),
        (dict[int | None, int], {None: 1}, "a key of None cannot be written as JSON"),
    ],
    ids=repr,
)
def test_json_refuses_what_it_cannot_say(kind: Any, value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CODEC.of(kind, JSON).encode(value)


@BOTH
@pytest.mark.parametrize(
    ("kind", "value", "path"),
    [
        (list[str], ["a", "\ud800"], r"surrogates.*`\$\[1\]`"),
        (Holder, Holder([Animal("\ud800")]), r"surrogates.*`\$\.pets\[0\]\.name`"),
        (dict[str, str], {"\ud800": "a"}, r"surrogates.*`\$\["),
    ],
)
def test_what_has_no_bytes_is_refused_with_its_path(kind: Any, value: Any, path: str, encoding: Encoding) -> None:
    with pytest.raises(ValueError, match=path):
        CODEC.of(kind, encoding).encode(value)


def test_an_integer_over_64_bits_is_refused_with_its_path() -> None:
    with pytest.raises(ValueError, match=r"2\*\*64.*`\$\['a'\]\[1\]`"):
        CODEC.of(dict[str, list[int]]).encode({"a": [1, 2**64]})
    assert carried(int, 2**200, JSON) == 2**200


@BOTH
def test_a_value_that_contains_itself_is_refused(encoding: Encoding) -> None:
    """CAL-13: before anything is sent."""
    endless = Tree(1)
    endless.children.append(endless)
    with pytest.raises(ValueError, match="nested too deeply, or contains itself"):
        CODEC.of(Tree, encoding).encode(endless)


# --- types that can never be carried -------------------------------------------------------------------------------


@attrs.define
class NeedsHidden:
    _hidden: int


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (dict[tuple[int, int], str], "keys of type tuple"),
        (list[dict[None, int]], "keys of type None"),
        (dict[bool, int], "keys of type bool"),
        (dict[Frozen, int], "keys of type Frozen"),
        (dict[frozenset[int], int], "keys of type frozenset"),
        (dict[tuple[int, int] | None, int], r"keys of type tuple \| None"),
        (msgspec.msgpack.Ext, "Ext"),
    ],
)
def test_json_refuses_types_that_it_never_writes(kind: Any, says: str) -> None:
    CODEC.check(kind, "cart.add, argument 'x'")
    with pytest.raises(ConfigurationError, match=f"state 'x': .*{says}"):
        CODEC.check(kind, "state 'x'", JSON)


@BOTH
@pytest.mark.parametrize(
    "kind",
    [
        str, int, float, uuid.UUID, dt.date, dt.datetime, Colour, Level, str | int, Any, bytes, Literal["a"],
        Annotated[str, msgspec.Meta(description="name")], Annotated[str, msgspec.Meta(max_length=9)],
    ],
)  # fmt: skip
def test_keys_that_are_texts_or_numbers_are_allowed(kind: Any, encoding: Encoding) -> None:
    CODEC.check(types.GenericAlias(dict, (kind, int)), "here", encoding)


def test_a_field_that_is_never_sent_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"NeedsHidden\._hidden .*underscore.*make the class a dataclass"):
        CODEC.check(list[NeedsHidden], "here")


@dataclasses.dataclass
class Labels(dict[str, str]):
    owner: str = ""


def test_a_class_with_content_outside_its_fields_is_refused() -> None:
    """msgspec would crash on it."""
    with pytest.raises(ConfigurationError, match="Labels cannot be sent, because it derives from dict"):
        CODEC.check(list[Labels], "here")


@dataclasses.dataclass(slots=True)
class Slotted:
    number: int = 0


def test_a_value_without_one_of_its_attributes_is_refused() -> None:
    value = Slotted()
    del value.number
    with pytest.raises(ValueError, match="`Slotted` has lost an attribute"):
        CODEC.of(Slotted).encode(value)


# --- datetimes -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Visit:
    when: dt.datetime
    at: dt.time | None = None
    note: str = ""


class Came(msgspec.Struct, tag=True, array_like=True):
    """Its tag is the first item, so a field is at another place than its number says."""

    note: str
    when: dt.datetime


class Went(msgspec.Struct, tag=True, array_like=True):
    when: dt.datetime


NIGHT = dt.datetime(2024, 11, 3, 1, 30, tzinfo=NEW_YORK)
MOMENTS = [
    dt.datetime(2024, 7, 1, 22, tzinfo=NEW_YORK),
    NIGHT,
    NIGHT.replace(fold=1),
    dt.datetime(2024, 7, 1, 22, fold=1, tzinfo=NEW_YORK),
    dt.datetime(2024, 3, 10, 2, 30, tzinfo=NEW_YORK),
    dt.datetime(2024, 1, 1, fold=1),
    dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    dt.datetime(2024, 1, 1, tzinfo=ZoneInfo("UTC")),
    dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30))),
    dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(seconds=3723, microseconds=5))),
    dt.datetime(1900, 1, 1, tzinfo=NEW_YORK),
    dt.datetime.min.replace(tzinfo=dt.timezone(dt.timedelta(hours=5))),
    dt.datetime.max.replace(tzinfo=dt.timezone(-dt.timedelta(hours=5))),
]


@BOTH
@pytest.mark.parametrize("moment", MOMENTS, ids=str)
def test_a_datetime_keeps_instant_offset_zone_and_fold(moment: dt.datetime, encoding: Encoding) -> None:
    note = "2024-07-01T22:00:00-04:00[America/New_York]"  # a text of the author stays text
    for kind, value in [
        (dt.datetime, moment),
        (Visit, Visit(moment, dt.time(1, tzinfo=NEW_YORK), note)),
        (dict[str, list[Visit | None]], {note: [None, Visit(moment)]}),
        (dict[dt.datetime, tuple[dt.datetime, Any]], {moment: (moment, note)}),
        (set[dt.datetime], {moment}),
        (Frozen, Frozen(1.0, moment)),
        (Renamed, Renamed(note, moment, -0.0)),
        (list[Row | None], [Row(1, moment), None]),
        (list[Came | Went], [Came(note, moment), Went(moment), Came(note, moment)]),
        (dict[int, dt.datetime | int], {1: moment, 2: 3}),
        (dict[dt.datetime | int, int], {moment: 1}),
        (Annotated[list[dt.datetime], msgspec.Meta(min_length=1, description="when")], [moment]),
    ]:
        assert same(carried(kind, value, encoding), value), kind
        assert difference(carried(kind, value, encoding), value) is None


@BOTH
@pytest.mark.parametrize("tzinfo", [None, dt.UTC, NEW_YORK, dt.timezone(dt.timedelta(seconds=5))], ids=str)
def test_a_time_keeps_its_zone_and_fold(tzinfo: dt.tzinfo | None, encoding: Encoding) -> None:
    for fold in (0, 1):
        time = dt.time(1, 2, 3, 4, tzinfo, fold=fold)
        assert same(carried(dt.time, time, encoding), time)


class Shifted(dt.tzinfo):
    """A zone class of another library."""

    def __init__(self, hours: int | None) -> None:
        self.hours = hours

    def utcoffset(self, _: dt.datetime | None) -> dt.timedelta | None:
        return None if self.hours is None else dt.timedelta(hours=self.hours)


@BOTH
def test_another_zone_class_arrives_as_its_offset(encoding: Encoding) -> None:
    received = carried(dt.datetime, dt.datetime(2024, 1, 1, tzinfo=Shifted(3)), encoding)
    assert same(received, dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=3))))
    with pytest.raises(ValueError, match=r"\(Shifted\) gives no offset"):
        CODEC.of(list[dt.datetime], encoding).encode([dt.datetime(2024, 1, 1, tzinfo=Shifted(None))])


def test_a_zone_that_the_receiver_does_not_have_is_refused_by_name() -> None:
    payload = msgspec.msgpack.encode("2024-01-01T00:00:00+01:00[Mars/Olympus]")
    with pytest.raises(ValueError, match="no time zone 'Mars/Olympus'"):
        CODEC.of(dt.datetime).decode(payload)
    for key in ("../../etc/passwd", "/etc/passwd", "Europe", "a\0b"):
        with pytest.raises(ValueError, match=r"time zone|RFC3339|datetime"):
            CODEC.of(dt.datetime).decode(msgspec.msgpack.encode(f"2024-01-01T00:00:00+01:00[{key}]"))


def test_a_tuple_with_a_moment_that_is_too_long_is_refused() -> None:
    moment = "2024-07-01T22:00:00-04:00[America/New_York]"
    assert CODEC.of(tuple[dt.datetime, int]).decode(msgspec.msgpack.encode([moment, 1]))[1] == 1
    with pytest.raises(ValueError, match="length 2"):
        CODEC.of(tuple[dt.datetime, int]).decode(msgspec.msgpack.encode([moment, 1, 2]))


def test_a_zone_with_other_rules_here_keeps_instant_and_offset() -> None:
    """The writer knew other rules of the zone than this machine: the zone's name gives way."""
    received = CODEC.of(dt.datetime).decode(msgspec.msgpack.encode("2024-07-01T22:00:00-05:00[America/New_York]"))
    assert same(received, dt.datetime(2024, 7, 1, 22, tzinfo=dt.timezone(dt.timedelta(hours=-5))))


@BOTH
def test_a_moment_that_needs_an_offset_is_refused_without_one(encoding: Encoding) -> None:
    aware = Annotated[dt.datetime, msgspec.Meta(tz=True)]
    assert same(carried(aware, NIGHT, encoding), NIGHT)
    with pytest.raises(ValueError, match="datetime"):
        carried(aware, dt.datetime(2024, 1, 1), encoding)
    with pytest.raises(ValueError, match="datetime"):
        carried(aware, dt.datetime(2024, 1, 1, fold=1), encoding)


def test_an_attribute_that_is_left_out_may_have_its_default() -> None:
    assert carried(Person, Person("a", dt.date(2024, 1, 1))) == Person("a", dt.date(2024, 1, 1))


@BOTH
def test_scalars_of_a_class_that_is_tried_may_be_of_another_class_too(encoding: Encoding) -> None:
    """As in classes that need no trial: what arrives is equal, and of the builtin class."""
    sent: Any = Measured(Word.YES, 3, b"a")  # type: ignore[arg-type]
    received: Measured = carried(Measured, sent, encoding)
    assert received == sent
    assert (type(received.name), type(received.length), type(received.content)) == (str, float, bytearray)
