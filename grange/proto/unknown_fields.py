"""Finds fields in JSON that no class has. Pure.

msgspec ignores them, so that a caller of a newer version is understood. In JSON that a person writes, as for
`grange call`, such a field is a mistake whose value would be lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import inspect as ms

from grange.proto.zones import is_dict, is_sequence

_MAPPINGS = (ms.DictType, ms.DataclassType, ms.StructType, ms.TypedDictType)
_CONTAINERS = (ms.ListType, ms.SetType, ms.FrozenSetType, ms.VarTupleType)


def unknown_field(node: Any, data: Any) -> str | None:
    """The path of the first field in `data` that the described type does not have; None if it has all.

    Types that msgspec does not know, such as pydantic models, judge their fields themselves.
    """
    if isinstance(node, ms.Metadata):
        return unknown_field(node.type, data)
    if isinstance(node, ms.UnionType):
        found = [unknown_field(part, data) for part in node.types if _fits(part, data)]
        return None if None in found or not found else found[0]
    if isinstance(node, ms.StructType) and node.array_like and is_sequence(data):
        return _first(
            (f"[{i}]", unknown_field(f.type, item)) for i, (f, item) in enumerate(zip(node.fields, data, strict=False))
        )
    if is_sequence(data):
        return _first((f"[{i}]", unknown_field(part, item)) for i, (part, item) in enumerate(_items(node, data)))
    if not is_dict(data):
        return None
    if isinstance(node, ms.DictType):
        return _first((f"[{key!r:.40}]", unknown_field(node.value_type, item)) for key, item in data.items())
    if isinstance(node, ms.DataclassType | ms.StructType | ms.TypedDictType):
        return _of_fields(node, data)
    return None


def _of_fields(node: Any, data: dict[Any, Any]) -> str | None:
    fields = {field.encode_name: field.type for field in node.fields}
    tag = getattr(node, "tag_field", None)
    for name in data:
        if name not in fields and name != tag:
            return f".{name}"
    return _first((f".{name}", unknown_field(fields[name], item)) for name, item in data.items() if name in fields)


def _items(node: Any, data: list[Any] | tuple[Any, ...]) -> Iterable[tuple[Any, Any]]:
    if isinstance(node, _CONTAINERS):
        return ((node.item_type, item) for item in data)
    if isinstance(node, ms.TupleType):
        return zip(node.item_types, data, strict=False)
    return ()


def _fits(node: Any, data: Any) -> bool:
    """Whether a part of a union may describe the data. A tag names one part."""
    if isinstance(node, ms.Metadata):
        return _fits(node.type, data)
    if isinstance(node, ms.StructType) and node.tag_field is not None:
        return is_dict(data) and data.get(node.tag_field) == node.tag
    if is_dict(data):
        return isinstance(node, (*_MAPPINGS, ms.AnyType, ms.CustomType))
    if is_sequence(data):
        return isinstance(node, (*_CONTAINERS, ms.TupleType, ms.AnyType, ms.CustomType))
    return True


def _first(parts: Iterable[tuple[str, str | None]]) -> str | None:
    return next((step + inner for step, inner in parts if inner is not None), None)
