"""Tells by the classes inside a value that its JSON reads back equal, for the types where classes tell. Pure.

A state of such a type is stored without being decoded and compared. All values of one field are one column, and a
column is judged by functions that run at C's speed. "False" means "not known": then the check of `shapes.py` and the
comparison decide.
"""

from __future__ import annotations

import datetime as dt
import enum
import inspect
import math
import operator
import types
import uuid
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple, get_origin

import msgspec
from msgspec import inspect as ms

from grange.proto.shapes import may_change
from grange.proto.zones import class_as_any, is_plain

Look = Callable[[Sequence[Any]], bool]
"""Judges a column of values whose classes are right."""


class Column(NamedTuple):
    """What is known of the values of one type: they are of these exact classes, and pass the look, if there is one."""

    classes: frozenset[type]
    look: Look | None = None

    def tells(self, values: Iterable[Any]) -> bool:
        """Whether each of these values is known to read back equal."""
        if self.look is None:
            return self.classes.issuperset(map(type, values))
        column = list(values)
        return self.classes.issuperset(map(type, column)) and self.look(column)


def _finite(column: Sequence[Any]) -> bool:
    return all(map(math.isfinite, column))


def _plain(column: Sequence[Any]) -> bool:
    return all(map(is_plain, column))


_LEAVES: dict[type[ms.Type], Column] = {
    ms.NoneType: Column(frozenset({types.NoneType})),
    ms.BoolType: Column(frozenset({bool})),
    ms.IntType: Column(frozenset({int})),
    ms.StrType: Column(frozenset({str})),
    ms.BytesType: Column(frozenset({bytes})),
    ms.UUIDType: Column(frozenset({uuid.UUID})),
    ms.DateType: Column(frozenset({dt.date})),
    ms.FloatType: Column(frozenset({float}), _finite),
    ms.DateTimeType: Column(frozenset({dt.datetime}), _plain),
}
_COLLECTIONS: dict[type[ms.Type], type] = {
    ms.ListType: list, ms.VarTupleType: tuple, ms.SetType: set, ms.FrozenSetType: frozenset
}  # fmt: skip
_ENUMS = (enum.Enum, enum.IntEnum, enum.StrEnum)
_CONSTRAINTS = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern", "tz")


def column_of(node: ms.Type) -> Column | None:
    """The column of a type that msgspec has described; None: classes do not tell, or the type contains itself."""
    return _column(node, ())


def _column(node: Any, outer: tuple[ms.Type, ...]) -> Column | None:
    if any(node is one for one in outer) or any(getattr(node, name, None) is not None for name in _CONSTRAINTS):
        return None
    if isinstance(node, ms.Metadata):
        return _column(node.type, outer)
    kind = class_as_any(node)
    if kind in _LEAVES:
        return _LEAVES[kind]
    if isinstance(node, ms.EnumType):
        return Column(frozenset({node.cls})) if _has_only_its_members(node.cls) else None
    inner = (*outer, node)
    if isinstance(node, ms.UnionType):
        return _optional(node, inner)
    if isinstance(node, ms.DictType):
        return _mapping(node, inner)
    if kind in _COLLECTIONS:
        if _COLLECTIONS[kind] in (set, frozenset) and class_as_any(node.item_type) not in _LEAVES:
            return None  # code of the items' class makes their hashes: elements may become equal, or have none yet
        return _collection(_COLLECTIONS[kind], _column(node.item_type, inner))
    if isinstance(node, ms.TupleType):
        return _fixed_tuple(node, inner)
    return _structured(node, inner) if isinstance(node, ms.DataclassType | ms.StructType) else None


def _has_only_its_members(cls: type[enum.Enum]) -> bool:
    """Whether no other value is made from a number, as those of flags, or by the author's `_missing_`."""
    return not issubclass(cls, enum.Flag) and "_missing_" not in chain.from_iterable(
        vars(base) for base in cls.__mro__ if base not in _ENUMS
    )


def _is_free(attribute: object) -> bool:
    """Whether the class leaves the attribute to the `__dict__` of its objects."""
    return not hasattr(attribute, "__set__")


def _collection(cls: type, item: Column | None) -> Column | None:
    if item is None:
        return None

    def look(column: Sequence[Any]) -> bool:
        return item.tells(chain.from_iterable(column))

    return Column(frozenset({cls}), look)


def _optional(node: ms.UnionType, inner: tuple[ms.Type, ...]) -> Column | None:
    """None or one other type: other unions may choose another part when they are read."""
    parts = [part for part in node.types if not isinstance(part, ms.NoneType)]
    column = _column(parts[0], inner) if len(parts) == 1 else None
    if column is None:
        return None
    classes, look = column.classes | {types.NoneType}, column.look
    if look is None:
        return Column(classes)

    def look_at_others(values: Sequence[Any]) -> bool:
        return look([value for value in values if value is not None])

    return Column(classes, look_at_others)


def _mapping(node: ms.DictType, inner: tuple[ms.Type, ...]) -> Column | None:
    key = _column(node.key_type, inner) if isinstance(node.key_type, ms.StrType | ms.IntType) else None
    item = _column(node.value_type, inner)
    if key is None or item is None:
        return None

    def look(column: Sequence[dict[Any, Any]]) -> bool:
        items = (value.values() for value in column)
        return key.tells(chain.from_iterable(column)) and item.tells(chain.from_iterable(items))

    return Column(frozenset({dict}), look)


def _fixed_tuple(node: ms.TupleType, inner: tuple[ms.Type, ...]) -> Column | None:
    parts = [part for part in (_column(item, inner) for item in node.item_types) if part is not None]
    length = len(node.item_types)
    if len(parts) < length:
        return None

    def look(column: Sequence[Any]) -> bool:
        return set(map(len, column)) <= {length} and all(
            [part.tells(each) for part, each in zip(parts, zip(*column, strict=True), strict=False)]
        )

    return Column(frozenset({tuple}), look)


def _structured(node: ms.DataclassType | ms.StructType, inner: tuple[ms.Type, ...]) -> Column | None:
    cls: Any = get_origin(node.cls) or node.cls
    if may_change(cls) or any(field.validator for field in getattr(cls, "__attrs_attrs__", ())):
        return None
    if cls.__getattribute__ not in (object.__getattribute__, msgspec.Struct.__getattribute__):
        return None
    in_dict = not issubclass(cls, msgspec.Struct) and cls.__dictoffset__ != 0
    plain: list[tuple[Callable[[Any], Any], Callable[[Iterable[Any]], bool]]] = []
    others: list[tuple[Callable[[Any], Any], Column]] = []
    for field in node.fields:
        column = _column(field.type, inner)
        attribute = inspect.getattr_static(cls, field.name, None)
        if column is None or not (_is_free(attribute) if in_dict else inspect.ismemberdescriptor(attribute)):
            return None  # a property, or a slot of a base class, decides what is read and written
        read = operator.itemgetter(field.name) if in_dict else operator.attrgetter(field.name)
        if column.look is None:
            plain.append((read, column.classes.issuperset))
        else:
            others.append((read, column))

    def look(column: Sequence[Any]) -> bool:
        parts = list(map(vars, column)) if in_dict else column
        try:
            for read, are_right in plain:
                if not are_right(map(type, map(read, parts))):
                    return False
            return all([known.tells(map(read, parts)) for read, known in others])
        except (AttributeError, KeyError):  # an attribute was deleted, or never set
            return False

    return Column(frozenset({cls}), look)
