"""Which values a call inside one process may share without encoding them. Pure.

A value is shared if its class alone, or a quick look at it, shows that encoding and decoding would give an equal value
within the size limit. All other values are encoded and decoded, as for a call to another process.
"""

from __future__ import annotations

import datetime as dt
import enum
import types
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, get_origin
from zoneinfo import ZoneInfo

import msgspec
from msgspec import inspect as ms

from grange.proto.zones import class_as_any, zone_key

LEAF_BYTES = 96
"""More bytes than any shared value is encoded in, apart from the characters of a text."""

Look = Callable[[Any], bool]
"""Whether a value of the class may be shared."""


class Shares(Protocol):
    """The part of `values.Extension` that this file needs."""

    def matches(self, kind: type) -> bool:
        """Whether the type is one of these."""
        ...

    def shared(self, kind: type) -> Mapping[type, Look | None]:
        """As `shared_classes`."""
        ...


def shared_classes(node: Any, short: int, extensions: Sequence[Shares]) -> dict[type, Look | None]:
    """The exact classes of values that may be shared, each with the look that decides; None: share every value.

    `short` is the length up to which texts are shared; negative: share nothing.
    """
    if short < 0:
        return {}
    if isinstance(node, ms.UnionType):
        return {cls: look for part in node.types for cls, look in shared_classes(part, short, extensions).items()}
    if isinstance(node, ms.Metadata):
        return shared_classes(node.type, short, extensions)
    if isinstance(node, ms.CustomType):
        kind = get_origin(node.cls) or node.cls
        return {cls: look for one in extensions if one.matches(kind) for cls, look in one.shared(kind).items()}
    if isinstance(node, ms.EnumType):
        # A flag may keep unknown bits, of any number.
        return {node.cls: None} if not issubclass(node.cls, enum.Flag) and _are_small(node.cls) else {}
    if isinstance(node, ms.LiteralType):
        return _literals(node.values)
    if any(getattr(node, name) is not None for name in node.__struct_fields__):
        return {}  # a constraint, or a container
    return _leaf(class_as_any(node), short)


def _leaf(node: type, short: int) -> dict[type, Look | None]:
    leaves: dict[type, dict[type, Look | None]] = {
        ms.NoneType: {types.NoneType: None},
        ms.BoolType: {bool: None},
        ms.FloatType: {float: None},
        ms.UUIDType: {uuid.UUID: None},
        ms.DateType: {dt.date: None},
        ms.TimeDeltaType: {dt.timedelta: None},
        ms.IntType: {int: _is_64_bit},
        ms.StrType: {str: lambda text: len(text) <= short and text.isascii()},
        ms.BytesType: {bytes: lambda data: len(data) <= short},
        ms.DateTimeType: {dt.datetime: _has_known_zone},
        ms.TimeType: {dt.time: lambda time: time.tzinfo is None and not time.fold},
    }
    return leaves.get(node, {})


def _is_64_bit(value: int) -> bool:
    return -0x8000000000000000 <= value <= 0xFFFFFFFFFFFFFFFF


def _has_known_zone(value: dt.datetime) -> bool:
    zone = value.tzinfo
    if zone is None or zone is dt.UTC:
        return True
    key = zone_key(zone)
    if key is None or len(key) > 32:
        return False
    try:
        return ZoneInfo(key) is zone  # what a receiver finds under the key
    except (ValueError, LookupError, OSError):
        return False


def _are_small(values: Iterable[Any]) -> bool:
    try:
        return all(len(msgspec.msgpack.encode(value)) <= LEAF_BYTES for value in values)
    except (TypeError, ValueError, OverflowError):
        return False


def _literals(values: tuple[Any, ...]) -> dict[type, Look | None]:
    allowed: dict[type, set[Any]] = {}
    for value in values:
        allowed.setdefault(class_as_any(value), set()).add(value)
    return {cls: some.__contains__ for cls, some in allowed.items() if _are_small(some)}
