"""Computes figures from samples: medians of rounds, ratios within a round, targets met. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.catalog import TARGETS, Contestant, Figure, Target

Sample = Mapping[str, float]


@dataclass
class Samples:
    """All samples: figure name, then variant label, then a sample per round (None where it failed)."""

    rounds: int
    taken: dict[str, dict[str, list[Sample | None]]] = field(default_factory=dict)

    def add(self, figure: str, label: str, number: int, sample: Sample) -> None:
        """Store the sample of one round."""
        rows = self.taken.setdefault(figure, {})
        rows.setdefault(label, [None] * self.rounds)[number] = sample


@dataclass(frozen=True)
class Ratio:
    """Grange's value divided by another contestant's, per round, both under one Python."""

    grange: str
    other: str
    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.rounds)


@dataclass(frozen=True)
class Verdict:
    """A target and the measured value: a ratio, or without `against` the figure itself."""

    target: Target
    python: str
    measured: float
    met: bool


def values(samples: Samples, figure: str, label: str, part: str = "value") -> list[float]:
    """Return one variant's values of a figure, in round order, without the rounds that failed."""
    rows = samples.taken.get(figure, {}).get(label, [])
    return [sample[part] for sample in rows if sample is not None and part in sample]


def ratios(samples: Samples, figure: str) -> list[Ratio]:
    """Return grange against each contestant under the same Python, from the rounds that both completed."""
    rows = samples.taken.get(figure, {})
    found = []
    for grange in (label for label in rows if label.startswith("grange@")):
        python = grange.partition("@")[2]
        for other in (label for label in rows if label != grange and label.endswith(f"@{python}")):
            pairs = zip(rows[grange], rows[other], strict=True)
            per_round = tuple(a["value"] / b["value"] for a, b in pairs if a and b and b["value"])
            if per_round:
                found.append(Ratio(grange, other, per_round))
    return found


def verdicts(samples: Samples, figure: Figure) -> list[Verdict]:
    """Return each target of this figure that could be judged, once per Python."""
    judged = []
    for target in (target for target in TARGETS if target.figure == figure.name):
        for python, measured in _measured(samples, target):
            met = measured >= target.factor if figure.more else measured <= target.factor
            judged.append(Verdict(target, python, measured, met))
    return judged


def document(figures: Sequence[Figure], samples: Samples) -> dict[str, Any]:
    """Return the figures in the format of `results.json`."""
    return {figure.name: _figure_document(figure, samples) for figure in figures}


def _measured(samples: Samples, target: Target) -> list[tuple[str, float]]:
    if target.against is not None:
        found = ratios(samples, target.figure)
        matching = (ratio for ratio in found if ratio.other.partition("@")[0] == target.against)
        return [(ratio.grange.partition("@")[2], ratio.median) for ratio in matching]
    own = [label for label in samples.taken.get(target.figure, {}) if label.startswith("grange@")]
    taken = {label.partition("@")[2]: values(samples, target.figure, label) for label in own}
    return [(python, statistics.median(found)) for python, found in taken.items() if found]


def _figure_document(figure: Figure, samples: Samples) -> dict[str, Any]:
    rows = samples.taken.get(figure.name, {})
    return {
        "title": figure.title,
        "unit": figure.unit,
        "better": "more" if figure.more else "less",
        "values": {
            label: {"median": _round(statistics.median(taken)), "rounds": rows[label]}
            for label in rows
            if (taken := values(samples, figure.name, label))
        },
        "ratios": {
            f"{ratio.grange} / {ratio.other}": {
                "median": _round(ratio.median),
                "rounds": [_round(one) for one in ratio.rounds],
            }
            for ratio in ratios(samples, figure.name)
        },
        "targets": [
            {
                "against": verdict.target.against,
                "python": verdict.python,
                "target": verdict.target.factor,
                "measured": _round(verdict.measured),
                "met": verdict.met,
            }
            for verdict in verdicts(samples, figure)
        ],
    }


def labels_in_order(contestants: Sequence[Contestant], samples: Samples, figure: str) -> list[str]:
    """Return the labels measured for a figure, in catalogue order and then by Python."""
    order = [contestant.name for contestant in contestants]
    rows = samples.taken.get(figure, {})
    return sorted(rows, key=lambda label: (order.index(label.partition("@")[0]), label))


def _round(value: float) -> float:
    return float(f"{value:.4g}")
