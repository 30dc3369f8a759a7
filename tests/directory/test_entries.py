"""The entries in their buckets, compared with a plain dict."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from grange.directory.slice.entries import BUCKET_BITS, Entries
from grange.directory.slice.ranges import RangeSet
from grange.membership.model.hash_ring import RING_SIZE, Range
from grange.proto.ids import GrainAddress, GrainId, SiloAddress

SILO = SiloAddress("silo", 1, 1)
ALL = RangeSet([Range(0, RING_SIZE)])
GRAINS = [GrainId("cart", str(number)) for number in range(300)]
BUCKET = RING_SIZE >> BUCKET_BITS


def filled(grains: list[GrainId]) -> Entries:
    entries = Entries()
    for grain_id in grains:
        entries.put(GrainAddress(grain_id, SILO, 1), grain_id.ring_hash)
    return entries


def grains_of(entries: Entries) -> list[GrainId]:
    return sorted(entry.grain_id for entry in entries)


def bounds() -> st.SearchStrategy[int]:
    """Random bounds: anywhere, at the edge of a bucket, or exactly at a grain."""
    edges = st.integers(0, 1 << BUCKET_BITS).map(lambda place: place * BUCKET)
    at_grains = st.sampled_from(GRAINS).map(lambda grain: grain.ring_hash)
    return st.one_of(st.integers(0, RING_SIZE), edges, at_grains, at_grains.map(lambda hash: hash + 1))


def range_sets() -> st.SearchStrategy[RangeSet]:
    pairs = st.lists(st.tuples(bounds(), bounds()).map(sorted), max_size=5)
    return pairs.map(lambda found: RangeSet(Range(start, end) for start, end in found if start < end))


@given(range_sets())
@settings(deadline=None)
def test_a_cut_removes_the_entries_in_the_ranges_and_keeps_the_rest(ranges: RangeSet) -> None:
    entries = filled(GRAINS)
    taken = entries.cut(ranges)
    assert grains_of(taken) == sorted(grain for grain in GRAINS if grain.ring_hash in ranges)
    assert grains_of(entries) == sorted(grain for grain in GRAINS if grain.ring_hash not in ranges)
    assert len(taken) + len(entries) == len(GRAINS)


@given(range_sets(), st.integers(1, 50))
@settings(deadline=None)
def test_pages_hold_each_entry_in_the_ranges_once_and_in_ring_order(ranges: RangeSet, size: int) -> None:
    entries, rest, found = filled(GRAINS), ranges, list[GrainId]()
    while rest:
        page, rest = entries.page(rest, size)
        assert len(page) >= min(size, 1) or not rest
        assert not any(entry.grain_id.ring_hash in rest for entry in page)
        found += (entry.grain_id for entry in page)
    assert sorted(found) == sorted(grain for grain in GRAINS if grain.ring_hash in ranges)
    places = [grain.ring_hash // BUCKET for grain in found]
    assert places == sorted(places)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(GRAINS[:10]), st.integers(1, 3))))
@settings(deadline=None)
def test_entries_are_a_map(changes: list[tuple[bool, GrainId, int]]) -> None:
    entries, model = Entries(), dict[GrainId, GrainAddress]()
    for puts, grain_id, number in changes:
        if puts:
            model[grain_id] = GrainAddress(grain_id, SILO, number)
            entries.put(model[grain_id], grain_id.ring_hash)
        else:
            model.pop(grain_id, None)
            entries.remove(grain_id, grain_id.ring_hash)
        assert len(entries) == len(model)
        assert all(entries.get(grain, grain.ring_hash) == model.get(grain) for grain in GRAINS[:10])
    entries.clear()
    assert list(entries) == []
