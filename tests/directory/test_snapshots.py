"""Sealed entries, until they are fetched."""

from __future__ import annotations

from grange.directory.slice.entries import Entries
from grange.directory.slice.partition import Sealed
from grange.directory.slice.ranges import RangeSet
from grange.directory.transfer.snapshots import Snapshots
from grange.membership.model.hash_ring import RING_SIZE, Range, Ring
from grange.proto.ids import GrainAddress, GrainId, SiloAddress

ALL = RangeSet([Range(0, RING_SIZE)])
HALF = RangeSet([Range(0, RING_SIZE // 2)])
ME, FIRST, SECOND = (SiloAddress("silo", port, 1) for port in range(3))
GRAINS = [GrainId("cart", str(number)) for number in range(40)]
RING = Ring([FIRST, SECOND])


def sealed(after: int, version: int, ranges: RangeSet = ALL) -> Sealed:
    entries = Entries()
    for grain_id in GRAINS:
        if grain_id.ring_hash in ranges:
            entries.put(GrainAddress(grain_id, ME, 1), grain_id.ring_hash)
    return Sealed(after, version, ranges, entries)


def test_a_snapshot_answers_for_the_views_that_were_applied_in_its_step_only() -> None:
    """The silo decided last under view 3 and lost the range with view 6. So the snapshot is of 4, 5 and 6, not of 7."""
    snapshots = Snapshots()
    snapshots.add(sealed(3, 6), RING)
    for version, covered in [(3, False), (4, True), (5, True), (6, True), (7, False)]:
        assert bool(snapshots.missing(version, HALF)) is not covered
        page, rest = snapshots.page(version, HALF, 1000)
        assert bool(page) is covered
        assert not rest


def test_ranges_that_a_snapshot_does_not_cover_are_missing() -> None:
    snapshots = Snapshots()
    snapshots.add(sealed(1, 2, HALF), RING)
    assert snapshots.missing(2, ALL) == ALL - HALF
    page, _ = snapshots.page(2, ALL, 1000)
    assert {entry.grain_id for entry in page} == {grain for grain in GRAINS if grain.ring_hash in HALF}


def test_acknowledged_ranges_are_dropped_and_the_last_one_ends_the_snapshot() -> None:
    snapshots = Snapshots()
    snapshots.add(sealed(1, 2), RING)
    snapshots.acknowledge(2, HALF)
    assert snapshots.missing(2, ALL) == HALF
    assert len(snapshots) == 1
    snapshots.acknowledge(1, ALL)
    assert len(snapshots) == 1
    snapshots.acknowledge(2, ALL - HALF)
    assert len(snapshots) == 0


def test_the_ranges_of_a_dead_new_owner_are_dropped_and_the_others_stay() -> None:
    snapshots = Snapshots()
    snapshots.add(sealed(1, 2), RING)
    snapshots.on_silos_gone([ME, FIRST])
    assert snapshots.missing(2, ALL) == RangeSet(RING.ranges(FIRST))
    snapshots.on_silos_gone([SECOND])
    assert len(snapshots) == 0


def test_no_snapshot_is_kept_without_ranges_or_without_an_active_silo() -> None:
    snapshots = Snapshots()
    assert snapshots.add(sealed(1, 2), Ring([])) is None
    assert snapshots.add(sealed(1, 2, RangeSet()), RING) is None
    kept = snapshots.add(sealed(2, 3), RING)
    assert kept is not None
    assert snapshots.drop(kept)
    assert not snapshots.drop(kept)
    assert len(snapshots) == 0
