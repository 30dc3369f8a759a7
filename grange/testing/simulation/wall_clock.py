"""The wall clock of one simulated machine: wrong, a little fast or slow, and set forwards or back at any time. Pure."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""Start of the right wall clock of a simulation."""

MAX_ERROR = 300.0
"""Seconds by which a machine's clock is wrong at the start, at most."""

MAX_DRIFT = 1e-4
"""Seconds that it gains or loses in a second, at most; an ordinary quartz is as bad."""


class WallClock:
    """Shows `EPOCH` plus the time of the simulation, with this machine's error."""

    def __init__(self, rng: random.Random) -> None:
        self._error = rng.uniform(-MAX_ERROR, MAX_ERROR)
        self._rate = 1 + rng.uniform(-MAX_DRIFT, MAX_DRIFT)

    def at(self, time: float) -> datetime:
        """The date and time that this clock shows at this time of the simulation."""
        return EPOCH + timedelta(seconds=time * self._rate + self._error)

    def shift(self, seconds: float) -> None:
        """Set the clock forwards, or back (below 0)."""
        self._error += seconds
