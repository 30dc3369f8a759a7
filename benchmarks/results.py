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
    """The value of `subject` divided by that of another contestant, per round. Both are labels."""

    subject: str
    other: str
    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.rounds)


@dataclass(frozen=True)
class Verdict:
    """A target and the measured value: a ratio, or without `against` the figure itself.

    `other` is the label of the contestant that the ratio was taken to.
    """

    target: Target
    python: str
    measured: float
    met: bool
    other: str = ""


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
    """Return `subject` against each contestant under the same Python, from the rounds that both completed.

    A contestant that does not run under that Python counts under the oldest one that it ran on.
    """
    rows = samples.rows(figure)
    found = []
    for mine in (label for label in rows if name_of(label) == subject):
        for other in _comparable(mine, rows):
            pairs = zip(rows[mine], rows[other], strict=True)
            per_round = tuple(a[part] / b[part] for a, b in pairs if a and b and part in a and b.get(part))
            if per_round:
                found.append(Ratio(mine, other, per_round))
    return found


def verdicts(samples: Samples, figure: Figure) -> list[Verdict]:
    """Return each target of this figure that could be judged, once per Python."""
    judged = []
    for target in (target for target in TARGETS if target.figure == figure.name):
        for python, measured, other in _measured(samples, target):
            met = measured >= target.factor if target.more else measured <= target.factor
            judged.append(Verdict(target, python, measured, met, other))
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


def _comparable(mine: str, rows: Iterable[str]) -> list[str]:
    """Return a label of each other contestant that one is compared with."""
    of_name: dict[str, list[str]] = {}
    for label in rows:
        of_name.setdefault(name_of(label), []).append(label)
    found = []
    for name, labels in of_name.items():
        same = f"{name}@{python_of(mine)}"
        if name != name_of(mine) and same in labels:
            found.append(same)
        elif name != name_of(mine) and _version(mine) < CONTESTANTS[name].oldest:
            found.append(min(labels, key=_version))
    return found


def _version(label: str) -> tuple[int, ...]:
    return tuple(int(part) for part in python_of(label).split("."))


def _measured(samples: Samples, target: Target) -> list[tuple[str, float, str]]:
    """Return Python, value and the label that it was compared with."""
    if target.against is not None:
        found = ratios(samples, target.figure, target.subject, target.part)
        if target.against == BEST_PEER:
            found = _of_best_peer(found, target)
        matching = [one for one in found if target.against in {BEST_PEER, name_of(one.other)}]
        return [(python_of(one.subject), one.median, one.other) for one in matching]
    own = [label for label in samples.rows(target.figure) if name_of(label) == target.subject]
    taken = {python_of(label): values(samples, target.figure, label, target.part) for label in own}
    return [(python, statistics.median(found), "") for python, found in taken.items() if found]


def _of_best_peer(found: Iterable[Ratio], target: Target) -> list[Ratio]:
    """Return, for each Python, the least favourable ratio to a peer: that to the peer that does best."""
    by_python: dict[str, list[Ratio]] = {}
    for one in found:
        if CONTESTANTS[name_of(one.other)].peer:
            by_python.setdefault(python_of(one.subject), []).append(one)
    worst = min if target.more else max
    return [worst(peers, key=lambda one: one.median) for peers in by_python.values()]


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
                "other": verdict.other,
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
