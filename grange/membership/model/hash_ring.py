"""The hash ring: assigns each 64-bit hash to a silo. Pure, and the same in every process.

Consistent hashing (Karger et al. 1997) with virtual points: each silo has 64 points on the ring, and owns the range
from each of its points up to the next point. A silo that joins or leaves therefore moves no range between two others.
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
"""With ten silos the largest share is about 1.3 times the fair share. More points would slow each view change."""


class Range(msgspec.Struct, frozen=True, order=True):
    """Hashes from `start` up to but not including `end`; `start < end`, so a part that wraps is two of these."""

    start: int
    end: int

    def __contains__(self, hash: int) -> bool:
        return self.start <= hash < self.end


class Ring:
    """The ring of these silos. Immutable; build a new one for each view. Used by placement, directory and clients.

    `addresses` may come in any order and name a silo twice. Two rings of the same silos agree on every hash.
    """

    __slots__ = ("_owners", "_points", "addresses")

    def __init__(self, addresses: Iterable[SiloAddress]) -> None:
        self.addresses: frozenset[SiloAddress] = frozenset(addresses)
        placed = sorted((point, address) for address in self.addresses for point in _points_of(address))
        self._points = [point for point, _ in placed]
        self._owners = [address for _, address in placed]

    def owner(self, hash: int, allowed: Container[SiloAddress] | None = None) -> SiloAddress | None:
        """The owner of this hash; with `allowed`, the owner on a ring of only those silos. None: no silo.

        Costs one bisection, because every call whose grain is not in a cache needs it.
        """
        owners = self._owners
        if not owners:
            return None
        place = bisect_right(self._points, hash) - 1  # below the first point: the last one
        if allowed is None:
            return owners[place]
        for step in range(len(owners)):
            if (owner := owners[place - step]) in allowed:
                return owner
        return None

    def ranges(self, silo: SiloAddress) -> list[Range]:
        """The ranges of this silo: disjoint, ascending, adjacent ones merged. All silos' ranges cover the ring."""
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
