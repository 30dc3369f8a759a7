"""Compares two trees by the processor time of a call: which figures became slower. Pure; `guard.py` measures."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LIMIT = 1.10
"""A figure may take a tenth more processor time than before."""


@dataclass(frozen=True)
class Change:
    """One figure of two trees, in μs of processor time a call, a value per round."""

    figure: str
    before: tuple[float, ...]
    now: tuple[float, ...]

    @property
    def factor(self) -> float:
        """The new value divided by the old one: of the medians or of the least values, the smaller quotient.

        Another program can raise a value, never lower it. It raises the medians when it runs for most of the rounds
        of one tree; the least values differ by chance when one round was lucky. Only slower code raises both.
        """
        medians = statistics.median(self.now) / statistics.median(self.before)
        return min(medians, min(self.now) / min(self.before))

    def slower(self, limit: float = LIMIT) -> bool:
        """Whether the figure takes more than `limit` times its old value."""
        return self.factor > limit


def changes(before: Mapping[str, Sequence[float]], now: Mapping[str, Sequence[float]]) -> list[Change]:
    """Pair the figures of both trees. Raises ValueError for a figure that one of them lacks."""
    lacking = sorted(name for name in before.keys() | now.keys() if not (before.get(name) and now.get(name)))
    if lacking:
        raise ValueError(f"not measured in both trees: {', '.join(lacking)}")
    return [Change(name, tuple(before[name]), tuple(now[name])) for name in before]


def turns(rounds: int, sides: tuple[str, str]) -> list[tuple[int, str]]:
    """Return who is measured when: both sides in each round, and the first of a round is the last of the next.

    So a machine that becomes slower or faster during the run favours neither side.
    """
    first, second = sides
    order = ((first, second) if number % 2 == 0 else (second, first) for number in range(rounds))
    return [(number, side) for number, pair in enumerate(order) for side in pair]
