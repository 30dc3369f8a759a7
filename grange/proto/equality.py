"""Compares a value with what it was read back as. Pure.

`==` is too lenient (`1 == True`, `0.0 == -0.0`, a subclass, equal instants in two zones) and too strict (NaN, classes
without `__eq__`).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import math
from collections.abc import Iterable
from typing import Any

import msgspec

from grange.proto.zones import zone_key


def difference(left: Any, right: Any) -> str | None:
    """The path (`.items[3].owner`) of the first difference between two values; None if there is none."""
    if left is right:
        return None
    if type(left) is not type(right):
        return ""
    if isinstance(left, dict):
        return _of_dicts(left, right)
    if isinstance(left, list | tuple):
        if len(left) != len(right):
            return ""
        return _first((f"[{i}]", a, b) for i, (a, b) in enumerate(zip(left, right, strict=True)))
    fields = field_names(left)
    if fields is not None:
        return _first((f".{name}", getattr(left, name, None), getattr(right, name, None)) for name in fields)
    return None if _equal(left, right) else ""


def field_names(value: Any) -> Iterable[str] | None:
    """The names of the fields of a structured value; None for any other value."""
    cls: Any = type(value)
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls)]
    if hasattr(cls, "__attrs_attrs__"):
        return [field.name for field in cls.__attrs_attrs__]
    if hasattr(cls, "__pydantic_private__"):
        return [*cls.model_fields, "__pydantic_extra__", "__pydantic_private__"]
    return None


def parts_of(value: Any) -> Iterable[tuple[str, Any]]:
    """The values inside a value, each with its step in a path; the keys of a mapping come first."""
    if isinstance(value, dict):
        keys = [(f"[{key!r:.40}]", key) for key in value]
        return [*keys, *((f"[{key!r:.40}]", item) for key, item in value.items())]
    if isinstance(value, list | tuple | set | frozenset):
        return [(f"[{position}]", item) for position, item in enumerate(value)]
    names = field_names(value)
    return [] if names is None else [(f".{name}", getattr(value, name, None)) for name in names]


def _first(parts: Iterable[tuple[str, Any, Any]]) -> str | None:
    for step, left, right in parts:
        inner = difference(left, right)
        if inner is not None:
            return step + inner
    return None


def _of_dicts(left: dict[Any, Any], right: dict[Any, Any]) -> str | None:
    if len(left) != len(right):
        return ""
    for (key, value), (other_key, other) in zip(left.items(), right.items(), strict=True):
        inner = "" if difference(key, other_key) is not None else difference(value, other)
        if inner is not None:
            return f"[{key!r:.40}]{inner}"
    return None


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, float):
        both_nan = math.isnan(left) and math.isnan(right)
        return both_nan or (left == right and math.copysign(1, left) == math.copysign(1, right))
    if isinstance(left, decimal.Decimal):
        return str(left) == str(right)  # == raises for a signalling NaN
    if isinstance(left, dt.datetime | dt.time):
        return _moment(left) == _moment(right)
    if isinstance(left, set | frozenset):
        return bool(left == right) and sorted(map(_class_name, left)) == sorted(map(_class_name, right))
    return bool(left == right)


def _class_name(item: object) -> str:
    return type(item).__qualname__


def _moment(value: dt.datetime | dt.time) -> tuple[object, ...]:
    return value.replace(tzinfo=None, fold=0), value.fold, value.utcoffset(), zone_key(value.tzinfo)
