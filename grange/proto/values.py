"""Encodes and decodes values by their annotated types: MessagePack between processes, JSON for people and storage.

Built on msgspec: builtins, dataclasses, Structs, attrs, TypedDict, NamedTuple, enums, datetime, UUID, Decimal and
tagged unions. Extensions add types (grain references; pydantic models here). A value is decoded only into the type that
its annotation names. Received data never causes an import or an evaluation.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import types
import typing
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal, Protocol, Union, cast, get_args, get_origin

import msgspec

from grange.errors import ConfigurationError
from grange.proto.message import Encoding

_IMMUTABLE = (
    str, int, float, bool, bytes, complex, types.NoneType, uuid.UUID, decimal.Decimal,
    dt.datetime, dt.date, dt.time, dt.timedelta, range,
)  # fmt: skip


class Immutable:
    """A mark, `Annotated[T, Immutable]`: the author promises not to change the value, so local calls do not copy it."""


class Extension(Protocol):
    """Encodes and decodes types that msgspec does not support."""

    def matches(self, kind: type) -> bool:
        """Whether this extension handles values with this annotation."""
        ...

    def encode(self, value: Any) -> Any:
        """The value as a type that msgspec supports, or NotImplemented if the extension does not handle it."""
        ...

    def decode(self, kind: type, data: Any) -> Any:
        """The inverse of `encode`. Raises ValueError or TypeError for data that does not fit."""
        ...

    def immutable(self, kind: type) -> type | None:
        """The exact class of values that may be shared without a copy, or None."""
        ...


class PydanticModels:
    """Encodes pydantic models as their JSON-mode dump and validates them when they are decoded."""

    def matches(self, kind: type) -> bool:
        """Whether the class has pydantic's two methods."""
        return hasattr(kind, "model_validate") and hasattr(kind, "model_dump")

    def encode(self, value: Any) -> Any:
        """The dump in JSON mode, which gives every nested type a plain form."""
        return value.model_dump(mode="json") if self.matches(value.__class__) else NotImplemented

    def decode(self, kind: type, data: Any) -> Any:
        """Validate the data; pydantic's ValidationError is a ValueError."""
        return cast("Any", kind).model_validate(data)

    def immutable(self, kind: type) -> type | None:
        """None: models are copied."""
        return None


