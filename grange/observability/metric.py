"""What a metric is, and the usual ways to read one from a snapshot. Pure. `metrics.py` declares them all."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from operator import attrgetter

import msgspec

from grange.observability.histogram import Distribution
from grange.observability.snapshot import Snapshot

Value = int | float | Distribution
Read = Callable[[Snapshot], Iterable[tuple[tuple[str, ...], Value]]]
"""The values of a metric in a snapshot, each with the values of its labels."""


class Kind(enum.StrEnum):
    """The kinds of metrics, in the words of Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(msgspec.Struct, frozen=True, eq=False):
    """One metric. The name of a counter ends in `_total`."""

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...]
    read: Read

    @property
    def unit(self) -> str:
        """The unit in which the name ends; empty for a number of things."""
        last = self.name.removesuffix("_total").rpartition("_")[2]
        return last if last in ("seconds", "bytes") else ""


def counter(name: str, text: str, labels: str, read: Read) -> Metric:
    """A number that rises."""
    return Metric(f"grange_{name}_total", Kind.COUNTER, text, tuple(labels.split()), read)


def gauge(name: str, text: str, labels: str, read: Read) -> Metric:
    """A number that rises and falls."""
    return Metric(f"grange_{name}", Kind.GAUGE, text, tuple(labels.split()), read)


def histogram(name: str, text: str, labels: str, read: Read) -> Metric:
    """Seconds, in a distribution."""
    return Metric(f"grange_{name}_seconds", Kind.HISTOGRAM, text, tuple(labels.split()), read)


def at(path: str) -> Read:
    """One value, without labels: an attribute of the snapshot."""
    find = attrgetter(path)
    return lambda figures: [((), find(figures))]


def each(path: str, key: str, field: str) -> Read:
    """A field of each item of a tuple; the label is another field of it."""
    items, label, value = attrgetter(path), attrgetter(key), attrgetter(field)
    return lambda figures: [((label(item),), value(item)) for item in items(figures)]


def by_name(path: str) -> Read:
    """The values of a dict by their names."""
    find = attrgetter(path)
    return lambda figures: [((name,), value) for name, value in find(figures).items()]
