"""How rows of other versions of a type are read, and what stays beside the value: each kind of class."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, TypedDict

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grange import ConfigurationError, Renamed, state_schema
from grange.proto.message import Encoding
from grange.proto.values import ValueCodec
from grange.storage.states.form import TypedForm


def form_of(kind: Any) -> TypedForm[Any]:
    return TypedForm(ValueCodec().of(kind, Encoding.JSON), "a test")


def stored(form: TypedForm[Any], data: object, schema: int = 1) -> tuple[Any, Any]:
    """The value of a row, and what is kept beside it."""
    return form.read(json.dumps(data).encode(), schema)


def written(form: TypedForm[Any], value: Any, surplus: Any) -> Any:
    return json.loads(form.write(value, surplus).payload)


@dataclass
class Line:
    sku: str
    count: int = 1


class LineTable(TypedDict):
    sku: str
    count: int


class LineModel(pydantic.BaseModel):
    sku: str
    count: int = 1


def _split(data: dict[str, Any]) -> dict[str, Any]:
    data["first"], _, data["last"] = data.pop("name").partition(" ")
    return data


def _in_cents(data: dict[str, Any]) -> dict[str, Any]:
    data["cents"] = round(data.pop("euros", 0) * 100)
    return data


_CHAIN = {1: _split, 2: _in_cents}


@state_schema(3, upgrades=_CHAIN)
@dataclass
class AsDataclass:
    first: str = ""
    last: str = ""
    cents: int = 0
    city: Annotated[str, Renamed("town", also=("place",))] = ""
    lines: list[Line] = field(default_factory=list)


@state_schema(3, upgrades=_CHAIN)
@dataclass(slots=True)
class AsSlots:
    first: str = ""
    last: str = ""
    cents: int = 0
    city: Annotated[str, Renamed("town", also=("place",))] = ""
    lines: list[Line] = field(default_factory=list)


@state_schema(3, upgrades=_CHAIN)
class AsStruct(msgspec.Struct):
    first: str = ""
    last: str = ""
    cents: int = 0
    city: Annotated[str, Renamed("town", also=("place",))] = ""
    lines: list[Line] = []


@state_schema(3, upgrades=_CHAIN)
@attrs.define
class AsAttrs:
    first: str = ""
    last: str = ""
    cents: int = 0
    city: Annotated[str, Renamed("town", also=("place",))] = ""
    lines: list[Line] = attrs.field(factory=list)


@state_schema(3, upgrades=_CHAIN)
class AsTypedDict(TypedDict, total=False):
    first: str
    last: str
    cents: int
    city: Annotated[str, Renamed("town", also=("place",))]
    lines: list[LineTable]


@state_schema(3, upgrades=_CHAIN)
class AsModel(pydantic.BaseModel):
    first: str = ""
    last: str = ""
    cents: int = 0
    city: Annotated[str, Renamed("town", also=("place",))] = ""
    lines: list[LineModel] = []


KINDS = (AsDataclass, AsSlots, AsStruct, AsAttrs, AsTypedDict, AsModel)


def read_field(value: Any, name: str) -> Any:
    return value[name] if isinstance(value, dict) else getattr(value, name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_of_an_old_version_is_upgraded_step_by_step(kind: Any) -> None:
    """SCE-03: a row of an old version is upgraded version by version, and stored as the newest."""
    form = form_of(kind)
    value, surplus = stored(form, {"name": "Ann Lee", "euros": 12.5, "town": "Ulm"}, schema=1)
    assert [read_field(value, name) for name in ("first", "last", "cents", "city")] == ["Ann", "Lee", 1250, "Ulm"]
    later, _ = stored(form, {"first": "Ann", "last": "Lee", "euros": 2}, schema=2)
    assert read_field(later, "cents") == 200
    assert form.write(value, surplus).schema == 3


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_fields_are_stored_again(kind: Any) -> None:
    """SCE-04: fields of a newer release stay in the row, nested ones beside their object, wherever it is now."""
    form = form_of(kind)
    row = {
        "first": "Ann", "last": "Lee", "cents": 1, "town": "Ulm", "vip": {"since": 2020},
        "lines": [
            {"sku": "a", "count": 1, "gift": True}, {"sku": "b", "count": 2}, {"sku": "c", "count": 3, "note": 1.5}
        ],
    }  # fmt: skip
    value, surplus = stored(form, row, schema=4)
    lines = read_field(value, "lines")
    lines[0], lines[2] = lines[2], lines[0]
    del lines[1]
    new = form.write(value, surplus)
    assert json.loads(new.payload) == {**row, "lines": [row["lines"][2], row["lines"][0]]}
    assert new.schema == 4, "an older release must not lower the version of a row"


@pytest.mark.parametrize("kind", KINDS)
def test_a_renamed_field_is_read_by_each_of_its_names(kind: Any) -> None:
    """SCE-02: a field is read by its old names, and stored by the newest of them until its author says so."""
    form = form_of(kind)
    for name in ("city", "town", "place"):
        value, surplus = stored(form, {name: "Ulm"}, schema=3)
        assert read_field(value, "city") == "Ulm"
        new = written(form, value, surplus)
        assert new["town"] == "Ulm"
        assert "city" not in new
        assert "place" not in new


def test_the_own_name_of_a_field_counts_before_the_old_one() -> None:
    value, _ = stored(form_of(AsStruct), {"town": "Ulm", "city": "Bonn"}, schema=3)
    assert value.city == "Bonn"


@dataclass(frozen=True)
class Owner:
    name: Annotated[str, Renamed("title", write="new")] = ""


@dataclass
class Account:
    owner: Owner = field(default_factory=Owner)
    by_currency: dict[str, Line] = field(default_factory=dict)


def test_a_renamed_field_may_be_stored_by_its_own_name() -> None:
    form = form_of(Account)
    value, surplus = stored(form, {"owner": {"title": "ann"}})
    assert value.owner.name == "ann"
    assert written(form, value, surplus)["owner"] == {"name": "ann"}


def test_an_object_in_the_place_of_another_gets_its_unknown_fields() -> None:
    """An immutable part is changed by replacing it: a field and a key of a mapping are the same place."""
    form = form_of(Account)
    row = {"owner": {"name": "ann", "vip": 1}, "by_currency": {"eur": {"sku": "e", "count": 1, "x": 2}}}
    value, surplus = stored(form, row)
    value.owner = dataclasses.replace(value.owner, name="bob")
    value.by_currency["eur"] = Line("e", 7)
    new = form.write(value, surplus)
    assert json.loads(new.payload) == {
        "owner": {"name": "bob", "vip": 1}, "by_currency": {"eur": {"sku": "e", "count": 7, "x": 2}}
    }  # fmt: skip
    del value.by_currency["eur"]
    gone = form.write(value, new.surplus)
    value.by_currency["eur"] = Line("e", 1)
    again = form.write(value, gone.surplus)
    assert json.loads(again.payload)["by_currency"] == {"eur": {"sku": "e", "count": 1}}, "a new entry is new"


def test_a_moved_object_leaves_nothing_to_the_one_in_its_place() -> None:
    form = form_of(dict[str, Line])
    value, surplus = stored(form, {"a": {"sku": "a", "count": 1, "x": 1}})
    value["b"], value["a"] = value["a"], Line("new")
    assert written(form, value, surplus) == {"a": {"sku": "new", "count": 1}, "b": {"sku": "a", "count": 1, "x": 1}}


@state_schema(unknown_fields="drop")
@dataclass
class Dropping:
    a: int = 0


@state_schema(unknown_fields="refuse")
@dataclass
class Refusing:
    a: int = 0


@state_schema(removed=("coupon",))
@dataclass
class Cleaning:
    a: int = 0
    part: Dropping = field(default_factory=Dropping)


def test_unknown_fields_are_dropped_or_refused_where_the_class_says_so() -> None:
    """SCE-05: an option by name drops or refuses unknown fields; `removed` drops the fields it names only."""
    value, surplus = stored(form_of(Dropping), {"a": 1, "b": 2})
    assert written(form_of(Dropping), value, surplus) == {"a": 1}
    with pytest.raises(ValueError, match=r"`Refusing` has no field 'b', and refuses unknown fields"):
        stored(form_of(Refusing), {"a": 1, "b": 2})
    form = form_of(Cleaning)
    value, surplus = stored(form, {"a": 1, "coupon": "x", "b": 2, "part": {"a": 3, "c": 4}})
    assert written(form, value, surplus) == {"a": 1, "b": 2, "part": {"a": 3}}


class Point(NamedTuple):
    x: int
    y: int = 0


@dataclass(frozen=True)
class Tag:
    text: str


class Wide(msgspec.Struct, array_like=True):
    a: int = 0


@dataclass
class Odd:
    tags: set[Tag] = field(default_factory=set)
    wide: Wide = field(default_factory=Wide)
    point: Point = field(default_factory=lambda: Point(0))
    maybe: Line | None = None


def test_what_cannot_be_kept_is_not_read() -> None:
    """A set has no order and a list no names: what a newer release stored there would be lost, so it is refused."""
    form = form_of(Odd)
    value, surplus = stored(form, {"tags": [{"text": "a"}], "wide": [1], "point": [1, 2], "maybe": None})
    assert value == Odd({Tag("a")}, Wide(1), Point(1, 2))
    with pytest.raises(ValueError, match="field 'colour' of `Tag` is not known to this release, and could not be kept"):
        stored(form, {"tags": [{"text": "a", "colour": "red"}]})
    with pytest.raises(ValueError, match="`Wide` has 1 more items than this release knows"):
        stored(form, {"wide": [1, 2]})
    value, surplus = stored(form, {"maybe": {"sku": "a", "count": 1, "x": 1}})
    assert written(form, value, surplus)["maybe"] == {"sku": "a", "count": 1, "x": 1}


class Cat(msgspec.Struct, tag=True):
    lives: int = 9


class Dog(msgspec.Struct, tag=True):
    tricks: int = 0


def test_the_parts_of_a_union_are_told_by_their_tag() -> None:
    form = form_of(list[Cat | Dog])
    row = [{"type": "Dog", "tricks": 1, "collar": "red"}, {"type": "Cat", "lives": 7, "name": "Tom"}]
    value, surplus = stored(form, row)
    assert written(form, value[::-1], surplus) == row[::-1]
    with pytest.raises(ValueError, match="Invalid value 'Cow'"):
        stored(form, [{"type": "Cow"}])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": 0}, "must be a whole number from 1 on"),
        ({"version": 2}, "upgrades has no function for version 1"),
        ({"version": 4, "upgrades": {1: _split, 3: _split}}, "upgrades has no function for version 2"),
        ({"version": 2, "upgrades": {1: _split, 2: _split}}, "the upgrade of version 2 has no effect"),
        ({"version": 1, "oldest": 2}, "oldest=2 is above version=1"),
        ({"version": 2, "upgrades": {1: 7}}, "the upgrade of version 1 must be a function"),
        ({"unknown_fields": "lose"}, 'must be "keep", "drop" or "refuse"'),
        ({"removed": "coupon"}, "removed must be a tuple of names"),
    ],
)
def test_a_wrong_declaration_is_refused(options: Any, message: str) -> None:
    """SCE-01: an incomplete chain of upgrades, and an option without effect, are errors of the class."""
    with pytest.raises(ConfigurationError, match=message):
        state_schema(**options)(Line)


@state_schema(2, upgrades={1: _split})
@dataclass
class Inner:
    a: int = 0


@dataclass
class Outer:
    inner: Inner = field(default_factory=Inner)


@dataclass
class Twice:
    a: int = 0
    b: Annotated[int, Renamed("a")] = 0


@dataclass
class Hidden:
    a: list[Annotated[int, Renamed("b")]] = field(default_factory=list)


@state_schema(removed=("a",))
@dataclass
class Still:
    a: int = 0


class Listed(NamedTuple):
    a: Annotated[int, Renamed("b")] = 0


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Outer, "version=2 of Inner has no effect, because the version of a state is that of its own class"),
        (Inner | None, None),
        (Twice, r"Twice.b: Renamed\('a'\) is the name of another field, too"),
        (Hidden, r"Hidden.a: write one Renamed\(...\), and around the whole type"),
        (Still, "removed='a' is a field that the class has"),
        (Listed, "Listed is stored as a list without names"),
    ],
)
def test_a_declaration_without_effect_is_refused(kind: Any, message: str | None) -> None:
    if message is None:
        assert form_of(kind).version == 2
        return
    with pytest.raises(ConfigurationError, match=message):
        form_of(kind)


def _failing(data: dict[str, Any]) -> dict[str, Any]:
    raise KeyError("name")


@state_schema(4, oldest=2, upgrades={2: _failing, 3: lambda data: [data]})  # type: ignore[dict-item,return-value]
@dataclass
class Broken:
    a: int = 0


def test_an_upgrade_that_fails_names_its_version() -> None:
    form = form_of(Broken)
    with pytest.raises(ValueError, match="rows of version 1 are not read since oldest=2"):
        stored(form, {}, schema=1)
    with pytest.raises(ValueError, match="the upgrade of version 2 raised KeyError: 'name'"):
        stored(form, {}, schema=2)
    with pytest.raises(ValueError, match="the upgrade of version 3 must return a dict, and returned a list"):
        stored(form, {}, schema=3)


_TEXT = st.text("abc é", max_size=3)
_NUMBER = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
_JSON = st.none() | st.booleans() | _NUMBER | _TEXT | st.lists(_NUMBER, max_size=2) | st.dictionaries(_TEXT, _NUMBER)
_MORE = st.dictionaries(_TEXT, _JSON, max_size=2)


@settings(max_examples=60, deadline=None)
@given(_MORE, st.permutations(range(4)), st.lists(_MORE, min_size=4, max_size=4))
def test_no_unknown_field_is_lost(extra: dict[str, Any], order: list[int], more: list[dict[str, Any]]) -> None:
    """All that a newer release stored comes back, with its line, after the lines were put in another order."""
    form = form_of(AsDataclass)
    row = {**extra, "first": "a", "last": "b", "cents": 1, "town": "c"}
    lines = [{**each, "sku": str(number), "count": number} for number, each in enumerate(more)]
    value, surplus = stored(form, {**row, "lines": lines}, schema=3)
    value.lines = [value.lines[index] for index in order]
    assert written(form, value, surplus) == {**row, "lines": [lines[index] for index in order]}
