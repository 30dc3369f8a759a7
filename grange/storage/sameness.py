"""Finds the first difference between a value and what its stored form reads back as. Pure; called by `state.py`.

Equal in Python is not the same: `-0.0 == 0.0`, `True == 1`, a mapping's `==` ignores its order, and an object without
`__eq__` equals only itself. The rules:

- Structured objects have the same class and the same fields. Containers have the same items, mappings in the same
  order.
- Plain values are equal, with the sign of zero, the digits of a Decimal, and the UTC offset and named zone of a date.
  NaN is the same as NaN.
- Two differences are allowed, because `==` and type checkers allow them too. A subclass of a builtin type may come back
  as that type (a `StrEnum` where `str` is annotated, a `defaultdict` where `dict` is). An int may come back as the
  equal float (`3` where `float` is annotated).
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import itertools
import math
import reprlib
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, cast

import msgspec

MAX_DEPTH = 150
"""Levels that are compared one by one, about two frames each; deeper parts must be equal by `==`."""

_EXACT_FLOAT = 2**53
"""Integers up to this have a float each."""

_TIMES = (dt.datetime, dt.time)
_PLAIN = (str, bytes, bytearray, memoryview, int, float, uuid.UUID, dt.date, dt.time, dt.timedelta)
_COMPARED_BY_EQ = frozenset({str, bytes, bool, type(None), uuid.UUID, dt.date, dt.timedelta})
"""Classes whose equal values of one class are the same."""

_NOTHING = object()
_LONG = (str, bytes, list, tuple, dict, AbstractSet)


class Difference(msgspec.Struct, frozen=True):
    """The place of a difference, such as `.items['a'][0]` (empty: the value itself), and both sides as text."""

    path: str
    before: str
    after: str


def difference(before: Any, after: Any, depth: int = MAX_DEPTH) -> Difference | None:
    """The first difference between a value and its decoded copy; None when they are the same."""
    kind = type(before)
    if before is after:
        return None
    if isinstance(before, enum.Enum):
        same = before == after if kind is type(after) else isinstance(before, _PLAIN) and _is_plain(before.value, after)
    elif isinstance(before, _PLAIN):
        same = _is_plain(before, after)
    elif isinstance(before, decimal.Decimal):
        same = isinstance(after, decimal.Decimal) and before.as_tuple() == after.as_tuple()
    else:
        return _structure_difference(before, after, depth - 1)
    return None if same else _differ(before, after)


def _structure_difference(before: Any, after: Any, depth: int) -> Difference | None:
    names = _field_names(before)
    if type(before) is type(after) and depth > 0 and names is not None:
        return _field_difference(before, after, names, depth)
    if not isinstance(before, type(after)) or depth <= 0 or type(after) is object:
        return None if type(before) is type(after) and is_equal(before, after) else _differ(before, after)
    if isinstance(before, Mapping):
        return _mapping_difference(cast("Any", before), after, depth)
    if isinstance(before, AbstractSet):
        return _set_difference(cast("Any", before), after, depth)
    if isinstance(before, list | tuple):
        return _item_difference(cast("Any", before), after, depth)
    return None if type(before) is type(after) and is_equal(before, after) else _differ(before, after)


def _is_plain(before: Any, after: Any) -> bool:
    """Whether two plain values are the same."""
    if isinstance(before, bool) or isinstance(after, bool):
        return before is after
    if isinstance(after, float):
        if isinstance(before, int):
            return abs(before) <= _EXACT_FLOAT and before == after and (before != 0 or math.copysign(1, after) == 1)
        return isinstance(before, float) and _is_same_float(before, after)
    if not isinstance(before, type(after)):
        return False
    if isinstance(before, _TIMES) and isinstance(after, _TIMES):
        return _is_same_time(before, after)
    return bool(before == after)


def _is_same_float(before: float, after: float) -> bool:
    if math.isnan(before):
        return math.isnan(after)
    return before == after and math.copysign(1, before) == math.copysign(1, after)


def _is_same_time(before: dt.datetime | dt.time, after: dt.datetime | dt.time) -> bool:
    """Whether both read the same on a clock, at the same offset, in the same named zone."""
    if before.replace(tzinfo=None) != after.replace(tzinfo=None) or before.utcoffset() != after.utcoffset():
        return False
    if (before.tzinfo is None) is not (after.tzinfo is None) or _zone(before.tzinfo) != _zone(after.tzinfo):
        return False
    return before.fold == after.fold or isinstance(after.tzinfo, dt.timezone)


def _zone(tzinfo: dt.tzinfo | None) -> str | None:
    """The name of a zone with rules, such as Europe/Berlin; None for a fixed offset, for UTC and for no zone."""
    if tzinfo is None or isinstance(tzinfo, dt.timezone):
        return None
    name = getattr(tzinfo, "key", None) or getattr(tzinfo, "zone", None)
    return None if name in (None, "UTC", "Etc/UTC") else str(name)


def _mapping_difference(before: Mapping[Any, Any], after: Mapping[Any, Any], depth: int) -> Difference | None:
    for key, other in itertools.zip_longest(before, after, fillvalue=_NOTHING):
        if key is _NOTHING or other is _NOTHING:
            present = after[other] if key is _NOTHING else before[key]
            sides = ("nothing", _shown(present)) if key is _NOTHING else (_shown(present), "nothing")
            return Difference(f"[{_shown(other if key is _NOTHING else key)}]", *sides)
        if key is not other and difference(key, other, depth) is not None:
            return Difference("", f"the key {_typed(key, other)}", f"the key {_typed(other, key)} in its place")
        found = _part_difference(before[key], after[other], depth)
        if found is not None:
            return _within(f"[{_shown(key)}]", found)
    return None


def _set_difference(before: AbstractSet[Any], after: AbstractSet[Any], depth: int) -> Difference | None:
    others = {element: element for element in after}
    for element in before:
        other = others.get(element, _NOTHING)
        if other is _NOTHING or _part_difference(element, other, depth) is not None:
            return Difference("", f"the element {_shown(element)}", "a set without it")
    return None if len(before) == len(after) else _differ(before, after)


def _item_difference(before: Sequence[Any], after: Sequence[Any], depth: int) -> Difference | None:
    for index, (item, other) in enumerate(zip(before, after, strict=False)):
        found = _part_difference(item, other, depth)
        if found is not None:
            return _within(f"[{index}]", found)
    return None if len(before) == len(after) else _differ(before, after)


def _field_difference(before: Any, after: Any, names: Iterable[str], depth: int) -> Difference | None:
    for name in names:
        one, other = getattr(before, name, _NOTHING), getattr(after, name, _NOTHING)
        if one is _NOTHING or other is _NOTHING:
            found = None if one is other else Difference("", _shown(one), _shown(other))
        else:
            found = _part_difference(one, other, depth)
        if found is not None:
            return _within(f".{name}", found)
    return None


def _part_difference(before: Any, after: Any, depth: int) -> Difference | None:
    """`difference`, with a short way for the common classes."""
    kind = type(before)
    if kind is type(after) and kind in _COMPARED_BY_EQ and before == after:
        return None
    return difference(before, after, depth)


_DECLARED_FIELDS: tuple[tuple[str, Callable[[Any], str]], ...] = (
    ("__struct_fields__", str),
    ("__dataclass_fields__", str),
    ("__attrs_attrs__", lambda attribute: attribute.name),
    ("_fields", str),
)
"""The class attribute that lists the fields of a Struct, dataclass, attrs class or NamedTuple."""


def _field_names(value: Any) -> Iterable[str] | None:
    """The names of a structured object's fields; None for an object that only its own `==` can compare."""
    kind = type(value)
    for declared, name_of in _DECLARED_FIELDS:
        fields = getattr(kind, declared, None)
        if fields is not None:
            return map(name_of, fields)
    models = getattr(kind, "__pydantic_fields__", None)
    if models is not None:
        return [*models, "__pydantic_extra__", "__pydantic_private__"]
    has_own_eq = getattr(kind, "__eq__", None) is not object.__eq__
    return list(vars(value)) if hasattr(value, "__dict__") and not has_own_eq else None


def is_equal(before: Any, after: Any) -> bool:
    """Whether `==` says so; False if it fails, as the `==` of an author's class may."""
    try:
        return bool(before == after)
    except Exception:  # not known to be equal
        return False


def _within(place: str, found: Difference) -> Difference:
    return Difference(place + found.path, found.before, found.after)


def _differ(before: Any, after: Any) -> Difference:
    return Difference("", _typed(before, after), _typed(after, before))


def _typed(value: Any, other: Any) -> str:
    """The value as text, with its class if the other has another class."""
    shown = _shown(value)
    return shown if type(value) is type(other) else f"{shown} ({type(value).__qualname__})"


def _shown(value: Any) -> str:
    """A short text of a value. The `repr` of an author's class may fail."""
    if value is _NOTHING:
        return "nothing"
    try:
        text = reprlib.repr(value) if isinstance(value, _LONG) else repr(value)
    except Exception:
        return f"a {type(value).__qualname__}"
    return text if len(text) <= 80 else f"{text[:79]}…"
