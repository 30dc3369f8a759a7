"""Figures over time in a bounded memory: 15 minutes by the second and 24 hours by the minute, of 2,000 series. Pure."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping

import msgspec

FINE_STEP = 1.0
FINE_POINTS = 900
"""Seconds between two points of the last 15 minutes, and their number."""

COARSE_STEP = 60.0
COARSE_POINTS = 1440
"""Seconds between two points of the last 24 hours, and their number. Each is the mean of the fine ones."""

MAX_SERIES = 2000
"""Series that are kept at most: 9.4 KB each. Values of further ones are added up in `OTHER`."""

OTHER = "other"
"""The series of those that found no place."""


class Points(msgspec.Struct, frozen=True):
    """The points of one series: Unix seconds of the first one, seconds between two, and values. None: not measured."""

    start: float
    step: float
    values: tuple[float | None, ...]


class _Ring:
    """A ring of float32 by time. NaN: not measured."""

    __slots__ = ("_last", "_step", "_values")

    def __init__(self, step: float, points: int) -> None:
        self._step = step
        self._values = array("f", [math.nan]) * points
        self._last: int | None = None  # the number of the newest step

    def put(self, time: float, value: float) -> None:
        """Set the value of the step at this time; earlier ones that were left out are not measured."""
        step = int(time // self._step)
        size = len(self._values)
        if self._last is not None and step <= self._last - size:
            return  # older than the whole ring: the clock was set back
        if self._last is None or step > self._last:
            first = step if self._last is None else max(self._last + 1, step - size + 1)
            for number in range(first, step):
                self._values[number % size] = math.nan
            self._last = step
        self._values[step % size] = value

    def points(self, seconds: float) -> Points:
        """The newest points, of this many seconds at most."""
        size = len(self._values)
        if self._last is None:
            return Points(0.0, self._step, ())
        count = min(size, max(1, int(seconds // self._step)))
        first = self._last - count + 1
        values = (self._values[number % size] for number in range(first, self._last + 1))
        return Points(first * self._step, self._step, tuple(None if math.isnan(v) else v for v in values))


class Series:
    """One series: the fine ring, and the coarse ring that is filled from it."""

    __slots__ = ("_coarse", "_count", "_fine", "_minute", "_sum")

    def __init__(self) -> None:
        self._fine = _Ring(FINE_STEP, FINE_POINTS)
        self._coarse = _Ring(COARSE_STEP, COARSE_POINTS)
        self._minute = -1
        self._sum = 0.0
        self._count = 0

    def put(self, time: float, value: float | None) -> None:
        """Add the value at this time, in Unix seconds. None, NaN and infinity are not measured: a gap."""
        if value is None or not math.isfinite(value):
            return
        self._fine.put(time, value)
        minute = int(time // COARSE_STEP)
        if minute != self._minute:
            self._minute, self._sum, self._count = minute, 0.0, 0
        self._sum += value
        self._count += 1
        self._coarse.put(time, self._sum / self._count)

    def fine(self, seconds: float = FINE_STEP * FINE_POINTS) -> Points:
        """The newest points by the second."""
        return self._fine.points(seconds)

    def coarse(self, seconds: float = COARSE_STEP * COARSE_POINTS) -> Points:
        """The newest points by the minute."""
        return self._coarse.points(seconds)


class SeriesSet:
    """All series of one reader, by name. `dropped` counts the names that found no place."""

    def __init__(self, limit: int = MAX_SERIES) -> None:
        self._limit = limit
        self._series: dict[str, Series] = {}
        self._rest: set[int] = set()  # hashes of the names, which may be long

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all series."""
        return tuple(self._series)

    @property
    def dropped(self) -> int:
        """How many names are in `OTHER`."""
        return len(self._rest)

    def get(self, name: str) -> Series | None:
        """The series of this name; None: there is none."""
        return self._series.get(name)

    def put(self, time: float, values: Mapping[str, float | None]) -> None:
        """Add the values of one moment, in Unix seconds. Those of new names beyond the limit are summed in `OTHER`."""
        rest: float | None = None
        for name, value in values.items():
            series = self._series.get(name)
            if series is None and len(self._series) < self._limit - 1 and name != OTHER:
                series = self._series[name] = Series()
            if series is not None:
                series.put(time, value)
            else:
                self._rest.add(hash(name))
                rest = rest if value is None else (rest or 0.0) + value
        if self._rest:
            self._series.setdefault(OTHER, Series()).put(time, rest)

    def forget(self, name: str) -> None:
        """Drop a series, such as that of a silo that is gone, so that its place is free."""
        self._series.pop(name, None)
