"""Decides every operation on this silo's slice of the directory. Pure: takes views, operations and recovered entries.

The slice covers the ranges that the ring gives this silo under its newest view. A range that the silo has just gained
is *recovering* until its entries have arrived, from the previous owner or else from every live silo. Until then,
operations on it are refused. A range that the silo has lost is *sealed*: its entries are cut off in their state after
the last decision, and the new owner fetches them.

When a silo goes, its entries are not searched for. They count as absent from then on, and the sweep of
`repair/sweep.py` removes them (ADR 0026). ADR 0022 argues why the partition never waits.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

import msgspec

from grange.directory.slice.entries import Entries
from grange.directory.slice.holds import Holds
from grange.directory.slice.ranges import RangeSet
from grange.proto.ids import GrainAddress, GrainId, SiloAddress


class Refusal(enum.StrEnum):
    """Why an operation was not decided. The caller may repeat it."""

    NOT_OWNER = "not owner"
    """Another silo owns this grain's range under this silo's newest view."""

    NOT_READY = "not ready"
    """The entries of the range have not all arrived yet."""

    NOT_LIVE = "not live"
    """The silo of the address is not live in this silo's view, so it may not register anything."""

    HELD = "held"
    """A silo that was just declared dead may still run this grain."""

    BEHIND = "behind"
    """The caller has a newer view than this silo, and this silo could not read it in time."""


class Sealed(msgspec.Struct, frozen=True):
    """The entries of ranges that were lost with the view `version`. They are complete in `ranges`.

    They have not changed since the view `after`, the last one in which this silo decided about them.
    """

    after: int
    version: int
    ranges: RangeSet
    entries: Entries


class Advance(msgspec.Struct, frozen=True):
    """The effect of a new view on the slice: ranges to fill now, silos that are gone, and the sealed entries."""

    gained: RangeSet
    gone: frozenset[SiloAddress]
    sealed: Sealed | None = None


class Conflict(msgspec.Struct, frozen=True):
    """Two activations of one grain, both registered. The loser's silo must end the loser."""

    winner: GrainAddress
    loser: GrainAddress


NOTHING = RangeSet()


