"""Decides which grains may not be registered yet, because a dead silo may still run them. Pure.

A silo that other silos declared dead runs turns until it has fenced itself. Therefore its grains are *held* for
`death_hold` after its death: a look-up finds no entry, and no other silo may register them. The slice keeps the entries
that name the dead silo, so it knows these grains. A range that was recovered from the live silos is *in doubt*: a grain
that is absent there may run on the dead silo, so it is held as well. Orleans' DistributedGrainDirectory calls this the
range lease hold. ADR 0024 argues it.
"""

from __future__ import annotations

from collections.abc import Iterable

from grange.directory.slice.ranges import RangeSet
from grange.proto.ids import SiloAddress


class Holds:
    """The holds of one slice. `hold_timers.py` begins and lifts them, because it has the clock."""

    __slots__ = ("_doubts", "_silos")

    def __init__(self) -> None:
        self._silos: set[SiloAddress] = set()
        self._doubts: list[tuple[RangeSet, frozenset[SiloAddress]]] = []

    def __bool__(self) -> bool:
        return bool(self._silos)

    def __contains__(self, silo: SiloAddress) -> bool:
        return silo in self._silos

    @property
    def in_doubt(self) -> RangeSet:
        """The ranges in which absent grains are held."""
        in_doubt = RangeSet()
        for ranges, _ in self._doubts:
            in_doubt |= ranges
        return in_doubt

    def begin(self, silo: SiloAddress) -> None:
        """Hold the grains of this silo: it is dead, and may not have fenced itself yet."""
        self._silos.add(silo)

    def mark_in_doubt(self, ranges: RangeSet, silos: Iterable[SiloAddress] | None = None) -> None:
        """Hold absent grains in these ranges until these dead silos are lifted; None means all silos held now."""
        because = frozenset(self._silos if silos is None else self._silos.intersection(silos))
        if because and ranges:
            self._doubts.append((ranges, because))

    def lift(self, silo: SiloAddress) -> None:
        """End the hold of this silo: it must have fenced itself by now."""
        self._silos.discard(silo)
        left = [(ranges, silos - {silo}) for ranges, silos in self._doubts]
        self._doubts = [(ranges, silos) for ranges, silos in left if silos]

    def is_in_doubt(self, hash: int) -> bool:
        """Whether an absent grain with this hash is held."""
        return any(hash in ranges for ranges, _ in self._doubts)
