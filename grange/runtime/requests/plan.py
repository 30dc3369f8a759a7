"""The plan of one method: encodes, decodes and isolates its arguments and results.

It is made once per method and silo (or client), from the facts that hold for every call; the hot path only reads it.
"""

from __future__ import annotations

import types
from collections.abc import Hashable
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import Any, Union, get_args, get_origin
from uuid import UUID

import msgspec

from grange.errors import InvalidCall, InvalidResult
from grange.grains.interface import InterfaceSpec, MethodSpec
from grange.proto.message import Encoding
from grange.proto.values import ValueCodec

_MISSING = object()
_SMALL = frozenset({None, type(None), bool, int, float, datetime, date, time, timedelta, UUID})
"""Types whose values have a few bytes each."""

_ARRAY_OF_0 = 0x90  # msgpack: the first byte of an array of n < 16 items is this plus n


class MethodPlan:
    """One method with its codecs."""

    __slots__ = (
        "_args_type", "_codec", "_decode_full", "_full_prefix", "_named_type", "_result_classes", "_shareable",
        "has_small_result", "method", "timeout",
    )  # fmt: skip

    def __init__(self, method: MethodSpec, codec: ValueCodec) -> None:
        place = f"{method!r}"
        for parameter, kind in zip(method.parameters, method.types, strict=True):
            codec.check(kind, f"{place}, argument {parameter.name!r}")
        codec.check(method.result, f"{place}, result")
        self.method = method
        self.timeout = method.options.timeout
        self.has_small_result = _is_small(method.result)
        self._codec = codec
        self._shareable = tuple(codec.shareable(kind) for kind in method.types)
        self._result_classes = codec.shareable(method.result)
        # The first byte of an array of all arguments, which is decoded faster; -1: decode every array as a struct.
        self._full_prefix = _ARRAY_OF_0 + method.arity if method.arity < 16 else -1
        self._decode_full = codec.decoder(types.GenericAlias(tuple, method.types))
        self._args_type = _struct(method, array_like=True)
        self._named_type = _struct(method, array_like=False)

    def isolate(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Arguments that the callee may keep: immutable values are shared, others copied. Raises InvalidCall."""
        for classes, value in zip(self._shareable, args, strict=False):
            if classes is not None and type(value) not in classes:
                return self._copied(args)
        return args

    def encode(self, args: tuple[Any, ...]) -> bytes:
        """Encode arguments for the wire. Raises InvalidCall naming the value that cannot be encoded."""
        try:
            return self._codec.encode(args)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidCall(f"{self.method!r}: {error}") from None

    def decode(self, payload: bytes, encoding: Encoding = Encoding.MSGPACK) -> tuple[Any, ...]:
        """Decode arguments: an array, or in JSON also an object by name. Raises InvalidCall naming the argument."""
        try:
            if encoding is Encoding.MSGPACK and payload and payload[0] == self._full_prefix:
                return self._decode_full(payload)  # type: ignore[no-any-return]
            named = encoding is Encoding.JSON and payload.lstrip()[:1] == b"{"
            struct = self._codec.decoder(self._named_type if named else self._args_type, encoding)(payload)
        except Exception as error:  # includes errors of the author's __post_init__ or validators: no method ran
            raise InvalidCall(f"{self.method!r}: {self._name_arguments(str(error))}") from error
        values = msgspec.structs.astuple(struct)
        return values if _MISSING not in values else self._without_gaps(values)

    def isolate_result(self, value: Any) -> Any:
        """A result that the caller may keep, copied unless it is immutable. Raises InvalidResult."""
        classes = self._result_classes
        if classes is None or type(value) in classes:
            return value
        try:
            return self._codec.copy(self.method.result, value)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidResult(f"{self.method!r} was executed, its result cannot be sent: {error}") from None

    def encode_result(self, value: Any, encoding: Encoding) -> bytes:
        """Encode a result for the wire. Raises InvalidResult."""
        try:
            return self._codec.encode(value, encoding)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidResult(f"{self.method!r} was executed, its result cannot be sent: {error}") from None

    def decode_result(self, payload: bytes) -> Any:
        """Decode a result from the wire. Raises InvalidResult."""
        try:
            return self._codec.decoder(self.method.result)(payload)
        except ValueError as error:
            raise InvalidResult(f"{self.method!r} was executed, its result does not fit: {error}") from None

    def _copied(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        copied = self.decode(self.encode(args))
        pairs = zip(self._shareable, args, copied, strict=False)
        return tuple(value if classes is None or type(value) in classes else copy for classes, value, copy in pairs)

    def _without_gaps(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Drop missing trailing arguments, so that the method's defaults apply; fill gaps between named arguments."""
        end = max((i + 1 for i, value in enumerate(values) if value is not _MISSING), default=0)
        parameters = self.method.parameters
        return tuple(parameters[i].default if v is _MISSING else v for i, v in enumerate(values[:end]))

    def _name_arguments(self, text: str) -> str:
        """Replace the positions in a decoding error by the names of the arguments."""
        for position, parameter in enumerate(self.method.parameters):
            text = text.replace(f"$[{position}]", f"argument {parameter.name!r}")
        return text


class Plans:
    """The plans of one silo or client, made at first use."""

    def __init__(self, codec: ValueCodec) -> None:
        self.codec = codec
        self._plans: dict[MethodSpec, MethodPlan] = {}

    def of(self, method: MethodSpec) -> MethodPlan:
        """The plan of a method. Raises ConfigurationError for an annotation that cannot be encoded."""
        plan = self._plans.get(method)
        if plan is None:
            plan = self._plans[method] = MethodPlan(method, self.codec)
        return plan

    def of_interface(self, spec: InterfaceSpec) -> dict[str, MethodPlan]:
        """The plans of all methods of a class, by name."""
        return {name: self.of(method) for name, method in spec.methods.items()}


def _is_small(kind: Any) -> bool:
    """Whether each value of this type has a few bytes."""
    if isinstance(kind, types.UnionType) or get_origin(kind) is Union:
        return all(map(_is_small, get_args(kind)))
    return isinstance(kind, Hashable) and (kind in _SMALL or (isinstance(kind, type) and issubclass(kind, Enum)))


def _struct(method: MethodSpec, array_like: bool) -> type[msgspec.Struct]:
    """The arguments as a struct: optional ones get a default; surplus ones are refused."""
    fields: list[Any] = []
    for parameter, kind in zip(method.parameters, method.types, strict=True):
        optional = parameter.default is not parameter.empty
        field = msgspec.field(default_factory=lambda: _MISSING) if optional else msgspec.field()
        fields.append((parameter.name, kind, field))
    return msgspec.defstruct(
        f"{method.name}_arguments",
        fields,
        array_like=array_like,
        forbid_unknown_fields=True,
        kw_only=True,
        gc=False,
    )
