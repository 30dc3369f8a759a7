"""Range arithmetic, compared with sets of sample points."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from grange.directory.slice.messages import to_pairs, to_ranges
from grange.directory.slice.ranges import RangeSet
from grange.membership.model.hash_ring import RING_SIZE, Range, Ring
from grange.proto.ids import SiloAddress

POINTS = [0, 1, 2, 3, 5, 8, 13, 2**32, 2**63, RING_SIZE - 2, RING_SIZE - 1]
BOUNDS = [*POINTS, RING_SIZE]

ranges = st.lists(
    st.tuples(st.sampled_from(BOUNDS), st.sampled_from(BOUNDS))
    .filter(lambda pair: pair[0] < pair[1])
    .map(lambda pair: Range(*pair)),
    max_size=5,
)


def points(ranges: RangeSet) -> set[int]:
    return {point for point in POINTS if point in ranges}


@given(ranges, ranges)
def test_operations_are_those_of_sets(left: list[Range], right: list[Range]) -> None:
    one, two = RangeSet(left), RangeSet(right)
    assert points(one) == {point for point in POINTS if any(point in part for part in left)}
    assert points(one | two) == points(one) | points(two)
    assert points(one & two) == points(one) & points(two)
    assert points(one - two) == points(one) - points(two)
    assert bool(one) == bool(left)
    assert RangeSet(one.ranges) == one
    assert hash(RangeSet(reversed(one.ranges))) == hash(one)


@given(ranges, st.sampled_from(POINTS))
def test_the_part_above_a_hash(parts: list[Range], hash: int) -> None:
    assert points(RangeSet(parts).above(hash)) == {point for point in points(RangeSet(parts)) if point > hash}


@given(ranges)
def test_ranges_survive_the_wire_form(parts: list[Range]) -> None:
    pairs = to_pairs(RangeSet(parts))
    assert all(0 <= first <= last < RING_SIZE for first, last in pairs)
    assert to_ranges(pairs) == RangeSet(parts)


@given(st.integers(1, 6))
def test_members_ranges_are_disjoint_and_cover_the_ring(count: int) -> None:
    """DIR-12: member ranges are disjoint and together cover the ring; owner look-up is total."""
    silos = [SiloAddress("silo", port, 1) for port in range(count)]
    ring = Ring(silos)
    whole = RangeSet()
    for silo in silos:
        owned = RangeSet(ring.ranges(silo))
        assert not whole & owned
        assert all(ring.owner(part.start) == silo == ring.owner(part.end - 1) for part in owned.ranges)
        whole |= owned
    assert whole == RangeSet([Range(0, RING_SIZE)])
