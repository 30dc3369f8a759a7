"""What this silo sealed when ranges left it, kept for the new owners to fetch. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from grange.directory.slice.partition import Sealed
from grange.directory.slice.ranges import RangeSet
from grange.membership.model.hash_ring import Ring
from grange.proto.ids import GrainAddress, SiloAddress


class Snapshot:
    """One sealed piece. `left` is what nobody has taken yet; `ring` says whose it is now."""

    __slots__ = ("left", "ring", "sealed")

    def __init__(self, sealed: Sealed, ring: Ring) -> None:
        self.sealed = sealed
        self.ring = ring
        self.left = sealed.ranges

    def answers(self, version: int) -> bool:
        """Whether this is what we had until the view of this version.

        We decided nothing about it after the view `after`, so it is also what we had until any version up to the one
        we noticed it in.
        """
        return self.sealed.after < version <= self.sealed.version


class Snapshots:
    """The sealed pieces of one silo, oldest first. Used by `handover.py`."""

    def __init__(self) -> None:
        self._kept: list[Snapshot] = []

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, sealed: Sealed, ring: Ring) -> Snapshot | None:
        """Keep it, if somebody is there to take it."""
        if not sealed.ranges or not ring.addresses:
            return None
        snapshot = Snapshot(sealed, ring)
        self._kept.append(snapshot)
        return snapshot

    def missing(self, version: int, ranges: RangeSet) -> RangeSet:
        """The part of these ranges that no snapshot of this version covers."""
        snapshot = self._find(version)
        return ranges if snapshot is None else ranges - snapshot.left

    def page(self, version: int, ranges: RangeSet, size: int) -> tuple[list[GrainAddress], RangeSet]:
        """Some of the entries that the snapshot of this version has in these ranges, and the ranges left."""
        snapshot = self._find(version)
        if snapshot is None:
            return [], RangeSet()
        return snapshot.sealed.entries.page(ranges & snapshot.left, size)

    def taken(self, version: int, ranges: RangeSet) -> None:
        """These were fetched, or are not needed: forget them."""
        snapshot = self._find(version)
        if snapshot is not None:
            self._forget(snapshot, ranges)

    def silos_gone(self, gone: Iterable[SiloAddress]) -> None:
        """Nobody else takes what was theirs: who owns it after them asks the hosts."""
        for snapshot in list(self._kept):
            for silo in gone:
                if silo in snapshot.ring.addresses:
                    self._forget(snapshot, RangeSet(snapshot.ring.ranges(silo)))

    def drop(self, snapshot: Snapshot) -> bool:
        """Forget all that is left of it. False: it had gone already."""
        if snapshot not in self._kept:
            return False
        self._kept.remove(snapshot)
        return True

    def _find(self, version: int) -> Snapshot | None:
        return next((snapshot for snapshot in self._kept if snapshot.answers(version)), None)

    def _forget(self, snapshot: Snapshot, ranges: RangeSet) -> None:
        snapshot.left -= ranges
        if snapshot.left:
            snapshot.sealed.entries.cut(ranges)
        else:
            self.drop(snapshot)
