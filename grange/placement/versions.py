"""Which hosted version of an interface serves a caller, and which of several get new grains. Pure but for `set_rules`.

A caller needs the version of the interface that it was written for. `VersionRules` are the rules of one interface;
`VersionPolicy` has those of one silo. The locator asks it where a new grain may be, and a silo whether it may serve a
request. So an operator's change counts from the next request on.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

from grange.proto.ids import SiloAddress


class Compatibility(enum.StrEnum):
    """Which hosted versions serve a caller."""

    BACKWARD = "backward"  # the caller's version and later ones
    ALL = "all"
    STRICT = "strict"  # exactly the caller's version


class Selection(enum.StrEnum):
    """Which of the silos that serve a caller get new grains."""

    ALL = "all"
    LATEST = "latest"  # those with the highest version
    MINIMUM = "minimum"  # those with the lowest version that serves the caller


class VersionRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rules of one interface."""

    compatibility: Compatibility = Compatibility.BACKWARD
    selection: Selection = Selection.ALL

    def __str__(self) -> str:
        """For people."""
        return f"compatibility {self.compatibility}, selection {self.selection}"

    def serves(self, wanted: int, hosted: int) -> bool:
        """Whether a class with the hosted version (0: without any) serves a caller that needs the wanted one."""
        if self.compatibility is Compatibility.ALL:
            return True
        return hosted == wanted or (hosted > wanted and self.compatibility is Compatibility.BACKWARD)

    def choose(self, wanted: int, hosted: Mapping[SiloAddress, int]) -> list[SiloAddress]:
        """The silos that get new grains of this caller, of those with these versions; none: no version serves it."""
        serving = {silo: version for silo, version in hosted.items() if self.serves(wanted, version)}
        if not serving or self.selection is Selection.ALL:
            return list(serving)
        best = (max if self.selection is Selection.LATEST else min)(serving.values())
        return [silo for silo, version in serving.items() if version == best]


class VersionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The rules by which versions of interfaces serve callers. All silos of a cluster should have the same."""

    compatibility: Compatibility = Compatibility.BACKWARD
    """Which hosted versions serve a caller: `backward` (the caller's version and later ones), `all`, or `strict`
    (exactly the caller's)."""

    selection: Selection = Selection.ALL
    """Which silos that serve a caller get new grains: `all`, `latest` (those with the highest version) or `minimum`
    (those with the lowest that serves)."""

    interfaces: dict[str, VersionRules] = {}
    """Rules of single interfaces, by their names: a table with `compatibility` and `selection` for each."""

    def policy(self) -> VersionPolicy:
        """The policy of a silo with these rules."""
        return VersionPolicy(VersionRules(self.compatibility, self.selection), self.interfaces)


class VersionPolicy:
    """The rules in force in one silo: a default, and those of single interfaces by their names.

    `changes` counts the changes, for those that remember an answer.
    """

    def __init__(
        self, default: VersionRules | None = None, interfaces: Mapping[str, VersionRules] | None = None
    ) -> None:
        self._configured = default or VersionRules()
        self._configured_interfaces = dict(interfaces or {})
        self.default = self._configured
        self.interfaces = dict(self._configured_interfaces)
        self.changes = 0

    def of(self, interface: str) -> VersionRules:
        """The rules of this interface."""
        return self.interfaces.get(interface, self.default)

    def set_rules(self, interface: str, rules: VersionRules | None) -> None:
        """Set the rules of an interface, or the default (""), until the silo ends. None: as it was configured."""
        if not interface:
            self.default = rules or self._configured
        elif rules is not None:
            self.interfaces[interface] = rules
        elif interface in self._configured_interfaces:
            self.interfaces[interface] = self._configured_interfaces[interface]
        else:
            self.interfaces.pop(interface, None)
        self.changes += 1
