"""The version of an interface as one number of a request. Pure.

A grain may have several interfaces, each with versions of its own, and a gateway relays requests for classes that it
does not have. So the number names the interface, too: its upper 16 bits are a hash of the interface's name, its lower
16 bits the version. 0 means that the caller needs no version.
"""

from __future__ import annotations

from collections.abc import Mapping

import xxhash

LAST_VERSION = 0xFFFF
"""The highest version of an interface."""

_BITS = 16


def interface_number(name: str) -> int:
    """The number of an interface: 16 bits, the same in every process (the lowest ones of xxh3 over its name)."""
    return xxhash.xxh3_64_intdigest(name.encode()) & LAST_VERSION


def interface_version(name: str, version: int) -> int:
    """The number that a request for this version of this interface carries; 0 for an interface without versions."""
    return interface_number(name) << _BITS | version if version else 0


def parts_of(number: int) -> tuple[int, int]:
    """The inverse: the number of the interface, and the version."""
    return number >> _BITS, number & LAST_VERSION


def by_number(versions: Mapping[str, int]) -> dict[int, tuple[str, int]]:
    """The hosted versions of one grain type, by interface, for look-ups by the number of the interface."""
    return {interface_number(name): (name, version) for name, version in versions.items()}
