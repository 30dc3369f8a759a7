"""Datetimes and times with their zone, as text. Pure.

msgspec writes most datetimes itself, as RFC 3339 text or as a MessagePack timestamp. What these cannot hold is written
here, as RFC 9557 text: the key of a named zone (`2024-07-01T22:00:00-04:00[America/New_York]`), `fold=1`
(`…[_fold=1]`), and an offset with seconds. `lifting.py` finds these texts by the type of the value.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any, TypeGuard
from zoneinfo import ZoneInfo

BUILTIN_TYPES = (bytes, bytearray, memoryview, dt.datetime, dt.date, dt.time, dt.timedelta)
"""Types that `msgspec.to_builtins` leaves alone, because both encoders write them."""

_SUFFIXED = re.compile(rb":\d\d(?:\.\d+)?(?:[+-]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?\[|[+-]\d\d:\d\d:\d\d")
_MOMENT = re.compile(
    r"(?P<plain>(?P<date>\d{4}-\d\d-\d\dT)?\d\d:\d\d:\d\d(?:\.\d{1,6})?"
    r"(?:[+-]\d\d:\d\d(?P<seconds>:\d\d(?:\.\d{1,6})?)?)?)(?:\[(?P<zone>(?!_fold=1\])[^\[\]]+)\])?(?P<fold>\[_fold=1\])?"
)


def zone_key(zone: dt.tzinfo | None) -> str | None:
    """The key of a named zone, by which it travels. None: the zone travels as its offset."""
    return zone.key if isinstance(zone, ZoneInfo) else None


def is_plain(moment: dt.datetime | dt.time) -> bool:
    """Whether msgspec alone writes this moment so that it is read back equal, in any encoding."""
    return not moment.fold and (moment.tzinfo is None or moment.tzinfo is dt.UTC)


def may_hold_zones(payload: bytes) -> bool:
    """Whether a payload may hold text that only this module reads. It may also be another text that looks like it."""
    return _SUFFIXED.search(payload) is not None


def text_of(moment: dt.datetime | dt.time) -> str:
    """The text of a moment, in the format of this module."""
    key = zone_key(moment.tzinfo)
    return moment.isoformat() + (f"[{key}]" if key else "") + ("[_fold=1]" if moment.fold else "")


def moment_of(text: str) -> dt.datetime | dt.time | None:
    """The moment of a text that only this module reads; None for any other text.

    Raises UnknownZone for a zone that this machine does not have.
    """
    match = _MOMENT.fullmatch(text)
    if match is None or not (match["zone"] or match["fold"] or match["seconds"]):
        return None
    kind = dt.datetime if match["date"] else dt.time
    try:
        moment = kind.fromisoformat(match["plain"]).replace(fold=1 if match["fold"] else 0)
    except ValueError:
        return None
    return moment if match["zone"] is None else _in_zone(moment, match["zone"])


class UnknownZone(ValueError):
    """This machine has no time zone with this key."""


def _in_zone(moment: Any, key: str) -> Any:
    try:
        named = moment.replace(tzinfo=ZoneInfo(key))
    except (ValueError, LookupError, OSError):
        raise UnknownZone(f"this machine has no time zone {key!r}; install the package tzdata") from None
    # This machine may have other rules for the zone than the writer. The instant and the offset count more.
    return named if named.utcoffset() == moment.utcoffset() else moment


def without_zone(text: str) -> str:
    """The text of a moment without the key of its zone: it keeps its offset."""
    match = _MOMENT.fullmatch(text)
    return text if match is None else match["plain"] + (match["fold"] or "")


def lower(value: Any) -> Any:
    """Replace moments in builtin containers by text, except those that msgspec writes so that they are read equal."""
    if isinstance(value, dt.datetime | dt.time):
        return value if is_plain(value) else text_of(value)
    return mapped(value, lower)


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """A copy of a builtin container with each part changed; any other value as it is."""
    if is_dict(value):
        return {change(key): change(item) for key, item in value.items()}
    if is_sequence(value):
        return type(value)(change(item) for item in value)
    return value


def class_as_any(value: object) -> Any:
    """The class of a value whose type is not known."""
    return type(value)


def is_dict(value: object) -> TypeGuard[dict[Any, Any]]:
    """Whether a value is a dict, of parts that are not known."""
    return isinstance(value, dict)


def is_sequence(value: object) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    """Whether a value is a list or tuple, of parts that are not known."""
    return isinstance(value, list | tuple)
