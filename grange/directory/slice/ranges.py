"""Sets of hashes, stored as ranges. A slice owns, gains, loses and recovers such sets. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from itertools import pairwise

from grange.membership.model.hash_ring import RING_SIZE, Range


class RangeSet:
    """An immutable set of 64-bit hashes. Two sets with the same hashes are equal, however they were built."""

    __slots__ = ("_bounds",)

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._bounds = _merged(ranges)

    def __contains__(self, hash: int) -> bool:
        # The bounds are start, end, start, end …: an odd number of them at or below the hash means inside.
        return bool(bisect_right(self._bounds, hash) & 1)

    def __bool__(self) -> bool:
        return bool(self._bounds)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and self._bounds == other._bounds

    def __hash__(self) -> int:
        return hash(self._bounds)

    def __repr__(self) -> str:
        return f"RangeSet({self.ranges})"

    @property
    def ranges(self) -> list[Range]:
        """The set as disjoint ranges in ascending order, with gaps between them."""
        return [Range(start, end) for start, end in zip(self._bounds[::2], self._bounds[1::2], strict=True)]

    def __or__(self, other: RangeSet) -> RangeSet:
        return RangeSet([*self.ranges, *other.ranges])

    def __and__(self, other: RangeSet) -> RangeSet:
        return self._combined(other, lambda mine, theirs: mine and theirs)

    def __sub__(self, other: RangeSet) -> RangeSet:
        return self._combined(other, lambda mine, theirs: mine and not theirs)

    def above(self, hash: int) -> RangeSet:
        """The hashes of this set that are greater than this one."""
        return self & RangeSet([Range(hash + 1, RING_SIZE)])

    def _combined(self, other: RangeSet, keep: Callable[[bool, bool], bool]) -> RangeSet:
        # Between two neighbouring bounds of either set, membership in both is constant.
        bounds = sorted({*self._bounds, *other._bounds})
        return RangeSet(Range(start, end) for start, end in pairwise(bounds) if keep(start in self, start in other))


def _merged(ranges: Iterable[Range]) -> tuple[int, ...]:
    bounds: list[int] = []
    for part in sorted(ranges):
        if bounds and part.start <= bounds[-1]:
            bounds[-1] = max(bounds[-1], part.end)
        elif part.start < part.end:
            bounds += (part.start, part.end)
    return tuple(bounds)
