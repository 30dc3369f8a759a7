"""The plan of one silo for balancing activations, and the suspension that all silos share. Pure.

Each silo plans for itself from the same figures: those above the mean give to those below it, in proportion. So many
silos at once fill no silo above the mean, and no coordinator is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from grange.proto.ids import SiloAddress


def surplus(me: SiloAddress, counts: Mapping[SiloAddress, int], tolerance: int) -> dict[SiloAddress, int]:
    """How many activations `me` should move, by the silo that gets them. Empty within `tolerance` percent of the mean.

    `counts` are the activations of all silos, that of `me` included.
    """
    mean = sum(counts.values()) / len(counts)
    over = counts[me] - mean
    if over < 1 or over <= mean * tolerance / 100:
        return {}
    missing = {silo: mean - count for silo, count in counts.items() if count < mean}
    total = sum(missing.values())
    shares = {silo: int(over * lack / total) for silo, lack in sorted(missing.items())}
    return {silo: share for silo, share in shares.items() if share}


def imbalance(counts: Mapping[SiloAddress, int]) -> float:
    """By which share of the mean the fullest silo has more activations: 0.0 is balanced."""
    mean = sum(counts.values()) / len(counts) if counts else 0.0
    return max(counts.values()) / mean - 1 if mean else 0.0


LONGEST_SUSPENSION = 7 * 24 * 3600.0
"""Seconds: a suspension that is forgotten ends by itself."""

MOST_NUMBER = 2**53
"""The highest number of a suspension: the next ones must fit on the wire."""


class Suspension(msgspec.Struct, frozen=True, array_like=True):
    """A request to move nothing for `seconds` more; 0 resumes. It travels between silos.

    The one with the highest `number` counts, of two with the same that of the higher silo.
    """

    number: int
    silo: SiloAddress
    seconds: float


class SharedSuspension:
    """The newest suspension that this silo knows. `now` is the loop's time."""

    def __init__(self, me: SiloAddress, now: Callable[[], float]) -> None:
        self._me = me
        self._now = now
        self._rank: tuple[int, SiloAddress] = (0, me)
        self._until = 0.0

    @property
    def left(self) -> float:
        """Seconds until moves resume; 0 while nothing is suspended."""
        return max(0.0, self._until - self._now())

    def set(self, seconds: float) -> None:
        """Suspend for this long from now, in place of what was asked before; 0 resumes."""
        self._rank = (self._rank[0] + 1, self._me)
        self._until = self._now() + seconds

    def merge(self, other: Suspension) -> None:
        """Take over one of another silo, if it is newer, and one that a silo can have made."""
        if other.number > MOST_NUMBER or not 0 <= other.seconds <= LONGEST_SUSPENSION:
            return
        if (other.number, other.silo) > self._rank:
            self._rank = (other.number, other.silo)
            self._until = self._now() + other.seconds

    def row(self) -> Suspension:
        """The newest suspension, to pass on."""
        return Suspension(*self._rank, self.left)
