"""The rate at which flights were recorded, and the effect of the loss of a silo. Pure: times are given, in seconds."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

WINDOW = 1.0
"""Seconds over which a rate is taken."""


@dataclass
class Pace:
    """The times at which flights were acknowledged, in order, and the figures computed from them."""

    began: float
    acknowledged: list[float] = field(default_factory=list)
    killed: float | None = None
    answered: float | None = None
    """Time of the first answer of a grain that lived on the killed silo."""

    @property
    def seconds(self) -> float:
        """Seconds from the begin to the last flight."""
        return max(self.acknowledged[-1] - self.began, 1e-9) if self.acknowledged else 0.0

    @property
    def rate(self) -> float:
        """Flights per second over the whole run."""
        return len(self.acknowledged) / self.seconds if self.acknowledged else 0.0

    @property
    def rate_before(self) -> float:
        """Flights per second until the silo was killed."""
        if self.killed is None or self.killed <= self.began:
            return 0.0
        return bisect_right(self.acknowledged, self.killed) / (self.killed - self.began)

    @property
    def recovery(self) -> float | None:
        """Seconds from the kill to the first answer of a grain that had lived there."""
        return None if self.killed is None or self.answered is None else self.answered - self.killed

    @property
    def longest_silence(self) -> float | None:
        """The longest time in seconds without an acknowledged flight, from the kill on."""
        after = self._after()
        if self.killed is None or not after:
            return None
        return max(late - early for early, late in zip([self.killed, *after], after, strict=False))

    @property
    def half_rate_after(self) -> float | None:
        """Seconds from the kill to the first second with at least half the rate before; None if there is none."""
        wanted = self.rate_before * WINDOW / 2
        for time in self._after():
            if self.killed is not None and self._count(time, time + WINDOW) >= wanted:
                return time - self.killed
        return None

    def _after(self) -> list[float]:
        return [] if self.killed is None else self.acknowledged[bisect_right(self.acknowledged, self.killed) :]

    def _count(self, begin: float, end: float) -> int:
        return bisect_left(self.acknowledged, end) - bisect_left(self.acknowledged, begin)
