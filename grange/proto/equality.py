"""Compares a value with what it was read back as: in calls (`shapes.py`) and state (`storage/states/codec.py`). Pure.

`==` is too lenient (`1 == True`, `0.0 == -0.0`, mappings in another order, equal instants in two zones, fields that
are left out of it) and too strict (NaN, classes without `__eq__`). The rules:

- Structured objects and containers have the same class and the same parts, mappings in the same order.
- Scalars are equal and of the same builtin class, with the sign of zero, the digits of a Decimal, and the offset, the
  fold and the zone key of a moment. NaN is the same as NaN.
- Two differences are allowed, because type checkers allow them too. A scalar may come back as its builtin class, or the
  other way round (a `StrEnum` where `str` is annotated, `bytes` for `bytearray`). An int may come back as the equal
  float (`3` where `float` is annotated).

The texts of a difference show no secret: no value of a class with `get_secret_value`, as pydantic's have.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import itertools
import math
import reprlib
import uuid
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, TypeGuard

import msgspec

from grange.proto.zones import class_as_any, zone_key

MAX_DEPTH = 150
"""Levels that are compared one by one, about two frames each; deeper parts must be equal by `==`."""

_EXACT_FLOAT = 2**53
"""Integers up to this have a float each."""

_SCALARS: tuple[tuple[Any, Any], ...] = (
    (bool, bool),
    (int, int),
    (float, float),
    (str, str),
    ((bytes, bytearray, memoryview), bytes),
    (decimal.Decimal, decimal.Decimal),
    (dt.datetime, dt.datetime),
    (dt.date, dt.date),
    (dt.time, dt.time),
    (dt.timedelta, dt.timedelta),
    (uuid.UUID, uuid.UUID),
)
"""The builtin class of a scalar. The order counts: a bool is an int too, and a datetime a date."""

_ALL_SCALARS = (
    int, float, str, bytes, bytearray, memoryview, decimal.Decimal, dt.date, dt.time, dt.timedelta, uuid.UUID
)  # fmt: skip

_COMPARED_BY_EQ = frozenset({str, bytes, int, bool, type(None), uuid.UUID, dt.date, dt.timedelta})
"""Classes whose equal values of one class are the same."""

_LONG = (str, bytes, list, tuple, dict, AbstractSet)
"""Classes whose `repr` is cut before it is made."""

_NOTHING = object()


class Difference(msgspec.Struct, frozen=True):
    """The place of a difference, such as `.items['a'][0]` (empty: the value itself), and both sides as text."""

    path: str
    before: str
    after: str

    def within(self, step: str) -> Difference:
        """The same, seen from the value that holds this one."""
        return Difference(step + self.path, self.before, self.after)


def difference(before: Any, after: Any) -> Difference | None:
    """The first difference between a value and what it was read back as; None when they are the same."""
    return _difference(before, after, MAX_DEPTH)


def is_equal(before: Any, after: Any) -> bool:
    """Whether `==` says so; False if it fails, as the `==` of an author's class may."""
    try:
        return bool(before == after)
    except Exception:  # not known to be equal
        return False


def field_names(value: Any) -> Iterable[str] | None:
    """The names of the fields of a structured value; None for any other value."""
    cls = class_as_any(value)
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls)]
    if hasattr(cls, "__attrs_attrs__"):
        return [field.name for field in cls.__attrs_attrs__]
    if hasattr(cls, "__pydantic_private__"):
        return [*cls.model_fields, "__pydantic_extra__", "__pydantic_private__"]
    return cls._fields if isinstance(value, tuple) and hasattr(cls, "_fields") else None


def parts_of(value: Any) -> Iterable[tuple[str, Any]]:
    """The values inside a value, each with its step in a path; the keys of a mapping come first."""
    if _is_mapping(value):
        keys = [(f"[{_shown(key)}]", key) for key in value]
        return [*keys, *((f"[{_shown(key)}]", item) for key, item in value.items())]
    names = field_names(value)
    if names is not None:
        return [(f".{name}", getattr(value, name, None)) for name in names]
    items = _is_sequence(value) or _is_set(value)
    return [(f"[{position}]", item) for position, item in enumerate(value)] if items else []


def _difference(before: Any, after: Any, depth: int) -> Difference | None:
    cls = class_as_any(before)
    if before is after:
        return None
    if cls is class_as_any(after):
        return None if cls in _COMPARED_BY_EQ and before == after else _difference_in_class(cls, before, after, depth)
    scalar = _scalar_class(before)
    return None if scalar is not None and _is_same_scalar(scalar, before, after) else _differ(before, after)


def _difference_in_class(cls: Any, before: Any, after: Any, depth: int) -> Difference | None:
    """The first difference of two values of one class."""
    scalar = _scalar_class(before)
    if scalar is not None:
        same = _is_same_scalar(scalar, before, after)
    elif _is_secret(before):
        same = _difference(before.get_secret_value(), after.get_secret_value(), depth - 1) is None
    elif depth <= 0 or isinstance(before, enum.Enum):
        same = is_equal(before, after)
    else:
        names = _compared_fields(before)
        if names is not None:
            return _difference_of_fields(before, after, names, depth - 1)
        if _is_sequence(before):
            return _difference_of_sequences(before, after, depth - 1)
        if _is_mapping(before):
            return _difference_of_mappings(before, after, depth - 1)
        if _is_set(before):
            return _difference_of_sets(before, after, depth - 1)
        same = is_equal(before, after)
    return None if same else _differ(before, after)


