"""Computes figures from samples: medians of rounds, ratios within a round, targets met. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.catalog import BEST_PEER, CONTESTANTS, TARGETS, Contestant, Figure, Target

Sample = Mapping[str, float]
_ADDED = frozenset({"value", "calls", "activations"})


@dataclass
class Samples:
    """All samples: figure name, then variant label, then a sample per round (None where it failed)."""

    rounds: int
    taken: dict[str, dict[str, list[Sample | None]]] = field(default_factory=dict)

    def add(self, figure: str, label: str, number: int, sample: Sample) -> None:
        """Store the sample of one round."""
        rows = self.taken.setdefault(figure, {})
        rows.setdefault(label, [None] * self.rounds)[number] = sample

    def rows(self, figure: str) -> dict[str, list[Sample | None]]:
        """Return the samples of one figure, by label."""
        return self.taken.get(figure, {})


@dataclass(frozen=True)
class Ratio:
    """The value of `subject` divided by that of another contestant, per round, both under one Python."""

    subject: str
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


def together(samples: Sequence[Sample]) -> dict[str, float]:
    """Return one sample for clients that measured at once: the sum of their values, the slowest percentiles."""
    parts = {part for sample in samples for part in sample}
    return {
        part: (sum if part in _ADDED else max)(sample[part] for sample in samples if part in sample) for part in parts
    }


def values(samples: Samples, figure: str, label: str, part: str = "value") -> list[float]:
    """Return one variant's values of a figure, in round order, without the rounds that failed."""
    rows = samples.rows(figure).get(label, [])
    return [sample[part] for sample in rows if sample is not None and part in sample]


def ratios(samples: Samples, figure: str, subject: str = "grange", part: str = "value") -> list[Ratio]:
    """Return `subject` against each contestant under the same Python, from the rounds that both completed."""
    rows = samples.rows(figure)
    found = []
    for mine in (label for label in rows if name_of(label) == subject):
        for other in (label for label in rows if label != mine and python_of(label) == python_of(mine)):
            pairs = zip(rows[mine], rows[other], strict=True)
            per_round = tuple(a[part] / b[part] for a, b in pairs if a and b and part in a and b.get(part))
            if per_round:
                found.append(Ratio(mine, other, per_round))
    return found


def verdicts(samples: Samples, figure: Figure) -> list[Verdict]:
    """Return each target of this figure that could be judged, once per Python."""
    judged = []
    for target in (target for target in TARGETS if target.figure == figure.name):
        for python, measured in _measured(samples, target):
            met = measured >= target.factor if target.more else measured <= target.factor
            judged.append(Verdict(target, python, measured, met))
    return judged


def document(figures: Sequence[Figure], samples: Samples) -> dict[str, Any]:
    """Return the figures in the format of `results.json`."""
    return {figure.name: _figure_document(figure, samples) for figure in figures}


def samples_of(found: Mapping[str, Any]) -> Samples:
    """Return the samples from the figures of a `results.json`."""
    taken = {
        name: {label: entry["rounds"] for label, entry in figure["values"].items()} for name, figure in found.items()
    }
    rounds = max((len(rows) for labels in taken.values() for rows in labels.values()), default=0)
    return Samples(rounds, taken)


def labels_in_order(contestants: Sequence[Contestant], samples: Samples, figure: str) -> list[str]:
    """Return the labels measured for a figure, in catalogue order and then by Python."""
    order = [contestant.name for contestant in contestants]
    known = (label for label in samples.rows(figure) if name_of(label) in order)
    return sorted(known, key=lambda label: (order.index(name_of(label)), label))


def name_of(label: str) -> str:
    """Return the contestant of a label: `casty` of `casty@3.13`."""
    return label.partition("@")[0]


def python_of(label: str) -> str:
    """Return the Python of a label: `3.13` of `casty@3.13`."""
    return label.partition("@")[2]


def _measured(samples: Samples, target: Target) -> list[tuple[str, float]]:
    if target.against == BEST_PEER:
        return list(_against_best_peer(samples, target))
    if target.against is not None:
        found = ratios(samples, target.figure, target.subject, target.part)
        return [(python_of(one.subject), one.median) for one in found if name_of(one.other) == target.against]
    own = [label for label in samples.rows(target.figure) if name_of(label) == target.subject]
    taken = {python_of(label): values(samples, target.figure, label, target.part) for label in own}
    return [(python, statistics.median(found)) for python, found in taken.items() if found]


def _against_best_peer(samples: Samples, target: Target) -> Iterable[tuple[str, float]]:
    """Yield the ratio to the peer with the least favourable ratio: the peer that does best."""
    found = ratios(samples, target.figure, target.subject, target.part)
    peers = [one for one in found if CONTESTANTS[name_of(one.other)].peer]
    worst = min if target.more else max
    for python in dict.fromkeys(python_of(one.subject) for one in peers):
        yield python, worst(one.median for one in peers if python_of(one.subject) == python)


def _figure_document(figure: Figure, samples: Samples) -> dict[str, Any]:
    rows = samples.rows(figure.name)
    return {
        "title": figure.title,
        "unit": figure.unit,
        "better": "more" if figure.more else "less",
        "values": {
            label: {"median": _round(statistics.median(taken)), "rounds": [_rounded(one) for one in rows[label]]}
            for label in rows
            if (taken := values(samples, figure.name, label))
        },
        "ratios": {
            f"{ratio.subject} / {ratio.other}": {
                "median": _round(ratio.median),
                "rounds": [_round(one) for one in ratio.rounds],
            }
            for ratio in ratios(samples, figure.name)
        },
        "targets": [
            {
                "subject": verdict.target.subject,
                "part": verdict.target.part,
                "against": verdict.target.against,
                "python": verdict.python,
                "target": verdict.target.factor,
                "measured": _round(verdict.measured),
                "met": verdict.met,
            }
            for verdict in verdicts(samples, figure)
        ],
    }


def _rounded(sample: Sample | None) -> Sample | None:
    return None if sample is None else {part: _round(value) for part, value in sample.items()}


def _round(value: float) -> float:
    return float(f"{value:.5g}")
