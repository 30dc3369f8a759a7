"""Probe results in, verdicts out. Pure; one per silo, fed by `prober.py` and `join.py`. Times are the event loop's."""

from __future__ import annotations

import enum
from collections.abc import Collection

import msgspec

from grange.proto.ids import SiloAddress


class ProbeResult(enum.StrEnum):
    """What one probe found. UNKNOWN: it may have been the prober's own fault, so it counts for nothing."""

    ANSWERED = "answered"
    MISSED = "missed"
    UNKNOWN = "unknown"


class Verdict(enum.StrEnum):
    """What the latest probe says about a silo."""

    ANSWERS = "answers"
    MISSED = "missed"
    SUSPECT = "suspect"


class Silence(msgspec.Struct, frozen=True):
    """Probes of one silo missed in a row: how many, when the first began, and until when its answer could have come."""

    missed: int
    began: float
    deaf_from: float


class Suspicion(msgspec.Struct, frozen=True):
    """A reason to vote: this silo is silent for so long, and `witness` found the same on its own way to it."""

    silo: SiloAddress
    silence: Silence
    witness: SiloAddress | None = None


class Detector:
    """Counts missed probes in a row for each watched silo, and says when to vote.

    Each further miss of a suspect is again SUSPECT: a vote may have been lost, or may need to be renewed.
    """

    def __init__(self, missed_limit: int) -> None:
        self._limit = missed_limit
        self._silences: dict[SiloAddress, Silence] = {}

    def missed_in_row(self, silo: SiloAddress) -> int:
        """Probes missed since the last answer; 0 for a silo never probed."""
        silence = self._silences.get(silo)
        return 0 if silence is None else silence.missed

    def silence(self, silo: SiloAddress) -> Silence | None:
        """The misses since the last answer, if there are any."""
        return self._silences.get(silo)

    @property
    def missing(self) -> int:
        """How many silos did not answer the last probe."""
        return len(self._silences)

    def at_last_allowed(self, silo: SiloAddress) -> bool:
        """Whether one more miss makes it a suspect: that probe goes through a third silo."""
        return self.missed_in_row(silo) >= self._limit - 1

    def answered(self, silo: SiloAddress) -> Verdict:
        """A probe was answered: earlier misses no longer count."""
        self._silences.pop(silo, None)
        return Verdict.ANSWERS

    def missed(self, silo: SiloAddress, began: float, timeout: float) -> Verdict:
        """The probe that began then was not answered in `timeout` seconds, or the silo could not be reached."""
        first = self._silences.get(silo, Silence(0, began, began + timeout))
        count = first.missed + 1
        self._silences[silo] = Silence(count, first.began, first.deaf_from)
        return Verdict.SUSPECT if count >= self._limit else Verdict.MISSED

    def keep(self, silos: Collection[SiloAddress]) -> None:
        """Forget everybody else: a silo that is watched again later starts from 0."""
        self._silences = {silo: silence for silo, silence in self._silences.items() if silo in silos}
