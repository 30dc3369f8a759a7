"""The values that every numeric option may have. Pure; called by the option classes of the rooms when they are made."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from grange.errors import ConfigurationError

LONGEST = 1e9
"""Seconds; the largest value of a duration: 31 years. It fits into every timer, date and field that it reaches."""

LARGEST = 2**31 - 1
"""The largest number or size: gRPC, and a field on the wire, take 32 bits."""


class OutOfRange(ConfigurationError):
    """An option has a value that it may not have. The message names it and what is allowed."""


def values_and_defaults(options: msgspec.Struct) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The values of an option class's fields, and their defaults."""
    return msgspec.structs.asdict(options), {field.name: field.default for field in msgspec.structs.fields(options)}


def check_ranges(
    room: str,
    options: Mapping[str, Any],
    defaults: Mapping[str, Any],
    zero: Collection[str] = (),
    longest: float = LONGEST,
) -> None:
    """Raise OutOfRange for an option that is out of the range that its default implies.

    An option whose default is a float is a duration above 0 of at most `longest` seconds; one whose default is an
    integer is a number or a size above 0 of at most `LARGEST`; one whose default is a bool is a bool. The options named
    in `zero` may be 0, too. Infinity and NaN are no values. Texts are checked by their class.
    """
    for name, default in defaults.items():
        if isinstance(default, str):
            continue
        value, least = options[name], "0 or more" if name in zero else "above 0"
        if isinstance(default, bool):
            fits, allowed = isinstance(value, bool), "true or false"
        elif isinstance(default, int):
            allowed = f"a whole number {least}, at most {LARGEST}"
            fits = isinstance(value, int) and _is_within(value, LARGEST, name in zero)
        else:
            allowed = f"a number of seconds {least}, at most {longest:.0f}"
            fits = _is_within(value, longest, name in zero)
        if not fits:
            raise OutOfRange(f"{room} option {name} must be {allowed}, not {value!r:.100}")


def _is_within(value: object, most: float, is_zero_allowed: bool) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return 0 < value <= most or (value == 0 and is_zero_allowed)
