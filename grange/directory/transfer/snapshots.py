"""The entries that this silo sealed when it lost ranges, kept for the new owners. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from grange.directory.slice.partition import Sealed
from grange.directory.slice.ranges import RangeSet
from grange.membership.model.hash_ring import Ring
from grange.proto.ids import GrainAddress, SiloAddress


class Snapshot:
    """The sealed entries of one view. `remaining` are the ranges not fetched yet; `ring` names their new owners."""

    __slots__ = ("remaining", "ring", "sealed")

    def __init__(self, sealed: Sealed, ring: Ring) -> None:
        self.sealed = sealed
        self.ring = ring
        self.remaining = sealed.ranges

    def is_of(self, version: int) -> bool:
        """Whether these are the entries that this silo had until the view of this version.

        This silo decided nothing about them after the view `after`. So they are also the entries that it had until any
        version up to the one in which it lost the ranges.
        """
        return self.sealed.after < version <= self.sealed.version


class Snapshots:
    """The snapshots of one silo, oldest first. Used by `handover.py`."""

    def __init__(self) -> None:
        self._kept: list[Snapshot] = []

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, sealed: Sealed, ring: Ring) -> Snapshot | None:
        """Keep these entries, unless they cover no range or no silo is active to fetch them."""
        if not sealed.ranges or not ring.addresses:
            return None
        snapshot = Snapshot(sealed, ring)
        self._kept.append(snapshot)
        return snapshot

    def missing(self, version: int, ranges: RangeSet) -> RangeSet:
        """The part of these ranges that no snapshot of this version covers."""
        snapshot = self._find(version)
        return ranges if snapshot is None else ranges - snapshot.remaining

    def page(self, version: int, ranges: RangeSet, size: int) -> tuple[list[GrainAddress], RangeSet]:
        """Some entries of the snapshot of this version in these ranges, and the ranges left: see `Entries.page`."""
        snapshot = self._find(version)
        if snapshot is None:
            return [], RangeSet()
        return snapshot.sealed.entries.page(ranges & snapshot.remaining, size)

    def acknowledge(self, version: int, ranges: RangeSet) -> None:
        """Drop these ranges: they were fetched, or are not needed."""
        snapshot = self._find(version)
        if snapshot is not None:
            self._forget(snapshot, ranges)

    def on_silos_gone(self, gone: Iterable[SiloAddress]) -> None:
        """Drop the ranges of which these silos are the new owners. A later owner asks the hosts."""
        for snapshot in list(self._kept):
            for silo in gone:
                if silo in snapshot.ring.addresses:
                    self._forget(snapshot, RangeSet(snapshot.ring.ranges(silo)))

    def drop(self, snapshot: Snapshot) -> bool:
        """Drop all that remains of a snapshot. Returns whether it was still kept."""
        if snapshot not in self._kept:
            return False
        self._kept.remove(snapshot)
        return True

    def _find(self, version: int) -> Snapshot | None:
        return next((snapshot for snapshot in self._kept if snapshot.is_of(version)), None)

    def _forget(self, snapshot: Snapshot, ranges: RangeSet) -> None:
        snapshot.remaining -= ranges
        if snapshot.remaining:
            snapshot.sealed.entries.cut(ranges)
        else:
            self.drop(snapshot)
