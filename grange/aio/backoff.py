"""Exponential backoff with jitter. Pure.

Jitter keeps silos that failed together from trying again together.
"""

from __future__ import annotations

import random

JITTER = 1.5
"""Jitter lengthens a pause by up to this factor."""


class Backoff:
    """Pauses in seconds between attempts: `first`, doubled after each failure up to `limit`, with jitter from `rng`."""

    def __init__(self, first: float, limit: float, rng: random.Random) -> None:
        self._first = first
        self._limit = limit
        self._rng = rng
        self._failures = 0

    def pause(self) -> float:
        """Count one more failure and return the pause before the next attempt: never under `first` nor over `limit`."""
        wanted = self._first * 2.0 ** min(self._failures, 30) * self._rng.uniform(1.0, JITTER)
        self._failures += 1
        return min(wanted, max(self._first, self._limit * self._rng.uniform(0.75, 1.0)))

    def reset(self) -> None:
        """Note a success: the next failure starts from `first` again."""
        self._failures = 0
