"""Decides from probe results when to suspect a silo. Pure; fed by `prober.py` and `join.py`.

Times are seconds of the event loop's clock.
"""

from __future__ import annotations

import enum
from collections.abc import Collection

import msgspec

from grange.membership.model.evidence import Evidence
from grange.proto.ids import SiloAddress


class ProbeResult(enum.StrEnum):
    """The result of one probe. UNKNOWN: the prober itself may be the cause, so the result is not counted."""

    ANSWERED = "answered"
    MISSED = "missed"
    UNKNOWN = "unknown"


class Verdict(enum.StrEnum):
    """The verdict on a silo after its latest probe."""

    ANSWERS = "answers"
    MISSED = "missed"
    SUSPECT = "suspect"


class Silence(msgspec.Struct, frozen=True):
    """Probes of one silo missed in a row: their number, the start of the first one, and the end of its time-out."""

    missed: int
    began: float
    answer_due: float


class Suspicion(msgspec.Struct, frozen=True):
    """A reason to vote on a silo. `witness` is the third silo that found the same evidence."""

    silo: SiloAddress
    silence: Silence
    witness: SiloAddress | None = None
    evidence: Evidence = Evidence.SILENT


class Detector:
    """Counts missed probes in a row for each watched silo, and decides when to vote.

    Each further miss of a suspect is SUSPECT again, because a vote may be lost or need renewal.
    """

    def __init__(self, missed_limit: int) -> None:
        self._limit = missed_limit
        self._silences: dict[SiloAddress, Silence] = {}

    def missed_in_row(self, silo: SiloAddress) -> int:
        """Probes missed since the last answer; 0 for a silo never probed."""
        silence = self._silences.get(silo)
        return 0 if silence is None else silence.missed

    def silence(self, silo: SiloAddress) -> Silence | None:
        """The misses since the last answer; None without any."""
        return self._silences.get(silo)

    @property
    def missing(self) -> int:
        """How many silos did not answer the last probe."""
        return len(self._silences)

    def answered(self, silo: SiloAddress) -> Verdict:
        """Note an answer: earlier misses no longer count."""
        self._silences.pop(silo, None)
        return Verdict.ANSWERS

    def missed(self, silo: SiloAddress, began: float, timeout: float) -> Verdict:
        """Note a miss: the probe that began then got no answer in `timeout` seconds, or could not reach the silo."""
        first = self._silences.get(silo, Silence(0, began, began + timeout))
        count = first.missed + 1
        self._silences[silo] = Silence(count, first.began, first.answer_due)
        return Verdict.SUSPECT if count >= self._limit else Verdict.MISSED

    def keep(self, silos: Collection[SiloAddress]) -> None:
        """Forget all silos but these: a silo that is watched again later starts from 0."""
        self._silences = {silo: silence for silo, silence in self._silences.items() if silo in silos}
