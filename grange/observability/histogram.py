"""Histograms of seconds with fixed cells, so that those of all silos and all times can be added. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

import msgspec

BOUNDS = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0,
)  # fmt: skip
"""The upper bounds of all cells but the last one, in seconds; a value equal to a bound is in the cell below it."""

CELLS = len(BOUNDS) + 1
"""The number of cells. The last one has no upper bound."""

SHORT = BOUNDS[0]
"""The bound of the first cell. Most turns of a busy silo are shorter: one comparison finds their cell."""


class Distribution(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A frozen histogram: the count of each cell, without the empty ones at the end, and the sum of all values."""

    cells: tuple[int, ...] = ()
    total: float = 0.0

    @property
    def count(self) -> int:
        """The number of values."""
        return sum(self.cells)

    @property
    def mean(self) -> float | None:
        """The mean of all values in seconds; None if there is none."""
        count = self.count
        return self.total / count if count else None

    @property
    def all_cells(self) -> tuple[int, ...]:
        """The count of each cell, `CELLS` of them."""
        return self.cells + (0,) * (CELLS - len(self.cells))

    def __add__(self, other: Distribution) -> Distribution:
        """The histogram of the values of both."""
        cells = [mine + theirs for mine, theirs in zip(self.all_cells, other.all_cells, strict=True)]
        return Distribution(_trimmed(cells), self.total + other.total)

    def since(self, before: Distribution) -> Distribution:
        """The histogram of the values that came after `before`, an earlier state of this one."""
        cells = [max(0, new - old) for new, old in zip(self.all_cells, before.all_cells, strict=True)]
        return Distribution(_trimmed(cells), max(0.0, self.total - before.total))

    def over(self, seconds: float) -> int:
        """The number of values above this bound. `seconds` must be one of `BOUNDS`."""
        return sum(self.all_cells[BOUNDS.index(seconds) + 1 :])

    def quantile(self, share: float) -> float | None:
        """The value below which this share (0 to 1) of all values lies, in seconds; None if there is no value.

        The error is at most the width of the cell. In the last cell the answer is its lower bound.
        """
        count = self.count
        if not count:
            return None
        rank = share * count
        sums = list(accumulate(self.cells))
        cell = next(
            (index for index, reached in enumerate(sums) if reached >= rank and self.cells[index]), len(sums) - 1
        )
        lower = BOUNDS[cell - 1] if cell else 0.0
        if cell == len(BOUNDS):
            return lower
        before = sums[cell] - self.cells[cell]
        inside = min(1.0, max(0.0, (rank - before) / self.cells[cell]))
        return lower + (BOUNDS[cell] - lower) * inside


class Histogram:
    """A histogram that grows. The two places that each call passes add to `cells` and `total` without `observe`."""

    __slots__ = ("cells", "total")

    def __init__(self) -> None:
        self.cells = [0] * CELLS
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Add one value."""
        self.cells[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def frozen(self) -> Distribution:
        """Its state now."""
        return frozen(self.cells, self.total)


NOTHING = Distribution()
"""The histogram without a value."""


def frozen(cells: Sequence[int], total: float) -> Distribution:
    """A frozen histogram with these counts, `CELLS` of them, and this sum."""
    return Distribution(_trimmed(cells), total)


def _trimmed(cells: Sequence[int]) -> tuple[int, ...]:
    """The cells without the empty ones at the end."""
    end = len(cells)
    while end and not cells[end - 1]:
        end -= 1
    return tuple(cells[:end])
