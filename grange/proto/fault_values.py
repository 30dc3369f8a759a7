"""Encodes the arguments and attributes of errors. Called by `faults.py` only.

An error carries values without annotations, so each value names its own kind: plain values are MessagePack as they
are, others are MessagePack extensions with the codes below. Only these kinds are sent. A received value is decoded
into one of these kinds and never into a class that it names.
"""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, cast

import msgspec

from grange.proto.zones import UnknownZone, moment_of, text_of, without_zone

_MIN_INT, _MAX_INT = -(2**63), 2**64 - 1
"""The integers that MessagePack holds."""

TUPLE, SET, FROZEN_SET, MAPPING, BIG_INT, TEXT, DATETIME, DATE, TIME, TIMEDELTA, DECIMAL, UUID, COMPLEX, FAULT = range(
    1, 15
)
"""Extension codes. TEXT is text with lone surrogates, as file names have; MAPPING has keys that are not text."""

Pack = Callable[[Any], Any]

_encode = msgspec.msgpack.Encoder().encode


class NotSendable(TypeError):
    """The value is of a kind that errors do not carry."""


class FaultValues:
    """Packs and unpacks values. `pack_error` and `unpack_error` do the same for an error inside a value."""

    def __init__(self, pack_error: Callable[[BaseException], bytes], unpack_error: Callable[[bytes], Any]) -> None:
        self._pack_error = pack_error
        self._unpack_error = unpack_error
        self._decode: Callable[[bytes], Any] = msgspec.msgpack.Decoder(ext_hook=self._unpack).decode

    def pack(self, value: Any) -> bytes:
        """The bytes of a value. Raises NotSendable (a TypeError) for a kind that errors do not carry."""
        return _encode(self._packed(value))

    def unpack(self, data: bytes) -> Any:
        """The inverse. Raises ValueError, TypeError or another error of a constructor for data that does not fit."""
        return self._decode(data)

    def _packed(self, value: Any) -> Any:
        kind = cast("Any", type(value))
        if value is None or kind in (bool, float, bytes):
            return value
        if kind is str:
            return value if value.isascii() else _text(value)
        if kind is int:
            return value if _MIN_INT <= value <= _MAX_INT else _extension(BIG_INT, _bytes_of(value))
        if kind is list:
            return [self._packed(item) for item in value]
        if kind is dict:
            return self._packed_mapping(value)
        if kind in _COLLECTIONS:
            return _extension(_COLLECTIONS[kind], _encode([self._packed(item) for item in value]))
        if kind in _TEXTS:
            code, write = _TEXTS[kind]
            return _extension(code, write(value).encode())
        if isinstance(value, BaseException):
            return _extension(FAULT, self._pack_error(value))
        return self._packed_subclass(value)

    def _packed_mapping(self, value: dict[Any, Any]) -> Any:
        if all(type(key) is str for key in value):
            return {_text(key): self._packed(item) for key, item in value.items()}
        return _extension(MAPPING, _encode([[self._packed(key), self._packed(item)] for key, item in value.items()]))

    def _packed_subclass(self, value: Any) -> Any:
        """A value of a subclass arrives as one of the base: a member of an IntEnum as an int that is equal."""
        for base, convert in _BASES.items():
            if isinstance(value, base):
                plain = convert(value)
                if plain == value:
                    return self._packed(plain)
        raise NotSendable(type(value).__qualname__)

    def _unpack(self, code: int, data: memoryview) -> Any:
        content = bytes(data)
        if code in _MAKERS:
            return _MAKERS[code](self._decode(content))
        if code == FAULT:
            return self._unpack_error(content)
        if code == BIG_INT:
            return int.from_bytes(content, "big", signed=True)
        read = _READERS.get(code)
        if read is None:
            raise ValueError(f"unknown kind {code} of a value in an error")
        return read(content.decode("utf-8", "surrogatepass"))


def _extension(code: int, content: bytes) -> msgspec.msgpack.Ext:
    return msgspec.msgpack.Ext(code, content)


def _text(value: str) -> Any:
    try:
        value.encode()
    except UnicodeEncodeError:
        return _extension(TEXT, value.encode("utf-8", "surrogatepass"))
    return value


def _bytes_of(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _write_timedelta(value: dt.timedelta) -> str:
    return f"{value.days} {value.seconds} {value.microseconds}"


def _read_timedelta(text: str) -> dt.timedelta:
    days, seconds, microseconds = map(int, text.split())
    return dt.timedelta(days, seconds, microseconds)


def _read_moment(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Reads the text of a moment. A zone that this machine does not have is left out: the error matters more."""

    def moment(text: str) -> Any:
        try:
            return moment_of(text) or read(text)
        except UnknownZone:
            plain = without_zone(text)
            return moment_of(plain) or read(plain)

    return moment


def _plain_uuid(value: uuid.UUID) -> uuid.UUID:
    return uuid.UUID(int=value.int)


_BASES: Mapping[type, Callable[[Any], Any]] = MappingProxyType(
    {str: str.__str__, int: int.__int__, float: float.__float__, bytes: bytes.__bytes__, uuid.UUID: _plain_uuid}
)
_COLLECTIONS: Mapping[type, int] = MappingProxyType({tuple: TUPLE, set: SET, frozenset: FROZEN_SET})
_MAKERS: Mapping[int, Callable[[Any], Any]] = MappingProxyType(
    {TUPLE: tuple, SET: set, FROZEN_SET: frozenset, MAPPING: dict}
)
_TEXTS: Mapping[type, tuple[int, Callable[[Any], str]]] = MappingProxyType(
    {
        dt.datetime: (DATETIME, text_of),
        dt.date: (DATE, dt.date.isoformat),
        dt.time: (TIME, text_of),
        dt.timedelta: (TIMEDELTA, _write_timedelta),
        decimal.Decimal: (DECIMAL, str),
        uuid.UUID: (UUID, str),
        complex: (COMPLEX, repr),
    }
)
_READERS: Mapping[int, Callable[[str], Any]] = MappingProxyType(
    {
        TEXT: str,
        DATETIME: _read_moment(dt.datetime.fromisoformat),
        DATE: dt.date.fromisoformat,
        TIME: _read_moment(dt.time.fromisoformat),
        TIMEDELTA: _read_timedelta,
        DECIMAL: decimal.Decimal,
        UUID: uuid.UUID,
        COMPLEX: complex,
    }
)
