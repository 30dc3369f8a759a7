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


class Lifts:
    """Makes the functions. `decode_other` is msgspec's `dec_hook`: `msgspec.convert` leaves it out for keys."""

    def __init__(self, decode_other: Callable[[Any, Any], Any]) -> None:
        self._decode_other = decode_other
        self._made: dict[int, Lift] = {}

    def of(self, node: Any) -> Lift:
        """The function for a type that msgspec has described."""
        lift = self._made.get(id(node))
        if lift is None:
            # A recursive type finds this entry while its own function is made.
            self._made[id(node)] = lambda data: self._made[id(node)](data)
            lift = self._made[id(node)] = self._make(node)
        return lift

    def _make(self, node: Any) -> Lift:
        if isinstance(node, ms.Metadata):
            return self.of(node.type)
        if isinstance(node, ms.DateTimeType | ms.TimeType):
            return _moment(dt.datetime if isinstance(node, ms.DateTimeType) else dt.time)
        if isinstance(node, _SEQUENCES):
            return _items(self.of(node.item_type))
        if isinstance(node, ms.TupleType):
            return _positions([self.of(part) for part in node.item_types])
        if isinstance(node, ms.DictType):
            return _mapping(self._key(node.key_type), self.of(node.value_type))
        if isinstance(node, ms.NamedTupleType) or getattr(node, "array_like", False):
            tag = [_unchanged] if getattr(node, "tag", None) is not None else []
            return _positions(tag + [self.of(field.type) for field in node.fields])
        if hasattr(node, "fields"):
            return _fields({field.encode_name: self.of(field.type) for field in node.fields})
        return self._union(node) if isinstance(node, ms.UnionType) else _unchanged

    def _key(self, node: Any) -> Lift:
        if not isinstance(node, ms.CustomType):
            return self.of(node)
        return lambda data: self._decode_other(node.cls, data)

    def _union(self, node: ms.UnionType) -> Lift:
        """msgspec permits one part per form of data, or several Structs that a tag distinguishes."""
        tagged = {part.tag: self.of(part) for part in node.types if isinstance(part, ms.StructType)}
        tag_field = next((part.tag_field for part in node.types if isinstance(part, ms.StructType)), None)
        by_form: dict[type, Lift] = {}
        for part in node.types:
            by_form.setdefault(_form(part), self.of(part))

        def lift(data: Any) -> Any:
            chosen = by_form.get(list if isinstance(data, tuple) else type(data), _unchanged)
            if len(tagged) > 1 and isinstance(data, dict):
                chosen = tagged.get(data.get(tag_field), chosen)
            elif len(tagged) > 1 and isinstance(data, list | tuple) and data and isinstance(data[0], str | int):
                chosen = tagged.get(data[0], chosen)
            return chosen(data)

        return lift


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


def _form(node: Any) -> type:
    """The builtin that a type is decoded from."""
    if isinstance(node, ms.Metadata):
        return _form(node.type)
    if isinstance(node, ms.DateTimeType | ms.TimeType):
        return str
    if isinstance(node, (*_SEQUENCES, ms.TupleType, ms.NamedTupleType)) or getattr(node, "array_like", False):
        return list
    return dict if isinstance(node, ms.DictType) or hasattr(node, "fields") else object
