"""Encodes and decodes values by their annotated types: MessagePack between processes, JSON for people and storage.

Built on msgspec: builtins, dataclasses, Structs, attrs, TypedDict, NamedTuple, enums, datetime, UUID, Decimal and
tagged unions. Extensions add types (grain references; pydantic models). A value is decoded only into the type that
its annotation names. Received data never causes an import or an evaluation. A value that would not come out equal is
refused before anything is encoded (`shapes.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, get_origin

import msgspec
from msgspec import inspect as ms

from grange.errors import ConfigurationError
from grange.proto.checks import Found, Shape, Unfit
from grange.proto.columns import column_of
from grange.proto.equality import parts_of
from grange.proto.lifting import Lift, Lifts
from grange.proto.message import Encoding
from grange.proto.pydantic_models import PydanticModels
from grange.proto.shapes import Custom, Shapes, is_container, is_json_key, is_left_out, nodes_of, type_name
from grange.proto.sharing import Look, shared_classes
from grange.proto.unknown_fields import unknown_field
from grange.proto.zones import BUILTIN_TYPES, lower, may_hold_zones


class Extension(Custom, Protocol):
    """Encodes and decodes types that msgspec does not support."""

    def encode(self, value: Any, encoding: Encoding) -> Any:
        """The value as a type that msgspec supports, or NotImplemented if the extension does not handle it."""
        ...

    def decode(self, kind: type, data: Any) -> Any:
        """The inverse of `encode`. Raises ValueError or TypeError for data that does not fit."""
        ...

    def shared(self, kind: type) -> Mapping[type, Look | None]:
        """The exact classes of values that a local call may share, as `sharing.shared_classes`."""
        ...


class TypedCodec:
    """The codec of one type in one encoding."""

    __slots__ = ("_codec", "_column", "_has_moments", "_info", "_lift", "_native", "_shape", "encoding", "kind")

    def __init__(self, codec: ValueCodec, kind: Any, info: ms.Type, encoding: Encoding) -> None:
        self._codec = codec
        self.kind = kind
        self.encoding = encoding
        self._info = info
        self._shape: Shape | None = None
        self._column = column_of(info) if encoding is Encoding.JSON else None
        self._lift: Lift | None = None
        self._has_moments = any(isinstance(node, _MOMENTS) for node in nodes_of(info))
        maker = msgspec.msgpack.Decoder if encoding is Encoding.MSGPACK else msgspec.json.Decoder
        self._native: Callable[[bytes], Any] = maker(kind, dec_hook=codec.decode_other).decode

    @property
    def info(self) -> ms.Type:
        """The type as msgspec describes it."""
        return self._info

    @property
    def shape(self) -> Shape:
        """What its values are checked by, made at first use."""
        if self._shape is None:
            self._shape = self._codec.shapes[self.encoding].of(self._info)
        return self._shape

    def is_sure(self, value: Any) -> bool:
        """Whether the classes inside the value tell that what is written reads back equal; in JSON only."""
        return self._column is not None and self._column.tells((value,))

    def encode(self, value: Any, found: Found | None = None) -> bytes:
        """The bytes of a value. Raises TypeError or ValueError naming the part that cannot be carried."""
        shape = self._shape or self.shape
        if type(value) in shape.exact:
            return self._codec.write(value, self.encoding, None)
        found = found or Found()
        self.check(value, found)
        return self.write(value, found)

    def check(self, value: Any, found: Found) -> None:
        """Raise TypeError or ValueError for a value that would not come out equal."""
        shape = self._shape or self.shape
        try:
            if type(value) not in shape.exact:
                shape.check(value, found)
        except RecursionError:
            raise ValueError(TOO_DEEP) from None

    def write(self, value: Any, found: Found | None = None) -> bytes:
        """The bytes of a value that `check` or `is_sure` has passed."""
        return self._codec.write(value, self.encoding, found)

    def decode(self, payload: bytes) -> Any:
        """The value. Raises `msgspec.ValidationError` or `msgspec.DecodeError` (ValueErrors) for wrong data."""
        try:
            if self._has_moments and may_hold_zones(payload):
                return self._decode_zones(payload)
            return self._native(payload)
        except RecursionError:
            raise msgspec.DecodeError("the data is nested too deeply") from None

    @property
    def direct(self) -> Callable[[bytes], Any]:
        """`decode`, in one step if no part of the type needs another. It may raise RecursionError too."""
        return self.decode if self._has_moments else self._native

    def refuse_unknown_fields(self, payload: bytes) -> None:
        """Raise ValueError for JSON with a field that no class has, at any depth: its value would be lost."""
        path = unknown_field(self._info, msgspec.json.decode(payload))
        if path is not None:
            raise ValueError(f"Object contains a field that its class does not have - at `${path}`")

    def _decode_zones(self, payload: bytes) -> Any:
        json = self.encoding is Encoding.JSON
        hook = self._codec.decode_other
        if self._lift is None:
            self._lift = Lifts(hook).of(self._info)
        data = self._lift((msgspec.json if json else msgspec.msgpack).decode(payload))
        return msgspec.convert(
            data,
            self.kind,
            builtin_types=_MOMENT_CLASSES if json else (bytes, *_MOMENT_CLASSES),  # in JSON, bytes are text
            str_keys=json,
            # Keys of mappings are decoded already.
            dec_hook=lambda kind, part: part if isinstance(part, kind) else hook(kind, part),
        )


_MOMENTS = (ms.DateTimeType, ms.TimeType)
_MOMENT_CLASSES = (dt.datetime, dt.time)
"""What is an object already when the data of a payload with zones are converted."""

TOO_DEEP = "the value is nested too deeply, or contains itself"
"""The message for a value whose check or encoding recurses too deeply."""


class ValueCodec:
    """Encodes and decodes annotated values. One per silo or client, because decoded references call through it."""

    def __init__(self, extensions: Sequence[Extension] = ()) -> None:
        self._extensions = (*extensions, PydanticModels())
        self.shapes = {one: Shapes(one, self._extensions, partial(self._tried, one)) for one in Encoding}
        self._hooks = {one: partial(self._encode_other, one) for one in Encoding}
        self.native: dict[Encoding, Callable[[Any], bytes]] = {
            Encoding.MSGPACK: msgspec.msgpack.Encoder(enc_hook=self._hooks[Encoding.MSGPACK]).encode,
            Encoding.JSON: msgspec.json.Encoder(enc_hook=self._hooks[Encoding.JSON]).encode,
        }
        self._made: dict[tuple[Any, Encoding], TypedCodec] = {}

    def of(self, kind: Any, encoding: Encoding = Encoding.MSGPACK) -> TypedCodec:
        """The codec of a type, cached."""
        made = self._made.get((kind, encoding))
        if made is None:
            made = self._made[kind, encoding] = TypedCodec(self, kind, ms.type_info(kind), encoding)
        return made

    def check(self, kind: Any, place: str, encoding: Encoding = Encoding.MSGPACK) -> None:
        """Raise ConfigurationError, with the place and the type, for an annotation that can never be encoded."""
        try:
            info = ms.type_info(kind)
        except Exception as error:  # msgspec and the author's metaclasses raise many classes
            raise ConfigurationError(f"{place}: {kind!r} cannot be sent: {error}") from None
        for node in nodes_of(info):
            if isinstance(node, ms.CustomType):
                custom = get_origin(node.cls) or node.cls
                if not any(extension.matches(custom) for extension in self._extensions):
                    raise ConfigurationError(
                        f"{place}: {custom.__qualname__} cannot be sent; make it a dataclass, msgspec Struct, attrs "
                        "class, TypedDict, NamedTuple, enum or pydantic model"
                    )
            elif isinstance(node, ms.DataclassType):
                _check_class(node, place)
            elif encoding is Encoding.JSON:
                self._check_json(node, place)

    def _check_json(self, node: Any, place: str) -> None:
        if isinstance(node, ms.DictType) and not is_json_key(node.key_type, self._extensions):
            raise ConfigurationError(
                f"{place}: JSON has no mappings with keys of type {type_name(node.key_type)}; "
                "use keys that are texts, numbers, dates, UUIDs or enums, or a list of pairs"
            )
        if isinstance(node, ms.ExtType):
            raise ConfigurationError(f"{place}: msgspec.msgpack.Ext cannot be written as JSON")

    def shared(self, kind: Any, short: int) -> dict[type, Look | None]:
        """The classes whose values a local call may share, as `sharing.shared_classes` with texts up to `short`."""
        return shared_classes(ms.type_info(kind), short, self._extensions)

    def write(self, value: Any, encoding: Encoding, found: Found | None) -> bytes:
        """The bytes of a value that was checked. Raises TypeError or ValueError naming the part that has no bytes."""
        native = self.native[encoding]
        try:
            if found is None or not found.zones:
                return native(value)
            known, hook = found.encoded or {}, self._hooks[encoding]
            plain = msgspec.to_builtins(
                value, builtin_types=BUILTIN_TYPES, enc_hook=lambda one: known.get(id(one)) or hook(one)
            )
            return native(lower(plain))
        except RecursionError:
            raise ValueError(TOO_DEEP) from None
        except Exception as error:
            raise self._located(value, native, error) from error

    def _located(self, value: Any, native: Callable[[Any], bytes], error: Exception) -> Exception:
        """The same refusal, with the path of the smallest part that cannot be encoded."""
        path = ""
        while True:
            for step, part in parts_of(value):
                try:
                    native(part)
                except Exception as smaller:
                    path, value, error = path + step, part, smaller
                    break
            else:
                break
        return Unfit(str(error)).within(path) if not isinstance(error, Unfit) else error.within(path)

    def _tried(self, encoding: Encoding, kind: Any, value: Any, found: Found) -> Any:
        codec = self.of(kind, encoding)
        try:
            return codec.decode(codec.write(value, found))
        except Unfit:
            raise
        except Exception as error:  # includes errors of the author's `__post_init__`
            raise Unfit(str(error)) from error

    def _encode_other(self, encoding: Encoding, value: Any) -> Any:
        for extension in self._extensions:
            encoded = extension.encode(value, encoding)
            if encoded is not NotImplemented:
                return encoded
        raise TypeError(f"a value of type {type(value).__qualname__} cannot be sent: {value!r:.80}")

    def decode_other(self, kind: type, data: Any) -> Any:
        """msgspec's `dec_hook`."""
        for extension in self._extensions:
            if extension.matches(kind):
                return extension.decode(kind, data)
        raise TypeError(f"no value of type {kind.__qualname__} can be sent")


def _check_class(node: ms.DataclassType, place: str) -> None:
    cls: Any = get_origin(node.cls) or node.cls
    builtin = next((base for base in cls.__mro__ if is_container(base)), None)
    if builtin is not None:
        raise ConfigurationError(
            f"{place}: {type_name(node)} cannot be sent, because it derives from {builtin.__name__}, whose content "
            "is in no field; give it a field that holds the content"
        )
    for field in node.fields:
        if field.required and is_left_out(cls, field.name):
            raise ConfigurationError(
                f"{place}: {type_name(node)}.{field.name} cannot be sent, because msgspec leaves out attributes "
                "of attrs classes with an underscore in front; rename it, or make the class a dataclass"
            )
