"""The loads of the silos of a cluster, as one silo knows them. Pure.

Each silo numbers its own reports. A row counts while its number rises: no clock of another machine is compared. A row
that has not risen for a while is stale, and is neither used nor passed on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import msgspec

from grange.placement.provider import SiloLoad
from grange.proto.ids import SiloAddress


class LoadRow(msgspec.Struct, frozen=True, array_like=True):
    """The load of one silo at its `number`-th report. It travels between silos."""

    silo: SiloAddress
    number: int
    value: float
    activations: int

    @property
    def is_sound(self) -> bool:
        """Whether a silo can have measured it: placement computes with it."""
        return 0 <= self.value < math.inf and self.activations >= 0


class _Known:
    __slots__ = ("placed", "row", "seen")

    def __init__(self, row: LoadRow, seen: float) -> None:
        self.row = row
        self.seen = seen
        self.placed = 0


class Loads:
    """What one silo knows. `now` is the loop's time; a row is stale after `lifetime` seconds without a newer one."""

    def __init__(self, me: SiloAddress, now: Callable[[], float], lifetime: float) -> None:
        self._me = me
        self._now = now
        self._lifetime = lifetime
        self._number = 0
        self._known: dict[SiloAddress, _Known] = {}

    def report(self, value: float, activations: int) -> None:
        """The load of this silo now."""
        self._number += 1
        self.merge([LoadRow(self._me, self._number, value, activations)])

    def merge(self, rows: Iterable[LoadRow]) -> None:
        """Take over the sound rows that are newer than the known ones. They count what was placed on their silos."""
        now = self._now()
        for row in rows:
            known = self._known.get(row.silo)
            if row.is_sound and (known is None or row.number > known.row.number):
                self._known[row.silo] = _Known(row, now)

    def rows(self) -> list[LoadRow]:
        """The rows to pass on."""
        return [known.row for known in self._fresh()]

    def fresh(self) -> Mapping[SiloAddress, SiloLoad]:
        """The loads that are not stale, with what this silo has placed since."""
        return {
            known.row.silo: SiloLoad(known.row.value, known.row.activations, known.placed) for known in self._fresh()
        }

    def note_placed(self, silo: SiloAddress) -> None:
        """This silo has placed a grain on `silo`: until its next report, its load is expected to be higher."""
        known = self._known.get(silo)
        if known is not None:
            known.placed += 1

    def keep_only(self, silos: Iterable[SiloAddress]) -> None:
        """Forget the silos that are gone, so that the table is bounded by the cluster."""
        kept = frozenset(silos)
        for silo in [silo for silo in self._known if silo not in kept]:
            del self._known[silo]

    def _fresh(self) -> list[_Known]:
        oldest = self._now() - self._lifetime
        return [known for known in self._known.values() if known.seen >= oldest]
