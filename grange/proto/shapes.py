"""Checks, compiled per type, that a value comes out of its encoding equal. Pure.

A strict decoder refuses most values that do not fit an annotation, but not all. Some values fit and change: a subclass
arrives as the annotated class, a tuple as a list, `2**53 + 1` as a float. A shape refuses these before anything is
encoded, by a message that names the field. ADR 0056 has the list of such values.
"""

from __future__ import annotations

import datetime as dt
import decimal
import functools
import types
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, Literal, NamedTuple, Protocol, Union, get_origin

import msgspec
from msgspec import inspect as ms

from grange.proto.checks import (
    PLAIN,
    PLAIN_IN_JSON,
    Check,
    Cut,
    Found,
    Shape,
    Unfit,
    any_in_json,
    any_value,
    class_name,
    class_of,
    collection,
    finite,
    fixed_tuple,
    literal,
    mapping,
    member,
    moment,
    raw_message,
    scalar,
    structured,
    typed_dict,
)  # fmt: skip
from grange.proto.equality import difference
from grange.proto.message import Encoding
from grange.proto.zones import class_as_any, is_sequence


class Custom(Protocol):
    """The types that msgspec does not know (`values.Extension`), as shapes need them."""

    def matches(self, kind: type) -> bool:
        """Whether the type is one of these."""
        ...

    def exact(self, kind: type) -> frozenset[type]:
        """The classes whose values need no check."""
        ...

    def check(self, kind: type, encoding: Encoding) -> Check:
        """The check of other values."""
        ...

    def is_text(self, kind: type) -> bool:
        """Whether its values are encoded as text, so that they may be keys in JSON."""
        ...


class Trial(Protocol):
    """Encodes a value and decodes it again; `ValueCodec` implements it."""

    def __call__(self, kind: Any, value: Any, found: Found) -> Any:
        """The value as it arrives."""
        ...


