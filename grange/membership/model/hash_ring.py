"""The hash ring: which silo owns which part of 64 bits. Pure, and the same in every process.

Consistent hashing (Karger et al. 1997) with virtual points: each silo has 64 places, and owns from each of
its places up to the next place of anybody. So a silo that joins or leaves changes nothing between two others.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Iterable

import msgspec
import xxhash

from grange.proto.ids import SiloAddress

RING_SIZE = 1 << 64
"""Hashes are 0 <= hash < RING_SIZE."""

POINTS_PER_SILO = 64
"""Enough that with ten silos the largest share is about 1.3 of the fair one; more would slow each view change."""


class Range(msgspec.Struct, frozen=True, order=True):
    """Hashes from `start` up to but not including `end`; `start < end`, so a part that wraps is two of these."""

    start: int
    end: int

    def __contains__(self, hash: int) -> bool:
        return self.start <= hash < self.end


class Ring:
    """The ring of these silos. Immutable; build a new one for each view. Used by placement, directory and
    clients.

    `addresses` may come in any order and name a silo twice. Two rings of the same silos agree on every hash.
    """

    __slots__ = ("_owners", "_points", "addresses")

    def __init__(self, addresses: Iterable[SiloAddress]) -> None:
        self.addresses: frozenset[SiloAddress] = frozenset(addresses)
        placed = sorted((point, address) for address in self.addresses for point in _points_of(address))
        self._points = [point for point, _ in placed]
        self._owners = [address for _, address in placed]

    def owner(self, hash: int, allowed: Container[SiloAddress] | None = None) -> SiloAddress | None:
        """Who owns this hash; with `allowed`, who would if only those silos were on the ring. None: nobody.

        Costs one bisection: it is on the path of every call whose place is not cached.
        """
        owners = self._owners
        if not owners:
            return None
        place = bisect_right(self._points, hash) - 1  # -1, below the first point, is the last point: the wrap-around
        if allowed is None:
            return owners[place]
        for step in range(len(owners)):
            if (owner := owners[place - step]) in allowed:
                return owner
        return None

    def ranges(self, silo: SiloAddress) -> list[Range]:
        """What this silo owns: disjoint, ascending, adjacent ones merged. All silos' ranges together cover the ring."""
        bounds = [*self._points, RING_SIZE]
        owned: list[Range] = []
        if self._owners and self._owners[-1] == silo and bounds[0] > 0:
            owned.append(Range(0, bounds[0]))
        for place, owner in enumerate(self._owners):
            start, end = bounds[place], bounds[place + 1]
            if owner != silo or start == end:
                continue
            if owned and owned[-1].end == start:
                start = owned.pop().start
            owned.append(Range(start, end))
        return owned


def _points_of(address: SiloAddress) -> list[int]:
    return [xxhash.xxh3_64_intdigest(f"{address}#{index}".encode()) for index in range(POINTS_PER_SILO)]
