"""The classes with fields inside a type of state, and where they are in stored data. Pure.

Used by `form.py` at reads and writes that meet fields which the classes do not have, or old names of fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, NamedTuple, NotRequired, Required, get_args, get_origin, get_type_hints

import msgspec
from msgspec import inspect as ms
from typing_extensions import ReadOnly

from grange.errors import ConfigurationError
from grange.proto.shapes import nodes_of, type_name
from grange.proto.zones import is_dict, is_sequence
from grange.storage.states.schema import UNDECLARED, Indexed, Renamed, StateSchema, schema_of

UNSEEN = object()
"""Stands for the value of data whose value is not known."""

_SEQUENCES = (ms.ListType, ms.VarTupleType)
_SETS = (ms.SetType, ms.FrozenSetType)


class FieldOf(NamedTuple):
    """One field of a class: its attribute, and the type of what is stored."""

    attribute: str
    node: Any


class Part(msgspec.Struct, frozen=True, eq=False):
    """One class with fields: its fields by their stored names, and what its author declared.

    `renamed`: the field of each old name, newest first. `written`: the old name under which a field is stored.
    `indexed`: the marks by the attributes of their fields.
    `tag`: the name of what msgspec adds. `keeps_itself`: what the class does not know is kept by its values.
    `positional`: it is stored as a list.
    """

    name: str
    fields: dict[str, FieldOf]
    schema: StateSchema
    renamed: dict[str, str]
    written: dict[str, str]
    indexed: dict[str, Indexed]
    tag: str | None = None
    keeps_itself: bool = False
    positional: bool = False

    def unknown(self, data: dict[Any, Any]) -> dict[str, Any]:
        """The stored fields that the class does not have."""
        if self.keeps_itself:
            return {}
        return {name: data[name] for name in data if name not in self.fields and name != self.tag}


class Spot(NamedTuple):
    """One place in stored data that holds a class with fields. `path`: None inside a list, whose items may move."""

    part: Part
    data: dict[Any, Any]
    value: Any
    path: tuple[str, ...] | None


class Layout:
    """The classes with fields inside one type of state. Raises ConfigurationError for marks without effect."""

    def __init__(self, info: Any) -> None:
        self._info = info
        self._parts: dict[int, Part | None] = {}
        self._nodes: list[Any] = []  # parts are known by the ids of their nodes, so these must live
        self.has_fields = False
        self.has_renamed = False
        self.has_written = False
        self._read(info)

    def spots(self, data: Any, value: Any) -> Iterator[Spot]:
        """Every place with fields, the outer ones first. A place may be changed before the next one is asked for."""
        return self._spots(self._info, data, value, ())

    def parts(self) -> Iterable[Part]:
        """All classes with fields."""
        return [part for part in self._parts.values() if part is not None]

    def root(self) -> Part | None:
        """The class of the whole state, if it is one with fields; None beside it is looked through."""
        nodes = [_plain(part) for part in getattr(_plain(self._info), "types", (self._info,))]
        found = [self._parts.get(id(node)) for node in nodes if not isinstance(node, ms.NoneType)]
        return found[0] if len(found) == 1 else None

    def _read(self, info: Any) -> None:
        for node in nodes_of(info):
            if id(node) in self._parts:
                continue
            part = _part_of(node)
            self._nodes.append(node)
            self._parts[id(node)] = part
            if part is None:
                continue
            self.has_fields = True
            self.has_renamed = self.has_renamed or bool(part.renamed)
            self.has_written = self.has_written or bool(part.written)
            if isinstance(node, ms.CustomType):
                for field in part.fields.values():
                    self._read(field.node)

    def _spots(self, node: Any, data: Any, value: Any, path: tuple[str, ...] | None) -> Iterator[Spot]:
        node = _chosen(node, data)
        part = self._parts.get(id(node))
        if part is not None and not part.positional:
            if not is_dict(data):
                return
            yield Spot(part, data, value, path)
        for step, inner, item, held in _inside(node, part, data, value):
            yield from self._spots(inner, item, held, None if path is None or step is None else (*path, step))


Inside = Iterator[tuple[str | None, Any, Any, Any]]
"""The parts of one place: the step to each if it is stable, its type, its data and its value."""


def _inside(node: Any, part: Part | None, data: Any, value: Any) -> Inside:
    if part is not None:
        return _positions(part, data, value) if part.positional else _named(part, data, value)
    if isinstance(node, ms.DictType) and is_dict(data):
        return _entries(node.value_type, data, value)
    if is_sequence(data):
        return _items(node, data, value)
    return iter(())


def _positions(part: Part, data: Any, value: Any) -> Inside:
    if not is_sequence(data):
        return
    fields = list(part.fields.values())
    items = data[1:] if part.tag is not None else data
    if len(items) > len(fields):
        raise ValueError(f"`{part.name}` has {len(items) - len(fields)} more items than this release knows")
    for field, item in zip(fields, items, strict=False):
        yield field.attribute, field.node, item, _attribute(value, field.attribute)


def _named(part: Part, data: Any, value: Any) -> Inside:
    for stored, field in part.fields.items():
        if is_dict(data) and stored in data:
            yield stored, field.node, data[stored], _attribute(value, field.attribute)


def _entries(node: Any, data: dict[Any, Any], value: Any) -> Inside:
    values = list(value.values()) if is_dict(value) and len(value) == len(data) else [UNSEEN] * len(data)
    for (key, item), held in zip(data.items(), values, strict=True):
        yield key, node, item, held


def _items(node: Any, data: list[Any] | tuple[Any, ...], value: Any) -> Inside:
    """The items of a list or a tuple. Those of a set have lost their order."""
    nodes = node.item_types if isinstance(node, ms.TupleType) else [getattr(node, "item_type", None)] * len(data)
    values = list(value) if is_sequence(value) and len(value) == len(data) else [UNSEEN] * len(data)
    for inner, item, held in zip(nodes, data, values, strict=False):
        yield None, inner, item, held


def _attribute(value: Any, name: str) -> Any:
    if is_dict(value):
        return value.get(name, UNSEEN)
    return getattr(value, name, UNSEEN)


def _plain(node: Any) -> Any:
    while isinstance(node, ms.Metadata):
        node = node.type
    return node


def _chosen(node: Any, data: Any) -> Any:
    """The part of a union that describes the data: msgspec permits one for each form, or several with tags."""
    node = _plain(node)
    if not isinstance(node, ms.UnionType):
        return node
    parts = [_plain(part) for part in node.types]
    if is_dict(data):
        tagged = [part for part in parts if isinstance(part, ms.StructType) and part.tag_field is not None]
        named = next((part for part in tagged if data.get(part.tag_field) == part.tag), None)
        return named or next((part for part in parts if _is_mapping(part)), node)
    if is_sequence(data):
        tagged = [part for part in parts if isinstance(part, ms.StructType) and part.array_like]
        named = next((part for part in tagged if data and part.tag is not None and data[0] == part.tag), None)
        return named or next((part for part in parts if _is_list(part)), node)
    return node


def _is_mapping(node: Any) -> bool:
    if isinstance(node, ms.StructType):
        return not node.array_like
    return isinstance(node, ms.DictType | ms.DataclassType | ms.TypedDictType | ms.CustomType)


def _is_list(node: Any) -> bool:
    if isinstance(node, ms.StructType):
        return node.array_like
    return isinstance(node, (*_SEQUENCES, *_SETS, ms.TupleType, ms.NamedTupleType))


def _part_of(node: Any) -> Part | None:
    if isinstance(node, ms.CustomType):
        return _model_part(node)
    if not isinstance(node, ms.StructType | ms.DataclassType | ms.TypedDictType | ms.NamedTupleType):
        return None
    cls = class_as_any_of(node)
    positional = isinstance(node, ms.NamedTupleType) or getattr(node, "array_like", False)
    fields = {field.encode_name: FieldOf(field.name, field.type) for field in node.fields}
    stored = {field.attribute: name for name, field in fields.items()}
    marks = {stored[name]: mark for name, mark in _marks(cls, Renamed).items() if name in stored}
    indexed = {name: mark for name, mark in _marks(cls, Indexed).items() if name in stored}
    part = _declared(type_name(node), fields, cls, marks, indexed)
    if positional and (part.renamed or part.schema is not UNDECLARED):
        raise ConfigurationError(
            f"{part.name} is stored as a list without names, so Renamed(...) and @state_schema have no effect on it; "
            "make it a class that is stored with names, such as a dataclass"
        )
    return msgspec.structs.replace(part, tag=getattr(node, "tag_field", None), positional=positional)


def class_as_any_of(node: Any) -> Any:
    """The class that a node describes, without its type arguments."""
    return get_origin(node.cls) or node.cls


def _model_part(node: ms.CustomType) -> Part | None:
    """The part of a pydantic model. Types that only pydantic knows are not looked into."""
    cls = class_as_any_of(node)
    models = getattr(cls, "model_fields", None)
    if not is_dict(models) or getattr(cls, "__pydantic_root_model__", False):
        return None
    fields: dict[str, FieldOf] = {}
    marks: dict[str, Renamed] = {}
    indexed: dict[str, Indexed] = {}
    for name, field in models.items():
        fields[name] = FieldOf(name, _described(field.annotation))
        for mark in field.metadata:
            if isinstance(mark, Renamed):
                marks[name] = mark
            elif isinstance(mark, Indexed):
                indexed[name] = mark
    part = _declared(cls.__qualname__, fields, cls, marks, indexed)
    if cls.model_config.get("extra", "ignore") == "ignore":
        return part
    return msgspec.structs.replace(part, keeps_itself=True)


def _described(annotation: Any) -> Any:
    try:
        return ms.type_info(annotation)
    except Exception:  # a type that only pydantic knows
        return ms.AnyType()


def _declared(
    name: str, fields: dict[str, FieldOf], cls: Any, marks: dict[str, Renamed], indexed: dict[str, Indexed]
) -> Part:
    schema = schema_of(cls)
    renamed: dict[str, str] = {}
    for stored, mark in marks.items():
        for old in mark.names:
            if old in fields or renamed.setdefault(old, stored) != stored:
                raise ConfigurationError(f"{name}.{stored}: Renamed({old!r}) is the name of another field, too")
    wrong = next((each for each in schema.removed if each in fields or each in renamed), None)
    if wrong is not None:
        raise ConfigurationError(f"{name}: removed={wrong!r} is a field that the class has; remove it from one of both")
    written = {stored: mark.name for stored, mark in marks.items() if mark.write == "old"}
    return Part(name, fields, schema, renamed, written, indexed)


def _marks(cls: Any, kind: Any) -> dict[str, Any]:
    """The marks of one kind on the fields of a class. Raises ConfigurationError for one inside a type."""
    try:
        hints = get_type_hints(cls, include_extras=True)
    except Exception:  # of a class whose fields msgspec describes without its annotations
        hints = {}
    found: dict[str, Any] = {}
    for name, hint in hints.items():
        while get_origin(hint) in (Required, NotRequired, ReadOnly):
            hint = get_args(hint)[0]
        marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        own = [mark for mark in marks if isinstance(mark, kind)]
        if own:
            found[name] = own[0]
        inner = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        if len(own) > 1 or _holds(inner, kind):
            raise ConfigurationError(
                f"{cls.__qualname__}.{name}: write one {kind.__name__}(...), and around the whole type: "
                f"Annotated[..., {kind.__name__}(...)]"
            )
    return found


def _holds(hint: Any, kind: Any) -> bool:
    return any(isinstance(part, kind) or _holds(part, kind) for part in get_args(hint))
