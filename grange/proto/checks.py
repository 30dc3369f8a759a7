"""Checks that a value comes out of its encoding equal: the vocabulary, and one function per kind of type. Pure.

`shapes.py` compiles them per annotation. A check raises before anything is encoded, and names the field.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import inspect
import math
import operator
import types
import uuid
from collections.abc import Callable, Collection, Iterable
from typing import Any, NoReturn, Self

import msgspec

from grange.proto.message import Encoding
from grange.proto.zones import class_as_any, is_plain


class Unfit(ValueError):
    """A value that cannot be carried as its annotation says. `path` is where it is, as in `[3].owner`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = ""

    def within(self, step: str) -> Self:
        """The same, seen from the value that holds this one."""
        self.path = step + self.path
        return self

    def __str__(self) -> str:
        return f"{self.reason} - at `${self.path}`" if self.path else self.reason


class Cut(Unfit):
    """A value of a subclass of the annotated class: the fields of its own would be lost."""


class Found:
    """What the check of one value found out for its encoding.

    zones: a moment that only `zones.py` writes may be inside. trying: an outer check, or the caller, compares the value
    as a whole with what it is read back as. untried: a part is inside that only this comparison can check.
    encoded: what extensions made of their values, by the id of the value.
    """

    __slots__ = ("encoded", "trying", "untried", "zones")

    def __init__(self, trying: bool = False) -> None:
        self.zones = False
        self.trying = trying
        self.untried = False
        self.encoded: dict[int, Any] | None = None


Check = Callable[[Any, Found], None]
"""Raises Unfit for a value that would change."""