def _difference_of_sequences(before: Any, after: Any, depth: int) -> Difference | None:
    for index, (item, other) in enumerate(zip(before, after, strict=False)):
        found = _difference(item, other, depth)
        if found is not None:
            return found.within(f"[{index}]")
    return None if len(before) == len(after) else _differ(before, after)


def _compared_fields(value: Any) -> Iterable[str] | None:
    """The fields of a structured value, or the attributes of an object without `__eq__`."""
    names = field_names(value)
    if names is None and class_as_any(value).__eq__ is object.__eq__:
        attributes: dict[str, Any] | None = getattr(value, "__dict__", None)
        return None if attributes is None else list(attributes)
    return names


def _difference_of_fields(before: Any, after: Any, names: Iterable[str], depth: int) -> Difference | None:
    for name in names:
        found = _difference(getattr(before, name, _NOTHING), getattr(after, name, _NOTHING), depth)
        if found is not None:
            return found.within(f".{name}")
    return None


def _difference_of_mappings(before: Mapping[Any, Any], after: Mapping[Any, Any], depth: int) -> Difference | None:
    pairs = itertools.zip_longest(before.items(), after.items(), fillvalue=(_NOTHING, _NOTHING))
    for (key, item), (other_key, other) in pairs:
        if key is not _NOTHING and other_key is not _NOTHING:
            keys = _difference(key, other_key, depth)
            if keys is not None:
                return Difference("", f"the key {keys.before}", f"the key {keys.after} in its place")
        found = _difference(item, other, depth)
        if found is not None:
            return found.within(f"[{_shown(other_key if key is _NOTHING else key)}]")
    return None


def _difference_of_sets(before: AbstractSet[Any], after: AbstractSet[Any], depth: int) -> Difference | None:
    others = {element: element for element in after}
    for element in before:
        if _difference(element, others.get(element, _NOTHING), depth) is not None:
            return Difference("", f"the element {_shown(element)}", "a set without it")
    return None if len(before) == len(after) else _differ(before, after)


def _scalar_class(value: Any) -> Any:
    if not _is_scalar(value):
        return None
    return next(scalar for classes, scalar in _SCALARS if isinstance(value, classes))


def _is_scalar(value: object) -> bool:
    return isinstance(value, _ALL_SCALARS)


def _is_same_scalar(scalar: Any, before: Any, after: Any) -> bool:
    other = _scalar_class(after)
    if other is float:
        exact = scalar is float or (scalar is int and abs(before) <= _EXACT_FLOAT)
        return exact and _is_same_float(float(before), float(after))
    if scalar is not other:
        return False
    if scalar is decimal.Decimal:
        return bool(before.as_tuple() == after.as_tuple())  # == raises for a signalling NaN
    if scalar is dt.datetime or scalar is dt.time:
        return _moment(before) == _moment(after)
    return is_equal(before, after)


def _is_same_float(before: float, after: float) -> bool:
    if math.isnan(before):
        return math.isnan(after)
    return before == after and math.copysign(1, before) == math.copysign(1, after)


def _moment(value: dt.datetime | dt.time) -> tuple[object, ...]:
    return value.replace(tzinfo=None, fold=0), value.fold, value.utcoffset(), zone_key(value.tzinfo)


def _is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping)


def _is_set(value: object) -> TypeGuard[AbstractSet[Any]]:
    return isinstance(value, AbstractSet)


def _is_sequence(value: object) -> TypeGuard[collections.deque[Any] | list[Any] | tuple[Any, ...]]:
    return isinstance(value, list | tuple | collections.deque)


def _is_secret(value: object) -> bool:
    return hasattr(class_as_any(value), "get_secret_value")


def _holds_secret(value: Any, depth: int = MAX_DEPTH) -> bool:
    """Whether a secret is inside a value, or may be too deep inside to be found."""
    if _is_secret(value) or depth == 0:
        return True
    if _is_scalar(value):
        return False
    names = field_names(value)
    if names is not None:
        return any(_holds_secret(getattr(value, name, None), depth - 1) for name in names)
    if _is_mapping(value) and any(_holds_secret(item, depth - 1) for item in value.values()):
        return True
    parts = value if _is_mapping(value) or _is_sequence(value) or _is_set(value) else ()
    return any(_holds_secret(part, depth - 1) for part in parts)


def _differ(before: Any, after: Any) -> Difference:
    if not (_holds_secret(before) or _holds_secret(after)):
        return Difference("", _typed(before, after), _typed(after, before))
    if type(before) is type(after):
        return Difference("", f"this {_class_of(before)}", f"another {_class_of(after)}")
    return Difference("", _named(before), _named(after))


def _typed(value: Any, other: Any) -> str:
    """The value as text, with its class if the other has another class."""
    shown = _shown(value)
    is_told = value is _NOTHING or other is _NOTHING or type(value) is type(other)
    return shown if is_told else f"{shown} ({type(value).__qualname__})"


def _shown(value: Any) -> str:
    """A short text of a value. The `repr` of an author's class may fail."""
    if value is _NOTHING or _holds_secret(value):
        return _named(value)
    try:
        text = reprlib.repr(value) if _is_long(value) else repr(value)
    except Exception:
        return _named(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _is_long(value: object) -> bool:
    return isinstance(value, _LONG)


def _named(value: object) -> str:
    return "nothing" if value is _NOTHING else f"a {_class_of(value)}"


def _class_of(value: object) -> str:
    return f"`{type(value).__qualname__}`"
