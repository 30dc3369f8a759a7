"""Time-outs of probes, adapted to the measured answer times. Pure.

After the phi accrual failure detector (Hayashibara, Défago, Yared, Katayama: The phi accrual failure detector, 2004):
the time-out is the answer time that a living silo exceeds with a probability of only 10^-8.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from math import fsum, sqrt
from statistics import NormalDist

from grange.membership.model.options import MembershipOptions
from grange.proto.ids import SiloAddress

PHI_THRESHOLD = 8
"""Phi: a living silo's answer comes later with a probability of 10^-8, if answer times are normally distributed."""

WINDOW = 100
"""Answer times remembered of each silo: the last minute or two."""

MIN_ANSWERS = 4
"""Answers below which the configured first time-out is used."""

DEVIATIONS = NormalDist().inv_cdf(1 - 10**-PHI_THRESHOLD)
"""The threshold in standard deviations: about 5.6."""


class AdaptiveTimeout:
    """Time-outs for probes of each other silo, from the durations of its direct answers. Fed by `prober.py`."""

    def __init__(self, options: MembershipOptions) -> None:
        self._first = options.probe_timeout
        self._min = options.probe_timeout_min
        self._max = options.probe_timeout_max
        self._durations: dict[SiloAddress, deque[float]] = {}

    def answered(self, silo: SiloAddress, took: float) -> None:
        """Note that a direct probe of this silo was answered after `took` seconds."""
        self._durations.setdefault(silo, deque(maxlen=WINDOW)).append(took)

    def last(self, silo: SiloAddress) -> float | None:
        """The duration of this silo's newest direct answer; None before the first."""
        taken = self._durations.get(silo)
        return taken[-1] if taken else None

    def timeout(self, silo: SiloAddress, score: int, missed: int = 0) -> float:
        """Seconds to wait for the silo's next answer. `score`: the prober's local health; `missed`: misses in a row.

        After a miss the time-out is doubled, up to the first time-out. Only answers are measured, so a connection that
        became slower would never be recognised otherwise.
        """
        taken = self._durations.get(silo, ())
        seconds = self._first
        if len(taken) >= MIN_ANSWERS:
            # Not statistics.pstdev: it computes in fractions and took a sixth of a simulation's time.
            mean = fsum(taken) / len(taken)
            seconds = mean + DEVIATIONS * sqrt(fsum((each - mean) ** 2 for each in taken) / len(taken))
        seconds = min(max(seconds, self._min), self._max)
        if missed:
            seconds = min(2 * seconds, max(self._first, seconds))
        return seconds * (1 + score)

    def keep(self, silos: Collection[SiloAddress]) -> None:
        """Forget all silos but these."""
        self._durations = {silo: taken for silo, taken in self._durations.items() if silo in silos}
