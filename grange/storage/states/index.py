"""The indexed fields of a state: which values a store finds its record by. Pure.

A store compares texts and numbers. This file says what is stored of each other kind of value: true and false as 1 and
0, an enum as its value, a UUID as its text, a date as `2026-11-29`, a datetime in UTC as `2026-11-29T12:00:00.000000Z`,
so that texts are ordered as the moments are. None is in no index.
"""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import inspect as ms

from grange.errors import ConfigurationError, InvalidCall
from grange.proto.shapes import annotation, type_name
from grange.proto.zones import class_as_any, is_dict
from grange.storage.sets import IndexEntry
from grange.storage.states.layout import Layout, Part

_MOST = 2**53
"""Integers up to this are exact in the number column of every store."""

Encode = Callable[[Any], str | float]


class IndexedField(msgspec.Struct, frozen=True):
    """One indexed field: `kind` is the type of its values, `encode` makes what is stored of one that is not None."""

    name: str
    unique: bool
    kind: Any
    encode: Encode


class Index:
    """The indexed fields of one type of state. Falsy without any."""

    def __init__(self, layout: Layout, place: str) -> None:
        """Raises ConfigurationError for a field that cannot be indexed."""
        root = layout.root()
        for part in layout.parts():
            if part is not root and part.indexed:
                raise ConfigurationError(
                    f"{place}: Indexed() has no effect on {part.name}.{next(iter(part.indexed))}, because only fields "
                    "of the state's own class are indexed; keep a copy of the value there"
                )
        self.fields: Mapping[str, IndexedField] = {} if root is None else _fields(root, place)

    def __bool__(self) -> bool:
        return bool(self.fields)

    def entries(self, value: Any) -> tuple[IndexEntry, ...]:
        """What is stored in the index for a value. Raises ValueError for one that has no place in an order."""
        entries: list[IndexEntry] = []
        for field in self.fields.values() if value is not None else ():
            held = value.get(field.name) if is_dict(value) else getattr(value, field.name)
            if held is None or held is msgspec.UNSET:
                continue
            try:
                entries.append(IndexEntry(field.name, field.encode(held), field.unique))
            except ValueError as error:
                raise ValueError(f"the indexed field {field.name!r}: {error}") from None
        return tuple(entries)

    def wanted(self, where: Mapping[str, Any]) -> dict[str, str | float]:
        """What a store looks for. `where` has plain data by field. Raises InvalidCall for what no index has."""
        return {name: self._wanted(self.field(name), data) for name, data in where.items()}

    def field(self, name: str) -> IndexedField:
        """The field of this name. Raises InvalidCall if it is not indexed."""
        field = self.fields.get(name)
        if field is None:
            known = ", ".join(self.fields) or "none"
            raise InvalidCall(f"{name!r:.100} is no indexed field; indexed are: {known}")
        return field

    def _wanted(self, field: IndexedField, data: Any) -> str | float:
        if data is None:
            raise InvalidCall(f"{field.name}: None is in no index")
        try:
            return field.encode(msgspec.convert(data, field.kind, strict=False))
        except (TypeError, ValueError) as error:
            raise InvalidCall(f"{field.name}: {error}") from None


def _fields(part: Part, place: str) -> dict[str, IndexedField]:
    found: dict[str, IndexedField] = {}
    for name, mark in part.indexed.items():
        node = next(field.node for field in part.fields.values() if field.attribute == name)
        inner = _without_none(node)
        encode = _encoder(inner)
        if encode is None:
            raise ConfigurationError(
                f"{place}: {part.name}.{name} cannot be indexed, because it is a {type_name(node)}; a text, a number, "
                "a bool, an enum, a UUID, a date or a datetime can be, also beside None"
            )
        found[name] = IndexedField(name, mark.unique, annotation(inner), encode)
    return found


def _without_none(node: Any) -> Any:
    while isinstance(node, ms.Metadata):
        node = node.type
    if isinstance(node, ms.UnionType):
        others = [part for part in node.types if not isinstance(part, ms.NoneType)]
        return _without_none(others[0]) if len(others) == 1 else node
    return node


def _encoder(node: Any) -> Encode | None:
    if isinstance(node, ms.EnumType):
        return _plain if _is_one_kind([member.value for member in node.cls]) else None
    if isinstance(node, ms.LiteralType):
        return _plain if _is_one_kind(list(node.values)) else None
    encoders: Mapping[type, Encode] = {
        ms.StrType: _plain, ms.IntType: _plain, ms.FloatType: _plain, ms.BoolType: _plain,
        ms.UUIDType: _uuid, ms.DateType: _date, ms.DateTimeType: _moment,
    }  # fmt: skip
    return encoders.get(class_as_any(node))


def _is_one_kind(values: list[Any]) -> bool:
    """Whether all are texts, or all are numbers: texts and numbers have no order among themselves."""
    return all(isinstance(each, str) for each in values) or all(isinstance(each, int) for each in values)


def _plain(value: Any) -> str | float:
    plain = value.value if isinstance(value, enum.Enum) else value
    if isinstance(plain, str):
        return str(plain)
    if isinstance(plain, int) and abs(plain) > _MOST:
        raise ValueError(f"an index holds integers up to 2**53, not {plain}")
    return float(plain) + 0.0  # without the sign of zero, which databases compare in different ways


def _uuid(value: Any) -> str:
    return str(value if isinstance(value, uuid.UUID) else uuid.UUID(str(value)))


def _date(value: dt.date) -> str:
    return value.isoformat()


def _moment(value: dt.datetime) -> str:
    if value.utcoffset() is None:
        raise ValueError("an index needs a datetime with a time zone, because others have no place among them")
    utc = value.astimezone(dt.UTC).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='microseconds')}Z"
