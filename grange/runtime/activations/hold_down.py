"""Throttles grains whose activations fail again and again: for a growing time they are only refused. Pure.

The first failure costs nothing, so that a passing fault is over at the next call. From the second one on, the time
doubles with each failure in a row.
"""

from __future__ import annotations

import msgspec

from grange.proto.ids import GrainId
from grange.runtime.requests.refusal import Refused

SHORTEST = 0.1
"""Seconds after the second failure in a row."""

FORGET_AFTER = 60.0
"""Seconds after a hold-down in which another failure counts as one in a row."""

MOST_GRAINS = 1000
"""Failing grains that are remembered. Beyond it the one that failed first is forgotten, and is activated again."""


class Failing(msgspec.Struct):
    """A grain that failed `failures` times in a row. Until `until` (seconds of the caller's clock) it is refused."""

    failures: int
    until: float
    refused: Refused


class HoldDown:
    """The failing grains of one silo. `failing` is empty in a healthy silo: one test of it is all that others pay."""

    __slots__ = ("failing",)

    def __init__(self) -> None:
        self.failing: dict[GrainId, Failing] = {}

    def failed(self, grain_id: GrainId, now: float, longest: float, refused: Refused) -> Failing:
        """An activation failed with this refusal. Holds the grain down for at most `longest` seconds."""
        before = self.failing.pop(grain_id, None)
        failures = 1 if before is None or now > before.until + FORGET_AFTER else before.failures + 1
        seconds = 0.0 if failures == 1 else min(longest, SHORTEST * 2.0 ** min(failures - 2, 30))
        if len(self.failing) >= MOST_GRAINS:
            del self.failing[next(iter(self.failing))]
        failing = self.failing[grain_id] = Failing(failures, now + seconds, refused)
        return failing

    def held(self, grain_id: GrainId, now: float) -> Failing | None:
        """The grain's failures if it is held down now."""
        failing = self.failing.get(grain_id)
        return None if failing is None or now >= failing.until else failing

    def succeeded(self, grain_id: GrainId) -> None:
        """The grain is active."""
        self.failing.pop(grain_id, None)
