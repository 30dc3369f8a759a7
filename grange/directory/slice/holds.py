"""What may not be registered yet, because a dead silo may still run it. Pure.

A silo that was declared dead by others goes on until it has fenced itself. So for a while after its death its grains
are *held*: look-ups give none, and nobody else may register them. Which grains are its own is known for entries that
were kept. A range that was recovered by asking the living is *in doubt*: a grain that is absent there may be one of
the dead silo's, so it is held as well. Called the range lease hold in Orleans' DistributedGrainDirectory.
"""

from __future__ import annotations

from collections.abc import Iterable

from grange.directory.slice.ranges import RangeSet
from grange.proto.ids import SiloAddress


class Holds:
    """The holds of one slice. Who tells time (`hold_timers.py`) begins and lifts them."""

    __slots__ = ("_doubts", "_silos")

    def __init__(self) -> None:
        self._silos: set[SiloAddress] = set()
        self._doubts: list[tuple[RangeSet, frozenset[SiloAddress]]] = []

    def __bool__(self) -> bool:
        return bool(self._silos)

    def __contains__(self, silo: SiloAddress) -> bool:
        return silo in self._silos

    @property
    def doubtful(self) -> RangeSet:
        """Ranges in which absent grains are held."""
        found = RangeSet()
        for ranges, _ in self._doubts:
            found |= ranges
        return found

    def begin(self, silo: SiloAddress) -> None:
        """This silo is dead, and may not have noticed."""
        self._silos.add(silo)

    def doubt(self, ranges: RangeSet, silos: Iterable[SiloAddress] | None = None) -> None:
        """Absent grains in these ranges may run on these dead silos; on any that is held now, unless told."""
        because = frozenset(self._silos if silos is None else self._silos.intersection(silos))
        if because and ranges:
            self._doubts.append((ranges, because))

    def lift(self, silo: SiloAddress) -> None:
        """This silo must have fenced itself by now."""
        self._silos.discard(silo)
        left = [(ranges, silos - {silo}) for ranges, silos in self._doubts]
        self._doubts = [(ranges, silos) for ranges, silos in left if silos]

    def doubts(self, hash: int) -> bool:
        """Whether an absent grain of this hash is held."""
        return any(hash in ranges for ranges, _ in self._doubts)
