"""The last 15 minutes of every series, in rings of one second. Pure."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping

KEPT = 900
"""Seconds that a series keeps."""

MOST_SERIES = 2000
"""Series kept at most, 3.6 KB each. Further ones have no past; `Past.dropped` counts them."""

LONGEST_SPAN = 15
"""Seconds that one figure may stand for; what is older stays a gap."""

Point = float | None


class Series:
    """One figure for each of the last `KEPT` seconds; NaN where there is none."""

    __slots__ = ("_cells", "newest")

    def __init__(self) -> None:
        self._cells = array("f", [math.nan]) * KEPT
        self.newest = -1

    def set(self, second: int, value: Point, span: int) -> None:
        """Set the figure of the `span` seconds up to this one. Seconds without a figure stay gaps."""
        for skipped in range(max(self.newest + 1, second - KEPT + 1), second - span + 1):
            self._cells[skipped % KEPT] = math.nan
        figure = math.nan if value is None else value
        for each in range(second - min(span, KEPT) + 1, second + 1):
            self._cells[each % KEPT] = figure
        self.newest = max(self.newest, second)

    def since(self, first: int, last: int) -> list[Point]:
        """The figures from one second to another."""
        oldest = self.newest - KEPT
        cells = (
            (self._cells[each % KEPT] if oldest < each <= self.newest else math.nan) for each in _span(first, last)
        )
        return [None if math.isnan(cell) else float(f"{cell:.4g}") for cell in cells]


class Past:
    """All series of the pages, by page and name."""

    def __init__(self) -> None:
        self._series: dict[str, dict[str, Series]] = {}
        self._count = 0
        self._second = 0
        self.dropped: set[tuple[str, str]] = set()

    def add(self, time: float, span: float, points: Mapping[str, Mapping[str, Point]]) -> None:
        """Add the points of each page at a time in Unix seconds. They stand for the last `span` seconds."""
        second = int(time)
        covered = min(max(1, round(span)), LONGEST_SPAN, max(1, second - self._second) if self._second else 1)
        self._second = second
        for page, figures in points.items():
            of_page = self._series.setdefault(page, {})
            for name, value in figures.items():
                series = of_page.get(name) or self._new(page, name)
                if series is not None:
                    series.set(second, value, covered)

    def of(self, page: str, names: Iterable[str] | None = None) -> dict[str, tuple[int, int, list[Point]]]:
        """The series of a page as the API has them: the time of the first figure in ms, the step in s, the figures."""
        found = self._series.get(page, {})
        first = self._second - KEPT + 1
        chosen = found if names is None else {name: found[name] for name in names if name in found}
        return {name: (first * 1000, 1, each.since(first, self._second)) for name, each in chosen.items()}

    def _new(self, page: str, name: str) -> Series | None:
        if self._count >= MOST_SERIES and not self._drop_old():
            self.dropped.add((page, name))
            return None
        self._count += 1
        return self._series[page].setdefault(name, Series())

    def _drop_old(self) -> bool:
        """Forget the series without a figure in the last `KEPT` seconds, such as those of silos that left."""
        for figures in self._series.values():
            for name in [name for name, each in figures.items() if each.newest < self._second - KEPT]:
                del figures[name]
                self._count -= 1
        return self._count < MOST_SERIES


def _span(first: int, last: int) -> range:
    return range(first, last + 1)