class Partition:
    """The entries of one slice, and the state of its ranges. Used by `service.py` and `directory_client.py`."""

    def __init__(self) -> None:
        self.version = 0
        self.holds = Holds()
        self._entries = Entries()
        self._owned = NOTHING
        self._live: frozenset[SiloAddress] = frozenset()
        self._recovering: dict[int, RangeSet] = {}
        self._not_ready = NOTHING
        self.taken_over = False
        """Whether all owned ranges have been ready at the same time once. Ranges that move later do not change it."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def entries(self) -> list[GrainAddress]:
        """A copy of all entries of live silos, for management and tests."""
        return [entry for entry in self._entries if entry.silo in self._live]

    @property
    def owned(self) -> RangeSet:
        """The ranges that the slice covers under the newest view."""
        return self._owned

    @property
    def not_ready(self) -> RangeSet:
        """The owned ranges whose entries have not all arrived yet."""
        return self._not_ready

    def recovering(self, recovery: int) -> RangeSet:
        """The ranges still to be filled by the recovery that began with the view of this version."""
        return self._recovering.get(recovery, NOTHING)

    def advance(self, version: int, owned: RangeSet, live: frozenset[SiloAddress], reset: bool) -> Advance:
        """Apply a newer view: the ranges that it makes this silo own, and its live silos.

        Gained ranges are recovering afterwards. `reset` means that a view was missed in which another silo may have
        owned any of the ranges. Then all of them count as gained, and none can be handed over. Takes 67 ms when
        297,000 of a million entries are lost, 15 ms for 100,000 (`Entries.cut`), and next to nothing otherwise.
        """
        before = NOTHING if reset else self._owned
        gained, lost, gone = owned - before, before - owned, self._live - live
        after, self.version, self._owned, self._live = self.version, version, owned, live
        sealed = None
        if reset:
            self._entries.clear()
        elif lost:
            sealed = Sealed(after, version, lost - self._not_ready, self._entries.cut(lost))
        kept = NOTHING if reset else owned
        self._recovering = {key: left for key, ranges in self._recovering.items() if (left := ranges & kept)}
        if gained:
            self._recovering[version] = gained
        self._update_not_ready()
        return Advance(gained, gone, sealed)

    def register(self, address: GrainAddress, previous: GrainAddress | None = None) -> GrainAddress | Refusal:
        """Register the activation, and return the grain's entry, which may be another activation.

        The entry carries the version of the view under which it was registered. An existing entry stays, unless it is
        the same activation as `previous`, or its silo is gone and not held.
        """
        hash = address.grain_id.ring_hash
        if refusal := self._refusal(hash):
            return refusal
        if address.silo not in self._live:
            return Refusal.NOT_LIVE
        entry = self._entries.get(address.grain_id, hash)
        if entry is not None and entry.silo in self._live:
            if entry.same_activation(address) or not entry.same_activation(previous):
                return entry
        elif self.holds and (self.holds.is_in_doubt(hash) or (entry is not None and entry.silo in self.holds)):
            return Refusal.HELD
        entry = GrainAddress(address.grain_id, address.silo, address.activation, self.version)
        self._entries.put(entry, hash)
        return entry

    def held_by(self, grain_id: GrainId) -> SiloAddress | None:
        """The one dead silo that holds this grain: it has the entry. None: any of the held silos may."""
        hash = grain_id.ring_hash
        entry = self._entries.get(grain_id, hash)
        if entry is None or entry.silo not in self.holds or self.holds.is_in_doubt(hash):
            return None
        return entry.silo

    def lookup(self, grain_id: GrainId) -> GrainAddress | Refusal | None:
        """The entry of this grain, or None if it has none on a live silo."""
        hash = grain_id.ring_hash
        if refusal := self._refusal(hash):
            return refusal
        entry = self._entries.get(grain_id, hash)
        return entry if entry is not None and entry.silo in self._live else None

    def unregister(self, address: GrainAddress) -> Refusal | None:
        """Remove the grain's entry if it is this very activation. None means that the operation was decided."""
        hash = address.grain_id.ring_hash
        if refusal := self._refusal(hash):
            return refusal
        if address.same_activation(self._entries.get(address.grain_id, hash)):
            self._entries.remove(address.grain_id, hash)
        return None

    def merge(self, recovery: int, reported: Iterable[GrainAddress]) -> list[Conflict]:
        """Add entries reported by a live silo or handed over by the previous owner. Returns the conflicts found.

        Entries outside the ranges of this recovery are ignored. Of two activations of one grain, the one registered
        under the later version stays, in any order of the answers: the older one may be deactivating. Of the same
        version, the higher activation number stays. An entry of a silo that is gone is kept while that silo is held,
        and never replaces an entry of a live silo.
        """
        ranges = self.recovering(recovery)
        conflicts: list[Conflict] = []
        for address in reported:
            live, hash = address.silo in self._live, address.grain_id.ring_hash
            if hash not in ranges or not (live or address.silo in self.holds):
                continue
            entry = self._entries.get(address.grain_id, hash)
            if entry is not None and not entry.same_activation(address):
                if live and entry.silo in self._live:
                    winner, loser = (address, entry) if _rank(address) > _rank(entry) else (entry, address)
                    conflicts.append(Conflict(winner, loser))
                    address = winner
                elif not live:
                    continue
            self._entries.put(address, hash)
        return conflicts

    def ready(self, recovery: int, ranges: RangeSet) -> None:
        """Mark these ranges of a recovery as complete. Operations on them are decided from now on."""
        left = self.recovering(recovery) - ranges
        if left:
            self._recovering[recovery] = left
        else:
            self._recovering.pop(recovery, None)
        self._update_not_ready()

    def page(self, ranges: RangeSet, size: int) -> tuple[list[GrainAddress], RangeSet]:
        """See `Entries.page`. The entries of silos that are gone are included."""
        return self._entries.page(ranges, size)

    def is_over(self, entry: GrainAddress) -> bool:
        """Whether the entry's silo is gone and not held."""
        return entry.silo not in self._live and entry.silo not in self.holds

    def _refusal(self, hash: int) -> Refusal | None:
        if hash not in self._owned:
            return Refusal.NOT_OWNER
        if self._not_ready and hash in self._not_ready:
            return Refusal.NOT_READY
        return None

    def _update_not_ready(self) -> None:
        self._not_ready = NOTHING
        for ranges in self._recovering.values():
            self._not_ready |= ranges
        self.taken_over = self.taken_over or bool(self._owned and not self._not_ready)


def _rank(address: GrainAddress) -> tuple[int, int, SiloAddress]:
    return address.version, address.activation, address.silo
