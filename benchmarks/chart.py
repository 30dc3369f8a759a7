"""Draws small line charts as SVG: a logarithmic horizontal axis, a linear vertical one from zero. Pure."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 20, 60, 50
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd")


@dataclass(frozen=True)
class Line:
    """One line: its name, and a value for each place on the horizontal axis."""

    name: str
    values: Sequence[float]


def chart(title: str, axis: str, places: Sequence[float], lines: Sequence[Line]) -> str:
    """The text of an SVG file. `places` are above 0 and ascending."""
    top = _round_up(max(value for line in lines for value in line.values))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" role="img" aria-label="{html.escape(title)}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(WIDTH / 2, 20, title, "middle", size=15),
        _text((WIDTH + _LEFT - _RIGHT) / 2, HEIGHT - 12, axis, "middle"),
    ]
    for step in range(5):
        value = top * step / 4
        y = _y(value, top)
        parts.append(f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(_text(_LEFT - 6, y + 4, f"{value:g}", "end"))
    parts += [_text(_x(place, places), HEIGHT - _BOTTOM + 18, f"{place:,}", "middle") for place in places]
    for number, line in enumerate(lines):
        colour = _COLOURS[number % len(_COLOURS)]
        points = [(_x(place, places), _y(value, top)) for place, value in zip(places, line.values, strict=True)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        parts.append(_text(_LEFT + number * 250, 42, line.name, "start", colour))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _x(place: float, places: Sequence[float]) -> float:
    if len(places) == 1:
        return (_LEFT + WIDTH - _RIGHT) / 2
    share = math.log(place / places[0]) / math.log(places[-1] / places[0])
    return _LEFT + 20 + share * (WIDTH - _LEFT - _RIGHT - 50)


def _y(value: float, top: float) -> float:
    return HEIGHT - _BOTTOM - value / top * (HEIGHT - _TOP - _BOTTOM)


def _round_up(value: float) -> float:
    scale = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(step * scale for step in (1, 1.2, 1.6, 2, 4, 6, 8, 10) if step * scale >= value)


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#333", size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}">'
        f"{html.escape(text)}</text>"
    )
