"""Draws line charts as SVG text, without a library. Pure.

Both axes may be logarithmic. The name of a series is at the end of its line, so a chart can be read without its
colours. Numbers are rounded, so that the same figures give the same file.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 760, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 150, 48, 56
_COLOURS = ("#0b62a4", "#c2410c", "#15803d", "#7e22ce", "#64748b", "#b45309", "#be185d", "#0f766e")
_NAMES_APART = 15.0

_Place = Callable[[tuple[float, float]], tuple[float, float]]


@dataclass(frozen=True)
class Series:
    """One line: its name and its points, in ascending x."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Axis:
    """One axis: its title, and whether each step is a factor (logarithmic) or a sum. A linear axis starts at 0."""

    title: str
    logarithmic: bool = False

    def ticks(self, least: float, most: float) -> list[float]:
        """Return the values that the axis names; the first and the last enclose all values."""
        if self.logarithmic:
            first, last = math.floor(math.log10(least)), math.ceil(math.log10(most))
            return [10.0**power for power in range(first, max(last, first + 1) + 1)]
        step = _round_step(most / 5 or 1.0)
        return [step * number for number in range(math.ceil(most / step - 1e-9) + 1)]

    def share(self, value: float, ticks: Sequence[float]) -> float:
        """Return where a value is on the axis: 0 is the first tick, 1 the last."""
        if self.logarithmic:
            return math.log(value / ticks[0]) / math.log(ticks[-1] / ticks[0])
        return (value - ticks[0]) / (ticks[-1] - ticks[0])


def lines(title: str, x: Axis, y: Axis, series: Sequence[Series]) -> str:
    """Return the chart. Raises ValueError when no series has a point."""
    points = [point for one in series for point in one.points]
    if not points:
        raise ValueError(f"a chart without points: {title}")
    x_ticks = x.ticks(min(px for px, _ in points), max(px for px, _ in points))
    y_ticks = y.ticks(min(py for _, py in points), max(py for _, py in points))

    def place(point: tuple[float, float]) -> tuple[float, float]:
        right = _LEFT + x.share(point[0], x_ticks) * (_WIDTH - _LEFT - _RIGHT)
        down = _HEIGHT - _BOTTOM - y.share(point[1], y_ticks) * (_HEIGHT - _TOP - _BOTTOM)
        return round(right, 1), round(down, 1)

    parts = [_head(title), *_grid(x, y, x_ticks, y_ticks, place)]
    placed = [(one, [place(point) for point in one.points]) for one in series if one.points]
    names = _apart([spots[-1][1] for _, spots in placed])
    for number, ((one, spots), down) in enumerate(zip(placed, names, strict=True)):
        parts += _line(one.name, spots, down, _COLOURS[number % len(_COLOURS)], dashed=number >= len(_COLOURS))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _head(title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
        f' font-family="sans-serif" font-size="12">\n<title>{escape(title)}</title>\n'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>\n'
        f'<text x="{_LEFT}" y="26" font-size="15" fill="#111">{escape(title)}</text>'
    )


def _grid(x: Axis, y: Axis, x_ticks: Sequence[float], y_ticks: Sequence[float], place: _Place) -> list[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for tick in x_ticks:
        at = place((tick, y_ticks[0]))[0]
        parts.append(f'<line x1="{at}" y1="{_TOP}" x2="{at}" y2="{bottom}" stroke="#eee"/>')
        parts.append(_text(at, bottom + 18, _short(tick), "middle"))
    for tick in y_ticks:
        at = place((x_ticks[0], tick))[1]
        parts.append(f'<line x1="{_LEFT}" y1="{at}" x2="{right}" y2="{at}" stroke="#ddd"/>')
        parts.append(_text(_LEFT - 8, at + 4, _short(tick), "end"))
    parts.append(_text((_LEFT + right) / 2, _HEIGHT - 14, x.title, "middle"))
    middle = (_TOP + bottom) / 2
    parts.append(f'<text transform="translate(18 {middle}) rotate(-90)" text-anchor="middle">{escape(y.title)}</text>')
    return parts


def _line(name: str, spots: Sequence[tuple[float, float]], down: float, colour: str, *, dashed: bool) -> list[str]:
    path = " ".join(f"{right},{height}" for right, height in spots)
    dash = ' stroke-dasharray="6 3"' if dashed else ""
    return [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>',
        *(f'<circle cx="{right}" cy="{height}" r="3" fill="{colour}"/>' for right, height in spots),
        f'<text x="{spots[-1][0] + 8}" y="{round(down + 4, 1)}" fill="{colour}">{escape(name)}</text>',
    ]


def _apart(heights: Sequence[float]) -> list[float]:
    """Return the heights of the names at the ends of lines, moved so far that no two overlap."""
    moved = list(heights)
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    for above, below in itertools.pairwise(order):
        moved[below] = max(moved[below], moved[above] + _NAMES_APART)
    return moved


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{round(x, 1)}" y="{round(y, 1)}" text-anchor="{anchor}" fill="#333">{escape(text)}</text>'


def _short(value: float) -> str:
    for size, letter in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step - 1e-9)