class ValueCodec:
    """Encodes and decodes annotated values. One per silo or client, because decoded references call through it."""

    def __init__(self, extensions: Sequence[Extension] = ()) -> None:
        self._extensions = (*extensions, PydanticModels())
        self._msgpack = msgspec.msgpack.Encoder(enc_hook=self._encode_other)
        self._json = msgspec.json.Encoder(enc_hook=self._encode_other)
        self._decoders: dict[tuple[Any, Encoding], Callable[[bytes], Any]] = {}
        self._deciding: set[type] = set()  # classes whose fields are being examined; ends the recursion

    def encode(self, value: Any, encoding: Encoding = Encoding.MSGPACK) -> bytes:
        """The bytes of a value. Raises TypeError or ValueError naming the part that cannot be encoded."""
        encoder = self._msgpack if encoding is Encoding.MSGPACK else self._json
        try:
            return encoder.encode(value)
        except RecursionError:
            raise ValueError("the value is nested too deeply, or contains itself") from None

    def decoder(self, kind: Any, encoding: Encoding = Encoding.MSGPACK) -> Callable[[bytes], Any]:
        """A function from bytes to a value of this type, cached.

        The function raises `msgspec.ValidationError` or `msgspec.DecodeError` (both ValueErrors) for wrong data.
        """
        decode = self._decoders.get((kind, encoding))
        if decode is None:
            maker = msgspec.msgpack.Decoder if encoding is Encoding.MSGPACK else msgspec.json.Decoder
            decode = _bounded(maker(kind, dec_hook=self._decode_other).decode)
            self._decoders[kind, encoding] = decode
        return decode

    def copy(self, kind: Any, value: Any) -> Any:
        """An independent copy, made through the codec; it validates as a remote call would."""
        return self.decoder(kind)(self.encode(value))

    def check(self, kind: Any, place: str) -> None:
        """Raise ConfigurationError, with the place and the type, for an annotation that cannot be encoded."""
        try:
            info = msgspec.inspect.type_info(kind)
        except TypeError as error:
            raise ConfigurationError(f"{place}: {kind!r} cannot be sent: {error}") from None
        for custom in _custom_types(info):
            if not any(extension.matches(custom) for extension in self._extensions):
                raise ConfigurationError(
                    f"{place}: {custom.__qualname__} cannot be sent; make it a dataclass, msgspec Struct, attrs class, "
                    "TypedDict, NamedTuple, enum or pydantic model"
                )

    def shareable(self, kind: Any) -> frozenset[type] | None:
        """The classes whose values need no copy in a local call with this annotation; None: share any value."""
        if get_origin(kind) is Annotated:
            inner, *marks = get_args(kind)
            return None if Immutable in marks else self.shareable(inner)
        if get_origin(kind) in (Union, types.UnionType):
            parts = [self.shareable(part) for part in get_args(kind)]
            known = [part for part in parts if part is not None]
            empty: frozenset[type] = frozenset()
            return None if len(known) < len(parts) else empty.union(*known)
        if get_origin(kind) is Literal:
            literals: tuple[object, ...] = get_args(kind)
            return frozenset(type(value) for value in literals)
        return self._shareable_class(kind)

    def _shareable_class(self, kind: Any) -> frozenset[type]:
        if kind is None:
            return frozenset({types.NoneType})
        if kind in _IMMUTABLE:
            return frozenset({kind})
        if not isinstance(kind, type):
            return frozenset()
        plain: type[Any] = kind
        if issubclass(plain, enum.Enum) or self._frozen_of_shareable(plain):
            return frozenset({plain})
        shared = (extension.immutable(plain) for extension in self._extensions if extension.matches(plain))
        return frozenset(cls for cls in shared if cls is not None)

    def _frozen_of_shareable(self, kind: type[Any]) -> bool:
        """Whether a class is frozen and all its fields are shareable. Field values are trusted to fit annotations."""
        if kind in self._deciding:
            return True  # a recursive class is shareable if its other fields are
        fields = _frozen_fields(kind)
        if fields is None:
            return False
        self._deciding.add(kind)
        try:
            return all(self.shareable(field) != frozenset() for field in fields)
        finally:
            self._deciding.discard(kind)

    def _encode_other(self, value: Any) -> Any:
        for extension in self._extensions:
            encoded = extension.encode(value)
            if encoded is not NotImplemented:
                return encoded
        raise TypeError(f"a value of type {type(value).__qualname__} cannot be sent: {value!r:.80}")

    def _decode_other(self, kind: type, data: Any) -> Any:
        for extension in self._extensions:
            if extension.matches(kind):
                return extension.decode(kind, data)
        raise TypeError(f"no value of type {kind.__qualname__} can be sent")


def _frozen_fields(kind: type[Any]) -> list[Any] | None:
    """The field types of a frozen Struct or frozen dataclass; None for any other class."""
    if getattr(getattr(kind, "__struct_config__", None), "frozen", False):
        return [field.type for field in msgspec.structs.fields(kind)]
    if getattr(getattr(kind, "__dataclass_params__", None), "frozen", False):
        hints = typing.get_type_hints(kind, include_extras=True)
        return [hints[field.name] for field in dataclasses.fields(kind)]
    return None


def _bounded(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Wrap a decoder: data nested deeper than the interpreter allows raises DecodeError, not RecursionError."""

    def decode_bounded(data: bytes) -> Any:
        try:
            return decode(data)
        except RecursionError:
            raise msgspec.DecodeError("the data is nested too deeply") from None

    return decode_bounded


def _custom_types(info: Any) -> Iterator[type]:
    """Yield every type inside a type description that msgspec leaves to extensions."""
    seen: list[Any] = []
    waiting = [info]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, msgspec.Struct) or any(node is other for other in seen):
            continue
        seen.append(node)
        if isinstance(node, msgspec.inspect.CustomType):
            yield typing.get_origin(node.cls) or node.cls
        for name in node.__struct_fields__:
            child: Any = getattr(node, name)
            waiting.extend(child if _is_tuple(child) else (child,))


def _is_tuple(value: object) -> bool:
    return isinstance(value, tuple)
