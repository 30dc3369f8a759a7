"""The last 15 minutes of every series of the pages. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from grange.observability.series import SeriesSet

LONGEST_SPAN = 15
"""Seconds that one figure may stand for; what is older stays a gap."""

Point = float | None


class Past:
    """All series of the pages, by page and name."""

    def __init__(self) -> None:
        self._all = SeriesSet()
        self._names: dict[str, dict[str, int]] = {}  # by page: each series with the second of its newest figure
        self._second = 0

    @property
    def dropped(self) -> int:
        """The number of series for which there is no room."""
        return self._all.dropped

    def add(self, time: float, span: float, points: Mapping[str, Mapping[str, Point]]) -> None:
        """Add the points of each page at a time in Unix seconds. They stand for the last `span` seconds."""
        second = int(time)
        since = second - self._second if self._second else 1
        covered = max(1, min(math.ceil(span), since, LONGEST_SPAN))
        self._second = second
        values = {f"{page}\n{name}": value for page, named in points.items() for name, value in named.items()}
        for each in range(second - covered + 1, second + 1):
            self._all.put(each, values)
        for page, named in points.items():
            known = self._names.setdefault(page, {})
            known.update((name, second) for name, value in named.items() if value is not None or name not in known)
        self._forget_old()

    def of(self, page: str, names: Iterable[str] | None = None) -> dict[str, tuple[int, int, list[Point]]]:
        """The series of a page as the API has them: the time of the first figure in ms, the step in s, the figures."""
        found: dict[str, tuple[int, int, list[Point]]] = {}
        for name in self._names.get(page, {}) if names is None else names:
            series = self._all.get(f"{page}\n{name}")
            if series is not None:
                points = series.fine()
                values = [None if value is None else float(f"{value:.4g}") for value in points.values]
                found[name] = (int(points.start * 1000), int(points.step), values)
        return found

    def _forget_old(self) -> None:
        """Forget the series without a figure in the last 15 minutes, such as those of silos that are gone."""
        for page, named in self._names.items():
            for name in [name for name, newest in named.items() if newest < self._second - 900]:
                del named[name]
                self._all.forget(f"{page}\n{name}")
