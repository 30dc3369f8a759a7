"""Probe results in, verdicts out. Pure; one per silo, fed by `prober.py` and `join.py`."""

from __future__ import annotations

import enum
from collections.abc import Collection

from grange.proto.ids import SiloAddress


class Verdict(enum.StrEnum):
    """What the latest probe says about a silo."""

    ANSWERS = "answers"
    MISSED = "missed"
    SUSPECT = "suspect"


class Detector:
    """Counts missed probes in a row for each watched silo, and says when to vote.

    Each further miss of a suspect is again SUSPECT: a vote may have been lost, or may need to be renewed.
    """

    def __init__(self, missed_limit: int) -> None:
        self._limit = missed_limit
        self._missed: dict[SiloAddress, int] = {}

    def missed_in_row(self, silo: SiloAddress) -> int:
        """Probes missed since the last answer; 0 for a silo never probed."""
        return self._missed.get(silo, 0)

    def answered(self, silo: SiloAddress) -> Verdict:
        """A probe was answered: earlier misses no longer count."""
        self._missed.pop(silo, None)
        return Verdict.ANSWERS

    def missed(self, silo: SiloAddress) -> Verdict:
        """A probe was not answered in time, or the silo could not be reached."""
        count = self._missed.get(silo, 0) + 1
        self._missed[silo] = count
        return Verdict.SUSPECT if count >= self._limit else Verdict.MISSED

    def keep(self, silos: Collection[SiloAddress]) -> None:
        """Forget everybody else: a silo that is watched again later starts from 0."""
        self._missed = {silo: count for silo, count in self._missed.items() if silo in silos}