class Shape:
    """How values of one annotation are checked. `exact`: classes whose values need no check."""

    __slots__ = ("check", "classes", "exact", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.exact: frozenset[type] = frozenset()
        self.classes: frozenset[type] | None = frozenset()  # those that `check` may accept; None: any
        self.check: Check = self.refuse

    def filled(self, classes: Iterable[type] | None, check: Check, exact: Iterable[type] = ()) -> Shape:
        """Set the parts. Apart from the constructor, because recursive types refer to a shape while it is made."""
        self.exact = frozenset(exact)
        self.classes = None if classes is None else frozenset(classes)
        self.check = check
        return self

    def refuse(self, value: Any, found: Found) -> NoReturn:
        """Raise Unfit: the value has another type."""
        raise Unfit(f"Expected `{self.name}`, got `{class_of(value)}`")


def class_of(value: object) -> str:
    """The name of a value's class in messages."""
    return class_name(type(value))


def class_name(cls: type) -> str:
    """The name of a class in messages."""
    return "None" if cls is types.NoneType else cls.__qualname__


PLAIN_IN_JSON = frozenset({types.NoneType, bool, int, str})
"""Classes whose values come back equal from JSON without a type."""

PLAIN = PLAIN_IN_JSON | {float, bytes}
"""Classes whose values come back equal from MessagePack without a type."""


def scalar(shape: Shape, cls: type) -> Check:
    """Values of another class are accepted if the value that arrives is equal."""

    def check(value: Any, found: Found) -> None:
        if type(value) is cls or type(value) in shape.exact:
            return
        plain = value.value if isinstance(value, enum.Enum) and value == value.value else value
        if type(plain) in shape.exact:
            return
        if cls is float and type(plain) is int and _is_exact(plain):
            return
        if cls in (bytes, bytearray) and type(plain) in (bytes, bytearray, memoryview):
            return
        if cls is uuid.UUID and isinstance(plain, uuid.UUID):
            return
        shape.refuse(value, found)

    return check


def _is_exact(value: int) -> bool:
    try:
        return float(value) == value
    except OverflowError:
        return False


def finite(shape: Shape) -> Check:
    """The check of a float in JSON, which has no NaN and no infinity."""
    other = scalar(shape, float)

    def check(value: Any, found: Found) -> None:
        if type(value) is not float:
            other(value, found)
        elif not math.isfinite(value):
            raise Unfit(f"JSON has no number {value!r}")

    return check


def moment(shape: Shape, cls: type[dt.datetime | dt.time]) -> Check:
    """The check of a datetime or a time. Notes those that msgspec alone would change."""

    def check(value: Any, found: Found) -> None:
        if type(value) is not cls:
            shape.refuse(value, found)
        if is_plain(value):
            return
        if cls is dt.datetime and value.tzinfo is not None and value.utcoffset() is None:
            raise Unfit(f"a datetime whose time zone ({class_of(value.tzinfo)}) gives no offset cannot be sent")
        found.zones = True

    return check


def member(shape: Shape, cls: Any) -> Check:
    """The check of an enum. A text or number is accepted for a member that equals it."""

    def check(value: Any, found: Found) -> None:
        if type(value) is cls:
            return
        plain = value.value if isinstance(value, enum.Enum) else value
        try:
            fits = isinstance(plain, str | int) and not isinstance(plain, bool) and cls(plain) == value
        except ValueError:
            fits = False
        if not fits:
            shape.refuse(value, found)

    return check


def literal(shape: Shape) -> Check:
    """The check of a Literal. The decoder refuses other values of the same classes."""

    def check(value: Any, found: Found) -> None:
        plain = value.value if isinstance(value, enum.Enum) and value == value.value else value
        if type(plain) not in shape.exact:
            shape.refuse(value, found)

    return check


def any_value(value: Any, found: Found) -> None:
    """The check of `Any` in MessagePack: only what comes back equal without a type."""
    _plain_parts(value, found, any_value, PLAIN, PLAIN)


def any_in_json(value: Any, found: Found) -> None:
    """The check of `Any` in JSON."""
    if type(value) is not float:
        _plain_parts(value, found, any_in_json, PLAIN_IN_JSON, frozenset({str}))
    elif not math.isfinite(value):
        raise Unfit(f"JSON has no number {value!r}")


def _plain_parts(value: Any, found: Found, check: Check, exact: frozenset[type], keys: frozenset[type]) -> None:
    cls = class_as_any(value)
    if cls in exact:
        return
    if cls is list:
        _each(value, check, exact, found)
    elif cls is dict:
        wrong = next((key for key in value if type(key) not in keys), None)
        if wrong is not None or (None in value and types.NoneType not in keys):
            raise Unfit(f"a key of type `{class_of(wrong)}` in a value without a type: annotate the mapping")
        _each_of_mapping(value, check, exact, found)
    else:
        raise Unfit(f"a `{class_name(cls)}` does not come back equal where any type is allowed: annotate its type")


def raw_message(shape: Shape, encoding: Encoding) -> Check:
    """The check of `msgspec.Raw`: it must hold one encoded value, or it breaks those that follow."""
    decode = msgspec.msgpack.decode if encoding is Encoding.MSGPACK else msgspec.json.decode

    def check(value: Any, found: Found) -> None:
        if type(value) is not msgspec.Raw:
            shape.refuse(value, found)
        decode(value)

    return check


def _each(values: Iterable[Any], check: Check, exact: frozenset[type], found: Found) -> None:
    if exact and exact.issuperset(map(type, values)):
        return
    position = 0
    try:
        for item in values:
            if type(item) not in exact:
                check(item, found)
            position += 1
    except Unfit as error:
        raise error.within(f"[{position}]") from None


def _each_of_mapping(values: dict[Any, Any], check: Check, exact: frozenset[type], found: Found) -> None:
    if exact and exact.issuperset(map(type, values.values())):
        return
    current = None
    try:
        for key, item in values.items():
            if type(item) not in exact:
                current = key
                check(item, found)
    except Unfit as error:
        raise error.within(f"[{current!r:.40}]") from None


def collection(shape: Shape, cls: type[Collection[Any]], item: Shape) -> Check:
    """The check of a list, a tuple of any length, or a set."""

    def check(value: Any, found: Found) -> None:
        if type(value) is not cls:
            shape.refuse(value, found)
        _each(value, item.check, item.exact, found)

    return check


def fixed_tuple(shape: Shape, parts: list[Shape]) -> Check:
    """The check of a tuple with a type for each item."""

    cls: Any = tuple

    def check(value: Any, found: Found) -> None:
        if type(value) is not cls:
            shape.refuse(value, found)
        for position, (part, item) in enumerate(zip(parts, value, strict=False)):
            if type(item) not in part.exact:
                _inside(f"[{position}]", part.check, item, found)

    return check


def mapping(shape: Shape, key: Shape, item: Shape) -> Check:
    """The check of a dict."""

    cls: Any = dict

    def check(value: Any, found: Found) -> None:
        if type(value) is not cls:
            shape.refuse(value, found)
        if not (key.exact and key.exact.issuperset(map(type, value))):
            for each in value:
                _inside(f"[{each!r:.40}]", key.check, each, found)
        _each_of_mapping(value, item.check, item.exact, found)

    return check


def typed_dict(shape: Shape, fields: dict[str, Shape]) -> Check:
    """The check of a TypedDict. The decoder finds missing keys."""

    cls: Any = dict

    def check(value: Any, found: Found) -> None:
        if type(value) is not cls:
            shape.refuse(value, found)
        for name, part in value.items():
            field = fields.get(name)
            if field is None:
                raise Unfit(f"`{shape.name}` has no key {name!r:.40}, so its value would be lost")
            if type(part) not in field.exact:
                _inside(f".{name}", field.check, part, found)

    return check


def structured(shape: Shape, cls: type, fields: list[tuple[str, Shape, bool]]) -> Check:
    """The check of a class with fields: name, shape, and whether the field may be UNSET."""
    read = _reader([name for name, _, _ in fields])
    defaults = _defaults_in_class(cls)

    def check(value: Any, found: Found) -> None:
        if type(value) is not cls:
            if isinstance(value, cls):
                raise subclass_error(value, cls)
            shape.refuse(value, found)
        # msgspec leaves a default that was not sent in the class, and writes only what is in the object.
        for name in defaults:
            if name not in value.__dict__:
                value.__dict__[name] = defaults[name]
        try:
            parts = read(value)
        except AttributeError as error:
            raise Unfit(f"`{shape.name}` has lost an attribute: {error}") from None
        current = ""
        try:
            for part, (name, field, may_be_unset) in zip(parts, fields, strict=True):
                if type(part) not in field.exact and not (may_be_unset and part is msgspec.UNSET):
                    current = name
                    field.check(part, found)
        except Unfit as error:
            raise error.within(f".{current}") from None

    return check


def _defaults_in_class(cls: Any) -> dict[str, Any]:
    """The defaults that a dataclass keeps as attributes of the class: all plain ones, unless it has slots."""
    if not dataclasses.is_dataclass(cls):
        return {}
    return {
        field.name: field.default
        for field in dataclasses.fields(cls)
        if field.default is not dataclasses.MISSING
        and not isinstance(inspect.getattr_static(cls, field.name, None), types.MemberDescriptorType)
    }


def _reader(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """A function that reads all these attributes; `attrgetter` returns no tuple for a single one."""
    if len(names) > 1:
        return operator.attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


def subclass_error(value: object, cls: type) -> Cut:
    """The refusal of a subclass where its base class is annotated."""
    own = class_of(value)
    return Cut(
        f"Expected `{class_name(cls)}`, got its subclass `{own}`, whose own fields would be lost: "
        f"annotate `{own}`, or a union of tagged msgspec Structs"
    )


def _inside(step: str, check: Check, value: Any, found: Found) -> None:
    try:
        check(value, found)
    except Unfit as error:
        raise error.within(step) from None
