"""This silo's slice of the directory, decided. Pure: views, questions and recovered entries in, decisions
out.

The slice covers the ranges that the ring gives this silo under its newest view. A range that it has just
gained is *recovering* until every live silo has told what it runs there; nothing is decided about it
meanwhile. A range that it has lost is forgotten at once: its new owner asks the hosts, not us.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

import msgspec

from grange.directory.ranges import RangeSet
from grange.proto.ids import GrainAddress, GrainId, SiloAddress


class Refusal(enum.StrEnum):
    """Why a question was not decided; it may be asked again."""

    NOT_OWNER = "not owner"
    """Under our newest view another silo owns this grain's range."""

    NOT_READY = "not ready"
    """The range is being recovered."""

    NOT_LIVE = "not live"
    """The silo of the address is gone, or was never seen: it may not register anything."""

    BEHIND = "behind"
    """The asker has seen a newer view than we have, and we could not get it."""


class Advance(msgspec.Struct, frozen=True):
    """What a new view did to the slice: ranges to recover now, and silos whose entries went with them."""

    gained: RangeSet
    gone: frozenset[SiloAddress]


class Conflict(msgspec.Struct, frozen=True):
    """Two activations claim to be the same grain's one. The loser must be dropped by its silo."""

    winner: GrainAddress
    loser: GrainAddress


NOTHING = RangeSet()


class Partition:
    """The entries of one slice. Used by `service.py`, one question at a time."""

    def __init__(self) -> None:
        self.version = 0
        self._entries: dict[GrainId, GrainAddress] = {}
        self._owned = NOTHING
        self._live: frozenset[SiloAddress] = frozenset()
        self._recovering: dict[int, RangeSet] = {}
        self._not_ready = NOTHING

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def entries(self) -> list[GrainAddress]:
        """A copy of all entries, for management and for hand-over."""
        return list(self._entries.values())

    @property
    def owned(self) -> RangeSet:
        """What the slice covers under the newest view."""
        return self._owned

    @property
    def not_ready(self) -> RangeSet:
        """The part of it that is being recovered."""
        return self._not_ready

    def recovering(self, recovery: int) -> RangeSet:
        """What is still to be recovered by the recovery that the view of this version began."""
        return self._recovering.get(recovery, NOTHING)

    def advance(self, version: int, owned: RangeSet, live: frozenset[SiloAddress], reset: bool) -> Advance:
        """A newer view: what it makes us own and who is live in it. What is gained is recovering from here
        on.

        `reset` says that a view was missed in which somebody else may have owned any of it: all of it counts
        as gained. Takes about a microsecond per entry when ranges are lost, a tenth of that when silos are
        gone, nothing else.
        """
        before = NOTHING if reset else self._owned
        gained, lost, gone = owned - before, before - owned, self._live - live
        self.version, self._owned, self._live = version, owned, live
        if reset:
            self._entries.clear()
        if lost:
            self._forget(entry for entry in self._entries.values() if entry.grain_id.ring_hash in lost)
        if gone:
            self._forget(entry for entry in self._entries.values() if entry.silo in gone)
        kept = NOTHING if reset else owned
        self._recovering = {key: left for key, ranges in self._recovering.items() if (left := ranges & kept)}
        if gained:
            self._recovering[version] = gained
        self._update_not_ready()
        return Advance(gained, gone)

    def register(self, address: GrainAddress, previous: GrainAddress | None = None) -> GrainAddress | Refusal:
        """Returns the entry that now stands; it carries the version it was registered under.

        An existing entry stays, unless it is the same activation as `previous`.
        """
        if refusal := self._refusal(address.grain_id):
            return refusal
        if address.silo not in self._live:
            return Refusal.NOT_LIVE
        entry = self._entries.get(address.grain_id)
        if entry is not None and (entry.same_activation(address) or not entry.same_activation(previous)):
            return entry
        entry = GrainAddress(address.grain_id, address.silo, address.activation, self.version)
        self._entries[entry.grain_id] = entry
        return entry

    def lookup(self, grain_id: GrainId) -> GrainAddress | Refusal | None:
        """The entry of a grain, or None."""
        return self._refusal(grain_id) or self._entries.get(grain_id)

    def unregister(self, address: GrainAddress) -> Refusal | None:
        """Removes the entry if it is this very activation; None says that the question was decided."""
        if refusal := self._refusal(address.grain_id):
            return refusal
        if address.same_activation(self._entries.get(address.grain_id)):
            del self._entries[address.grain_id]
        return None

    def merge(self, recovery: int, found: Iterable[GrainAddress]) -> list[Conflict]:
        """Take in what a live silo says it runs. What is not (or no more) of this recovery is ignored.

        Of two activations of one grain the one registered later stays, so that the order of answers does not
        matter: an older one may be on its way out. Of the same version, the higher activation number stays.
        """
        ranges = self.recovering(recovery)
        conflicts: list[Conflict] = []
        for address in found:
            if address.silo not in self._live or address.grain_id.ring_hash not in ranges:
                continue
            entry = self._entries.get(address.grain_id)
            if entry is not None and not entry.same_activation(address):
                winner, loser = (address, entry) if _rank(address) > _rank(entry) else (entry, address)
                conflicts.append(Conflict(winner, loser))
                address = winner
            self._entries[address.grain_id] = address
        return conflicts

    def recovered(self, recovery: int) -> None:
        """Every live silo has answered this recovery: its ranges are ready."""
        self._recovering.pop(recovery, None)
        self._update_not_ready()

    def _refusal(self, grain_id: GrainId) -> Refusal | None:
        hash = grain_id.ring_hash
        if hash not in self._owned:
            return Refusal.NOT_OWNER
        if self._not_ready and hash in self._not_ready:
            return Refusal.NOT_READY
        return None

    def _forget(self, entries: Iterable[GrainAddress]) -> None:
        for entry in list(entries):
            del self._entries[entry.grain_id]

    def _update_not_ready(self) -> None:
        self._not_ready = NOTHING
        for ranges in self._recovering.values():
            self._not_ready |= ranges


def _rank(address: GrainAddress) -> tuple[int, int, SiloAddress]:
    return address.version, address.activation, address.silo