_LEAVES: dict[type[ms.Type], Any] = {
    ms.NoneType: types.NoneType,
    ms.BoolType: bool,
    ms.IntType: int,
    ms.StrType: str,
    ms.BytesType: bytes,
    ms.ByteArrayType: bytearray,
    ms.MemoryViewType: memoryview,
    ms.DateType: dt.date,
    ms.TimeDeltaType: dt.timedelta,
    ms.UUIDType: uuid.UUID,
    ms.DecimalType: decimal.Decimal,
    ms.ExtType: msgspec.msgpack.Ext,
}
_MOMENTS: dict[type[ms.Type], type[dt.datetime | dt.time]] = {ms.DateTimeType: dt.datetime, ms.TimeType: dt.time}
_CONTAINERS: dict[type[ms.Type], type] = {
    ms.ListType: list,
    ms.VarTupleType: tuple,
    ms.SetType: set,
    ms.FrozenSetType: frozenset,
}
_KINDS: dict[type[ms.Type], type] = {
    **_LEAVES, **_CONTAINERS, **_MOMENTS, ms.FloatType: float, ms.DictType: dict, ms.TupleType: tuple,
    ms.RawType: msgspec.Raw,
}  # fmt: skip
_HEAP_TYPE = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: classes without it, such as dict or Exception, hold content that is in no field."""

_KEY_LEAVES = (
    ms.StrType, ms.IntType, ms.FloatType, ms.BytesType, ms.DateType, ms.DateTimeType, ms.TimeType, ms.TimeDeltaType,
    ms.UUIDType, ms.DecimalType, ms.EnumType, ms.LiteralType, ms.AnyType,
)  # fmt: skip


class Shapes:
    """Makes the shapes of one encoding."""

    def __init__(self, encoding: Encoding, custom: Sequence[Custom], trial: Trial) -> None:
        self._json = encoding is Encoding.JSON
        self._encoding = encoding
        self._custom = custom
        self._trial = trial

    def of(self, node: ms.Type) -> Shape:
        """The shape of a type that msgspec has described."""
        return self._of(node, {})

    def _of(self, node: ms.Type, made: dict[int, Shape]) -> Shape:
        shape = made.get(id(node))
        if shape is None:
            shape = made[id(node)] = Shape(type_name(node))
            self._fill(shape, node, made)
        return shape

    def _fill(self, shape: Shape, node: Any, made: dict[int, Shape]) -> None:
        if isinstance(node, ms.Metadata):
            inner = self._of(node.type, made)
            shape.filled(inner.classes, lambda value, found: inner.check(value, found), inner.exact)
        elif isinstance(node, ms.UnionType):
            self._fill_union(shape, [self._of(part, made) for part in node.types])
        elif isinstance(node, ms.CustomType):
            self._fill_custom(shape, get_origin(node.cls) or node.cls)
        elif not self._fill_leaf(shape, node):
            self._fill_compound(shape, node, made)

    def _fill_leaf(self, shape: Shape, node: Any) -> bool:
        """Fill the shape of a type without parts. Returns False for other types."""
        exact: Iterable[type]
        if type(node) in _LEAVES:
            cls = _LEAVES[type(node)]
            shape.filled({cls}, scalar(shape, cls), {cls})
        elif isinstance(node, ms.FloatType):
            shape.filled({float}, finite(shape) if self._json else scalar(shape, float), () if self._json else {float})
        elif type(node) in _MOMENTS:
            shape.filled({_MOMENTS[type(node)]}, moment(shape, _MOMENTS[type(node)]))
        elif isinstance(node, ms.EnumType):
            shape.filled({node.cls}, member(shape, node.cls), {node.cls})
        elif isinstance(node, ms.LiteralType):
            exact = {type(value) for value in node.values}
            shape.filled(exact, literal(shape), exact)
        elif isinstance(node, ms.AnyType):
            shape.filled(None, any_in_json if self._json else any_value, PLAIN_IN_JSON if self._json else PLAIN)
        elif isinstance(node, ms.RawType):
            shape.filled({msgspec.Raw}, raw_message(shape, self._encoding))
        else:
            return False
        return True

    def _fill_compound(self, shape: Shape, node: Any, made: dict[int, Shape]) -> None:
        if isinstance(node, ms.DictType):
            key = self._key(node.key_type, made)
            shape.filled({dict}, mapping(shape, key, self._of(node.value_type, made)))
        elif type(node) in _CONTAINERS:
            cls = _CONTAINERS[type(node)]
            shape.filled({cls}, collection(shape, cls, self._of(node.item_type, made)))
        elif isinstance(node, ms.TupleType):
            shape.filled({tuple}, fixed_tuple(shape, [self._of(part, made) for part in node.item_types]))
        elif isinstance(node, ms.TypedDictType):
            shape.filled({dict}, typed_dict(shape, {f.name: self._of(f.type, made) for f in node.fields}))
        else:
            cls = get_origin(node.cls) or node.cls
            fields = [(f.name, self._of(f.type, made), _may_be_unset(f)) for f in node.fields]
            check = structured(shape, cls, fields)
            if may_change(cls):
                check = self._tried(node.cls, check)
            shape.filled({cls}, check)

    def _fill_union(self, shape: Shape, parts: list[Shape]) -> None:
        if any(part.classes is None for part in parts):
            chosen = next(part for part in parts if part.classes is None)
            shape.filled(None, lambda value, found: chosen.check(value, found), chosen.exact)
            return
        # Parts of recursive types may not be filled yet: their classes are read at the first check.
        by_class = functools.cache(lambda: {cls: part for part in parts for cls in part.classes or ()})

        def check(value: Any, found: Found) -> None:
            part = by_class().get(class_as_any(value)) or next((other for other in parts if not other.classes), None)
            if part is not None:
                part.check(value, found)  # a part without classes is an extension's, beside None
            elif not any(_passes(other, value, found) for other in parts):
                shape.refuse(value, found)

        shape.filled((), check, {cls for part in parts for cls in part.exact})

    def _fill_custom(self, shape: Shape, kind: type) -> None:
        for custom in self._custom:
            if custom.matches(kind):
                shape.filled((), custom.check(kind, self._encoding), custom.exact(kind))
                return

    def _key(self, node: Any, made: dict[int, Shape]) -> Shape:
        """The shape of keys of a mapping. In JSON a key is text: it must say by itself which key it was."""
        shape = self._of(node, made)
        if not self._json:
            return shape
        if isinstance(node, ms.FloatType):
            return Shape(shape.name).filled({float}, scalar(shape, float), {float})
        if not isinstance(node, ms.UnionType | ms.AnyType | ms.LiteralType):
            return shape
        kind = annotation(node)

        def check(key: Any, found: Found) -> None:
            shape.check(key, found)
            try:
                read = next(iter(self._trial(types.GenericAlias(dict, (kind, None)), {key: None}, found)))
            except (TypeError, ValueError) as error:
                raise Unfit(f"a key of {key!r:.40} cannot be written as JSON: {error}") from None
            found_key = difference(key, read)
            if found_key is not None:
                raise Unfit(
                    f"the key {found_key.before} is read back from JSON as {found_key.after}: use keys of one type"
                )

        return Shape(shape.name).filled(shape.classes, check, {str} if isinstance(node, ms.AnyType) else ())

    def _tried(self, kind: Any, inner: Check) -> Check:
        """The check of a class whose construction may change values: only trying tells."""

        def check(value: Any, found: Found) -> None:
            if found.trying:
                found.untried = True
                inner(value, found)
                return
            found.trying = True
            try:
                inner(value, found)
                read = self._trial(kind, value, found)
            finally:
                found.trying = False
            changed = difference(value, read)
            if changed is not None:
                reason = f"`{class_of(value)}` is changed when it is built again from its fields"
                raise Unfit(reason).within(changed.path)

        return check


def type_name(node: Any) -> str:
    """The name of a type in messages."""
    if isinstance(node, ms.UnionType):
        return " | ".join(type_name(part) for part in node.types)
    if isinstance(node, ms.LiteralType):
        return f"Literal[{', '.join(map(repr, node.values))}]"
    if isinstance(node, ms.Metadata):
        return type_name(node.type)
    if isinstance(node, ms.AnyType):
        return "Any"
    cls = getattr(node, "cls", None) or _KINDS[type(node)]
    return class_name(get_origin(cls) or cls)


def annotation(node: Any) -> Any:
    """The annotation of a type that can be the key of a mapping in JSON."""
    if isinstance(node, ms.UnionType):
        return Union[tuple(map(annotation, node.types))]  # noqa: UP007
    if isinstance(node, ms.LiteralType):
        return Literal[node.values]
    if isinstance(node, ms.Metadata):
        return annotation(node.type)
    if isinstance(node, ms.AnyType):
        return Any
    return getattr(node, "cls", None) or _KINDS[type(node)]


def nodes_of(info: Any) -> Iterator[Any]:
    """Yield every type inside a type that msgspec has described, each once."""
    seen: set[int] = set()
    waiting = [info]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, ms.Type | ms.Field) or id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        for name in node.__struct_fields__:
            child: Any = getattr(node, name)
            waiting.extend(child if is_sequence(child) else (child,))


def is_json_key(node: Any, custom: Sequence[Custom]) -> bool:
    """Whether at least some values of a type can be keys of a mapping in JSON."""
    if isinstance(node, ms.Metadata):
        return is_json_key(node.type, custom)
    if isinstance(node, ms.UnionType):
        return any(is_json_key(part, custom) for part in node.types)
    if isinstance(node, ms.CustomType):
        return any(one.matches(node.cls) and one.is_text(node.cls) for one in custom)
    return isinstance(node, _KEY_LEAVES)


def may_change(cls: Any) -> bool:
    """Whether a value of a class may be changed when it is built again from its fields."""
    if hasattr(cls, "__post_init__") or hasattr(cls, "__pydantic_validator__"):
        return True
    if hasattr(cls, "__attrs_attrs__"):
        hooks = hasattr(cls, "__attrs_post_init__") or hasattr(cls, "__attrs_pre_init__")
        return hooks or any(is_left_out(cls, field.name) for field in cls.__attrs_attrs__)
    if issubclass(cls, msgspec.Struct):
        return False
    if tuple in cls.__mro__:
        return cls.__bases__ != (tuple,) and NamedTuple not in getattr(cls, "__orig_bases__", ())
    return any(issubclass(base, BaseException) for base in cls.__mro__)


def is_container(base: type) -> bool:
    """Whether a base class, such as dict or str, holds content that is in no field. msgspec crashes on some of them."""
    is_builtin = base is not object and not base.__flags__ & _HEAP_TYPE
    return is_builtin and not issubclass(base, BaseException) and base is not Generic


def is_left_out(cls: type, field: str) -> bool:
    """Whether msgspec leaves a field out: those of attrs classes with an underscore in front."""
    return field.startswith("_") and hasattr(cls, "__attrs_attrs__")


def _may_be_unset(field: ms.Field) -> bool:
    """Whether UNSET is a field's default: only then does a field that was not sent become UNSET again."""
    return not field.required and field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT


def _passes(shape: Shape, value: Any, found: Found) -> bool:
    try:
        shape.check(value, found)
    except Cut:
        raise  # its message says what to do
    except Unfit:
        return False
    return True
