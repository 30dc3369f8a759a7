"""How long to wait for an answer: as long as the answers of the past suggest. Pure.

After the phi accrual failure detector (Hayashibara, Défago, Yared, Katayama: The phi accrual failure detector, 2004):
the time at which an answer that is still to come would be so late that its probability is 10^-8.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from math import fsum, sqrt
from statistics import NormalDist

from grange.membership.model.options import MembershipOptions
from grange.proto.ids import SiloAddress

THRESHOLD = 8
"""Phi: 10^-8 is how seldom a living silo's answer would come later, if answer times were normally distributed."""

WINDOW = 100
"""Answers remembered of each silo: the last minute or two."""

AT_LEAST = 4
"""Answers below which nothing is concluded from them."""

DEVIATIONS = NormalDist().inv_cdf(1 - 10**-THRESHOLD)
"""The threshold in standard deviations: about 5.6."""


class AdaptiveTimeout:
    """Time-outs for probes of each silo, from the times that its direct answers took. One per silo; fed by
    `prober.py`.
    """

    def __init__(self, options: MembershipOptions) -> None:
        self._first = options.probe_timeout
        self._min = options.probe_timeout_min
        self._max = options.probe_timeout_max
        self._taken: dict[SiloAddress, deque[float]] = {}

    def answered(self, silo: SiloAddress, took: float) -> None:
        """A direct probe of this silo was answered after so many seconds."""
        self._taken.setdefault(silo, deque(maxlen=WINDOW)).append(took)

    def timeout(self, silo: SiloAddress, score: int, missed: int = 0) -> float:
        """Seconds to wait for the next answer, by a silo with this local health score.

        Once it `missed` some, doubled, up to the first time-out: only answers are measured, so that a line has become
        slower would else never be found.
        """
        taken = self._taken.get(silo, ())
        wanted = self._first
        if len(taken) >= AT_LEAST:
            # Not statistics.pstdev, which counts in fractions and took a sixth of a simulation's time.
            mean = fsum(taken) / len(taken)
            wanted = mean + DEVIATIONS * sqrt(fsum((each - mean) ** 2 for each in taken) / len(taken))
        wanted = min(max(wanted, self._min), self._max)
        if missed:
            wanted = min(2 * wanted, max(self._first, wanted))
        return wanted * (1 + score)

    def keep(self, silos: Collection[SiloAddress]) -> None:
        """Forget everybody else."""
        self._taken = {silo: taken for silo, taken in self._taken.items() if silo in silos}
