"""Reads moments that only `zones.py` writes, where the type of a value says that there is a moment. Pure.

msgspec decodes all other payloads itself. A payload with such texts is decoded to builtins, the functions made here
replace the texts at the places of datetimes and times, and msgspec converts the builtins to the type.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import inspect as ms

from grange.proto.zones import moment_of

Lift = Callable[[Any], Any]
"""Replaces texts of moments in decoded builtins. Leaves data that do not fit; msgspec refuses them afterwards."""

_SEQUENCES = (ms.ListType, ms.VarTupleType, ms.SetType, ms.FrozenSetType)


def lift_for(node: Any, made: dict[int, Lift] | None = None) -> Lift:
    """The function for a type that msgspec has described."""
    made = {} if made is None else made
    lift = made.get(id(node))
    if lift is None:
        # A recursive type finds this entry while its own function is made.
        made[id(node)] = lambda data: made[id(node)](data)
        lift = made[id(node)] = _make(node, made)
    return lift


def _make(node: Any, made: dict[int, Lift]) -> Lift:
    if isinstance(node, ms.Metadata):
        return lift_for(node.type, made)
    if isinstance(node, ms.DateTimeType | ms.TimeType):
        return _moment(dt.datetime if isinstance(node, ms.DateTimeType) else dt.time)
    if isinstance(node, _SEQUENCES):
        return _items(lift_for(node.item_type, made))
    if isinstance(node, ms.TupleType):
        return _positions([lift_for(part, made) for part in node.item_types])
    if isinstance(node, ms.DictType):
        return _mapping(lift_for(node.key_type, made), lift_for(node.value_type, made))
    if isinstance(node, ms.NamedTupleType) or getattr(node, "array_like", False):
        tag = [_unchanged] if getattr(node, "tag", None) is not None else []
        return _positions(tag + [lift_for(field.type, made) for field in node.fields])
    if hasattr(node, "fields"):
        return _fields({field.encode_name: lift_for(field.type, made) for field in node.fields})
    return _union(node, made) if isinstance(node, ms.UnionType) else _unchanged


def _unchanged(data: Any) -> Any:
    return data


def _moment(cls: type[dt.datetime | dt.time]) -> Lift:
    def lift(data: Any) -> Any:
        if not isinstance(data, str):
            return data
        moment = moment_of(data)
        if moment is not None:
            return moment
        try:
            return msgspec.convert(data, cls)
        except msgspec.ValidationError:
            return data

    return lift


def _items(item: Lift) -> Lift:
    return lambda data: [item(part) for part in data] if isinstance(data, list | tuple) else data


def _positions(parts: list[Lift]) -> Lift:
    def lift(data: Any) -> Any:
        if not isinstance(data, list | tuple):
            return data
        lifted = [part(item) for part, item in zip(parts, data, strict=False)]
        return type(data)([*lifted, *data[len(lifted) :]])  # a tuple stays one: it may be the key of a mapping

    return lift


def _mapping(key: Lift, item: Lift) -> Lift:
    def lift(data: Any) -> Any:
        return {key(k): item(value) for k, value in data.items()} if isinstance(data, dict) else data

    return lift


def _fields(parts: dict[str, Lift]) -> Lift:
    def lift(data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {name: parts.get(name, _unchanged)(value) for name, value in data.items()}

    return lift


def _union(node: ms.UnionType, made: dict[int, Lift]) -> Lift:
    """msgspec permits one part per form of data, or several Structs that a tag distinguishes."""
    tagged = {part.tag: lift_for(part, made) for part in node.types if isinstance(part, ms.StructType)}
    tag_field = next((part.tag_field for part in node.types if isinstance(part, ms.StructType)), None)
    by_form: dict[type, Lift] = {}
    for part in node.types:
        by_form.setdefault(_form(part), lift_for(part, made))

    def lift(data: Any) -> Any:
        chosen = by_form.get(list if isinstance(data, tuple) else type(data), _unchanged)
        if len(tagged) > 1 and isinstance(data, dict):
            chosen = tagged.get(data.get(tag_field), chosen)
        elif len(tagged) > 1 and isinstance(data, list | tuple) and data and isinstance(data[0], str | int):
            chosen = tagged.get(data[0], chosen)
        return chosen(data)

    return lift


def _form(node: Any) -> type:
    """The builtin that a type is decoded from."""
    if isinstance(node, ms.Metadata):
        return _form(node.type)
    if isinstance(node, ms.DateTimeType | ms.TimeType):
        return str
    if isinstance(node, (*_SEQUENCES, ms.TupleType, ms.NamedTupleType)) or getattr(node, "array_like", False):
        return list
    return dict if isinstance(node, ms.DictType) or hasattr(node, "fields") else object
