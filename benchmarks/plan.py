"""The order of a run: in each round every contestant runs once (A B C, A B C, ...). Pure.

So a machine that is slow for a while slows all contestants, and a ratio compares samples taken at nearly the same time.
`run.py` carries out the plan.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.catalog import Contestant, Figure, Setting


@dataclass(frozen=True)
class Variant:
    """A contestant under one interpreter. `label` names it in tables and results: `casty@3.13`."""

    contestant: Contestant
    python: str
    command: tuple[str, ...]

    @property
    def label(self) -> str:
        """The contestant's name and its interpreter's version."""
        return f"{self.contestant.name}@{self.python}"


@dataclass(frozen=True)
class Session:
    """One start of one variant's processes, in which some figures are taken, one after the other."""

    round: int
    variant: Variant
    setting: Setting
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Lengths:
    """How long each measurement takes: seconds for those that count calls, keys for those that activate."""

    rounds: int = 3
    seconds: float = 1.5
    activations: int = 10_000
    idle: int = 20_000

    def order(self, figure: Figure) -> dict[str, Any]:
        """Return the line that asks a contestant's process for this figure."""
        count = self.idle if figure.measure == "memory" else self.activations
        load = {"measure": figure.measure, "callers": figure.callers, "size": figure.size}
        return {**load, "seconds": self.seconds, "count": count}


QUICK = Lengths(rounds=1, seconds=0.3, activations=1000, idle=5000)


def sessions(figures: Sequence[Figure], variants: Sequence[Variant], rounds: int) -> list[Session]:
    """Return every session in order: round by round, setting by setting, and within it each variant once."""
    planned = []
    for number, setting, variant in itertools.product(range(rounds), Setting, variants):
        able = variant.contestant.figures
        taken = tuple(figure for figure in figures if figure.setting is setting and figure.name in able)
        if taken:
            planned.append(Session(number, variant, setting, taken))
    return planned
