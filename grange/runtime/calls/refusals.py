"""The refusals of one call, and the pause after each of them. `caller.py` waits for that long."""

from __future__ import annotations

import random

from grange.runtime.locator import Locator

MAX_PAUSE = 1.0
"""Seconds; the longest pause between two attempts of a refused call, unless the cluster changes earlier."""


class Refusals:
    """Counts the refusals of one call: `number` in all, and those since the cluster has changed.

    A call that was refused again and again waits for long, because each attempt costs other silos messages. A change of
    the cluster ends the pause. The attempts after it must not wait for long again: a silo may have the newer view a
    moment later than this one, and the place of the grain is known then. So the pauses begin anew.
    """

    __slots__ = ("_locator", "_random", "_recent", "_seen", "number")

    def __init__(self, locator: Locator, rng: random.Random) -> None:
        self._locator = locator
        self._random = rng
        self._recent = 0
        self._seen = locator.changes
        self.number = 0

    def pause(self, hinted: bool) -> float:
        """Count a refusal, `hinted` if it names another silo. Returns the seconds before the next attempt.

        None after the first refusal, and after up to three with a hint; then they grow, with jitter.
        """
        self.number += 1
        if (changes := self._locator.changes) != self._seen:  # during the attempt, or during the pause before it
            self._seen, self._recent = changes, 0
        self._recent += 1
        if self._recent == 1 or (hinted and self._recent <= 3):
            return 0.0
        return min(MAX_PAUSE, 0.01 * 1.7**self._recent) * self._random.uniform(0.5, 1.0)
