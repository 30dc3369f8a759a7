"""The plan of one method: encodes, decodes and isolates its arguments and results.

It is made once per method and silo (or client), from the facts that hold for every call; the hot path only reads it.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Hashable
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import Any, Union, cast, get_args, get_origin
from uuid import UUID

import msgspec

from grange.errors import InvalidCall, InvalidResult, PayloadTooLarge
from grange.grains.interface import InterfaceSpec, MethodSpec
from grange.grains.items import State, begin
from grange.grains.work import RunsWork
from grange.observability.counters import MethodFigures, SentFigures
from grange.proto.checks import Found, Unfit
from grange.proto.message import Encoding
from grange.proto.sharing import LEAF_BYTES
from grange.proto.values import TOO_DEEP, ValueCodec
from grange.runtime.options import RuntimeOptions
from grange.runtime.requests.argument_errors import in_words

MAX_SHARED_TEXT = 1024
"""Characters; longer texts are encoded in local calls too, so that sizes are refused as in remote calls."""

MOST_PLAIN = 16
"""Combinations of argument classes that a plan remembers as encodable without a check."""

BATCH_OVERHEAD = 1024
"""Bytes of a batch beside its items, at most."""

JSON_BATCH = "$enumeration"
"""The field of a batch in JSON that holds its number. No other result in JSON begins with it."""

_MISSING = object()
_SMALL = frozenset({None, type(None), bool, int, float, datetime, date, time, timedelta, UUID})
"""Types whose values have a few bytes each."""

_ARRAY_OF_0 = 0x90  # msgpack: the first byte of an array of n < 16 items is this plus n


class MethodPlan:
    """One method with its codecs. Arguments and results over `payload_limit` bytes are refused.

    `run(grain, *args)` starts the method, in a unit of work if it is `@transactional`; `invoke` does so with the
    filters of its silo or client around it. `figures`: the requests that this process takes, if it hosts the class;
    `sent`: its calls to other processes. `guard`: identities that may call it in this silo, as `authorization.py`
    has found; None: nothing restricts it.
    """

    __slots__ = (
        "_codec", "_decode_full", "_decode_result", "_exact", "_exact_result", "_full_prefix", "_native", "_plain",
        "_result", "_shapes", "_shared", "_shared_result", "_struct", "_struct_by_name", "figures", "guard",
        "has_small_result", "interface_version", "invoke", "is_special", "method", "name", "one_way", "payload_limit",
        "run", "sent", "timeout",
    )  # fmt: skip

    def __init__(self, method: MethodSpec, codec: ValueCodec, payload_limit: int) -> None:
        place = f"{method!r}"
        for parameter, kind in zip(method.parameters, method.types, strict=True):
            codec.check(kind, f"{place}, argument {parameter.name!r}")
        codec.check(method.result, f"{place}, result")
        if method.options.keep is not None:
            codec.check(method.result, f"{place}, result, which is kept as JSON", Encoding.JSON)
        self.method = method
        self.name = method.name
        self.run: Callable[..., Awaitable[Any]] = self._in_work if method.options.transactional else method.invoke
        self.invoke = self.run
        self.figures = MethodFigures(method.name)
        self.sent = SentFigures(method.owner, method.name)
        self.guard: set[bytes] | None = None
        self.timeout = method.options.timeout
        self.one_way = method.options.one_way
        self.interface_version = method.interface_version
        # Whether its calls need more than an answer within the time-out, so that the caller's usual case is not for it.
        self.is_special = self.one_way or method.options.awaits_end or method.options.cancels
        self.has_small_result = _is_small(method.result)
        self._codec = codec
        self.payload_limit = payload_limit
        self._native = codec.native[Encoding.MSGPACK]
        self._shapes = tuple(codec.of(kind).shape for kind in method.types)
        self._exact = tuple(shape.exact for shape in self._shapes)
        self._plain: set[tuple[type, ...]] = set()  # of calls whose arguments needed no check
        self._result = codec.of(method.result)
        self._decode_result = self._result.direct
        self._exact_result = self._result.shape.exact
        # Texts so short that arguments which are shared can never be over the limit together.
        short = min(MAX_SHARED_TEXT, (payload_limit - 5) // max(method.arity, 1) - LEAF_BYTES)
        self._shared = tuple(codec.shared(kind, short) for kind in method.types)
        self._shared_result = codec.shared(method.result, min(MAX_SHARED_TEXT, payload_limit - LEAF_BYTES))
        # The first byte of an array of all arguments, which is decoded faster; -1: decode every array as a struct.
        self._full_prefix = _ARRAY_OF_0 + method.arity if method.arity < 16 else -1
        self._decode_full = codec.of(types.GenericAlias(tuple, method.types)).direct
        self._struct = _struct(method, array_like=True)
        self._struct_by_name = _struct(method, array_like=False)

    def isolate(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Arguments that the callee may keep, equal to those that a callee in another process would get.

        Raises InvalidCall and PayloadTooLarge as a call to another process does.
        """
        position = 0
        for value in args:  # counted by hand: `zip` and `enumerate` take two and three times as long
            look = self._shared[position].get(type(value), _never)  # pyright: ignore[reportUnknownArgumentType]
            if look is not None and not look(value):
                return self.decode(self.encode(args))
            position += 1  # noqa: SIM113
        return args

    def encode(self, args: tuple[object, ...]) -> bytes:
        """Encode arguments for the wire.

        Raises InvalidCall naming the argument that cannot be carried, and PayloadTooLarge.
        """
        if tuple([type(value) for value in args]) in self._plain or self._is_plain(args):
            try:
                payload = self._native(args)
            except Exception:
                payload = self._encode_checked(args)  # raises again, and names the argument
        else:
            payload = self._encode_checked(args)
        if len(payload) > self.payload_limit:
            raise PayloadTooLarge(
                f"the arguments of {self.method!r} have {len(payload)} bytes; the limit is {self.payload_limit}: "
                "send a reference to the data, or raise payload_limit",
                len(payload),
                self.payload_limit,
            )
        return payload

    def decode(self, payload: bytes, encoding: Encoding = Encoding.MSGPACK) -> tuple[Any, ...]:
        """Decode arguments: an array, or in JSON also an object by name. Raises InvalidCall naming the argument."""
        try:
            if encoding is Encoding.MSGPACK and payload and payload[0] == self._full_prefix:
                return self._decode_full(payload)  # type: ignore[no-any-return]
            named = encoding is Encoding.JSON and payload.lstrip()[:1] == b"{"
            codec = self._codec.of(self._struct_by_name if named else self._struct, encoding)
            struct = codec.decode(payload)
            if encoding is Encoding.JSON:
                codec.refuse_unknown_fields(payload)
        except RecursionError:
            raise InvalidCall(f"{self.method!r}: the data is nested too deeply") from None
        except Exception as error:  # includes errors of the author's __post_init__ or validators: no method ran
            raise InvalidCall(f"{self.method!r}: {in_words(self.method, str(error))}") from error
        values = msgspec.structs.astuple(struct)
        return values if _MISSING not in values else self._without_gaps(values)

    def isolate_result(self, value: Any) -> Any:
        """A result that the caller may keep, equal to the one that a caller in another process would get.

        Raises InvalidResult.
        """
        look = self._shared_result.get(type(value), _never)  # pyright: ignore[reportUnknownArgumentType]
        if look is None or look(value):
            return value
        return self.decode_result(self.encode_result(value, Encoding.MSGPACK, self.payload_limit))

    def encode_result(self, value: Any, encoding: Encoding, limit: int) -> bytes:
        """Encode a result for the wire. Raises InvalidResult, also for more than `limit` bytes."""
        if encoding is Encoding.MSGPACK and type(value) in self._exact_result:
            try:
                payload = self._native(value)
            except Exception:
                payload = self._encode_result_checked(value, encoding)  # raises again, and names the part
        else:
            payload = self._encode_result_checked(value, encoding)
        if len(payload) > limit:
            raise InvalidResult(
                f"{self.method!r} was executed, its result has {len(payload)} bytes; the limit is {limit}"
            )
        return payload

    def _encode_result_checked(self, value: Any, encoding: Encoding) -> bytes:
        try:
            result = self._result if encoding is Encoding.MSGPACK else self._codec.of(self.method.result, encoding)
            return result.encode(value)
        except Exception as error:  # includes errors of the author's classes
            raise InvalidResult(f"{self.method!r} was executed, its result cannot be sent: {error}") from error

    def decode_result(self, payload: bytes) -> Any:
        """Decode a result from the wire. Raises InvalidResult."""
        try:
            return self._decode_result(payload)
        except Exception as error:  # includes errors of the author's __post_init__ or validators
            raise InvalidResult(f"{self.method!r} was executed, its result does not fit: {error}") from error

    def decode_kept(self, payload: bytes) -> Any:
        """Decode a kept answer. Raises InvalidResult."""
        try:
            return self._codec.of(self.method.result, Encoding.JSON).decode(payload)
        except Exception as error:  # includes errors of the author's __post_init__ or validators
            raise InvalidResult(
                f"{self.method!r} was executed before, its kept answer does not fit: {error}"
            ) from error

    def _in_work(self, grain: Any, *args: Any) -> Awaitable[Any]:
        activation: RunsWork = grain._grange
        return activation.in_work(self, args)

    def _is_plain(self, args: tuple[object, ...]) -> bool:
        """Whether the classes of these arguments need no check. Remembers them if so."""
        if any(type(value) not in exact for exact, value in zip(self._exact, args, strict=False)):
            return False
        if len(self._plain) < MOST_PLAIN:
            self._plain.add(tuple([type(value) for value in args]))
        return True

    def _encode_checked(self, args: tuple[Any, ...]) -> bytes:
        found, position = Found(), 0
        try:
            for shape, value in zip(self._shapes, args, strict=False):
                if type(value) not in shape.exact:
                    shape.check(value, found)
                position += 1
            return self._codec.write(args, Encoding.MSGPACK, found)
        except Unfit as error:
            if position < len(args):
                error.within(f"[{position}]")
            raise InvalidCall(f"{self.method!r}: {in_words(self.method, str(error))}") from error.__cause__
        except RecursionError:
            raise InvalidCall(f"{self.method!r}: {TOO_DEEP}") from None
        except Exception as error:  # includes errors of the author's classes: no method ran
            raise InvalidCall(f"{self.method!r}: {in_words(self.method, str(error))}") from error

    def _without_gaps(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Drop missing trailing arguments, so that the method's defaults apply; fill gaps between named arguments."""
        end = max((i + 1 for i, value in enumerate(values) if value is not _MISSING), default=0)
        parameters = self.method.parameters
        return tuple(parameters[i].default if v is _MISSING else v for i, v in enumerate(values[:end]))


class Batch(msgspec.Struct):
    """A batch of items as the silo of their grain makes it. `items` are encoded, as MessagePack."""

    number: int
    state: State
    items: list[bytes]
    note: str = ""


class StreamPlan(MethodPlan):
    """A streamed method, or the hidden method that fetches its next items. Its answers are batches.

    Each item is checked and encoded when the generator yields it, so that an error is that of one item. In a payload, a
    batch is an array: number, state, array of items, note; in JSON an object.
    """

    __slots__ = ("_decode_batch", "item_limit")

    def __init__(self, method: MethodSpec, codec: ValueCodec, payload_limit: int) -> None:
        super().__init__(method, codec, payload_limit)
        self.has_small_result = False
        self.item_limit = payload_limit - BATCH_OVERHEAD
        if method.fetch is not None:
            self.invoke = self._begin
        items = types.GenericAlias(list, (method.result,))
        self._decode_batch = codec.of(types.GenericAlias(tuple, (int, int, items, str))).direct

    def _begin(self, grain: Any, *args: Any) -> Awaitable[Any]:
        return begin(grain, self.method.name, self.method.invoke(grain, *args))

    def isolate_item(self, item: Any) -> Any:
        """An item as a caller in another process would get it. Raises InvalidResult."""
        look = self._shared_result.get(type(item), _never)  # pyright: ignore[reportUnknownArgumentType]
        return item if look is None or look(item) else self._decode_result(self.encode_item(item))

    def encode_item(self, item: Any) -> bytes:
        """Encode an item. Raises InvalidResult."""
        try:
            payload = self._result.encode(item)
        except Exception as error:  # includes errors of the author's classes
            raise InvalidResult(f"{self.method!r}: an item cannot be sent: {error}") from error
        if len(payload) > self.item_limit:
            raise InvalidResult(f"{self.method!r}: an item has {len(payload)} bytes; the limit is {self.item_limit}")
        return payload

    def isolate_result(self, value: Batch) -> Any:
        """A batch as a caller in another process would get it."""
        return self.decode_result(self.encode_result(value, Encoding.MSGPACK, self.payload_limit))

    def encode_result(self, value: Batch, encoding: Encoding, limit: int) -> bytes:
        """Encode a batch for the wire. Raises InvalidResult for more than `limit` bytes, and for what a filter made."""
        if not isinstance(cast("object", value), Batch):
            raise InvalidResult(f"{self.method!r} streams its items: a filter can only return what proceed() returns")
        if encoding is Encoding.JSON:
            payload = self._as_json(value)
        else:
            payload = self._native((value.number, value.state, [msgspec.Raw(item) for item in value.items], value.note))
        if len(payload) > limit:
            raise InvalidResult(f"{self.method!r}: a batch has {len(payload)} bytes; the limit is {limit}")
        return payload

    def decode_result(self, payload: bytes) -> Any:
        """Decode a batch: number, state, items, note. Raises InvalidResult."""
        try:
            return self._decode_batch(payload)
        except Exception as error:  # includes errors of the author's __post_init__ or validators
            raise InvalidResult(f"{self.method!r}: an item does not fit: {error}") from error

    def _as_json(self, batch: Batch) -> bytes:
        json = self._codec.of(self.method.result, Encoding.JSON)
        try:
            items = [msgspec.Raw(json.encode(self._decode_result(item))) for item in batch.items]
        except Exception as error:
            raise InvalidResult(f"{self.method!r}: an item cannot be sent as JSON: {error}") from error
        return msgspec.json.encode({JSON_BATCH: batch.number, "state": batch.state, "items": items, "note": batch.note})


def _never(value: object) -> bool:
    return False


class Plans(dict[MethodSpec, MethodPlan]):
    """The plans of one silo or client: `plans[method]`, made at first use.

    Raises ConfigurationError for an annotation that cannot be encoded.
    """

    def __init__(self, codec: ValueCodec, payload_limit: int = RuntimeOptions().payload_limit) -> None:
        super().__init__()
        self.codec = codec
        self._payload_limit = payload_limit

    def __missing__(self, method: MethodSpec) -> MethodPlan:
        kind = StreamPlan if method.streams else MethodPlan
        plan = self[method] = kind(method, self.codec, self._payload_limit)
        return plan

    def of_interface(self, spec: InterfaceSpec) -> dict[str, MethodPlan]:
        """The plans of all methods of a class, by name, with those of its hidden methods."""
        return {method.name: self[method] for method in (*spec.methods.values(), *spec.hidden)}


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
