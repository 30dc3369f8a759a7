"""One metric: its name, kind, labels and meaning, and how its values are read from a snapshot. Pure.

`metrics.py` declares them all.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter

import msgspec

from grange.observability.histogram import BOUNDS, Distribution, Histogram
from grange.observability.snapshot import LONG_TURN, MethodSnapshot, Snapshot, TypeSnapshot

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
    return Metric(f"grange_{name}_total", Kind.COUNTER, text, tuple(labels.split()), read)


def gauge(name: str, text: str, labels: str, read: Read) -> Metric:
    return Metric(f"grange_{name}", Kind.GAUGE, text, tuple(labels.split()), read)


def histogram(name: str, text: str, labels: str, read: Read) -> Metric:
    return Metric(f"grange_{name}_seconds", Kind.HISTOGRAM, text, tuple(labels.split()), read)


def at(path: str) -> Read:
    """One value, without labels: an attribute of the snapshot."""
    find = attrgetter(path)
    return lambda figures: [((), find(figures))]


def of_each(path: str, key: str, field: str) -> Read:
    """A field of each item of a tuple; the label is another field of it."""
    items, label, value = attrgetter(path), attrgetter(key), attrgetter(field)
    return lambda figures: [((label(item),), value(item)) for item in items(figures)]


def by_name(path: str) -> Read:
    """The values of a dict by their names."""
    find = attrgetter(path)
    return lambda figures: [((name,), value) for name, value in find(figures).items()]


def methods(read: Callable[[MethodSnapshot], Value]) -> Read:
    """A value of every method."""
    return lambda figures: [
        ((each.type, method.method), read(method)) for each in figures.types for method in each.methods
    ]


def outgoing(field: str) -> Read:
    value = attrgetter(field)
    return lambda figures: [((each.type, each.method), value(each)) for each in figures.outgoing]


def type_sum(field: str) -> Read:
    """The distribution of all methods of a type: one histogram for each method would make too many time series."""
    find = attrgetter(field)

    def read(figures: Snapshot) -> Iterator[tuple[tuple[str, ...], Distribution]]:
        for each in figures.types:
            yield (each.type,), joined(find(method) for method in each.methods)

    return read


def joined(parts: Iterable[Distribution]) -> Distribution:
    whole = Histogram()
    cells = whole.cells
    for part in parts:
        whole.total += part.total
        for index, count in enumerate(part.cells):
            cells[index] += count
    return whole.frozen()


def calls(figures: Snapshot) -> Iterator[tuple[tuple[str, ...], int]]:
    for each in figures.types:
        for method in each.methods:
            yield (each.type, method.method, "ok"), method.calls.count - method.failed
            yield (each.type, method.method, "failed"), method.failed


def rejected(figures: Snapshot) -> Iterator[tuple[tuple[str, ...], int]]:
    for each in figures.types:
        for method in each.methods:
            for reason, count in method.refused.items():
                yield (each.type, method.method, reason), count
    for reason, count in figures.refused.items():
        yield ("_OTHER", "_OTHER", reason), count


def turns(field: str) -> Read:
    """A number of each method that is not 0: few methods are transactional."""
    value = attrgetter(field)
    return lambda figures: [
        ((each.type, method.method), value(method))
        for each in figures.types
        for method in each.methods
        if value(method)
    ]


def ended(figures: Snapshot) -> Iterator[tuple[tuple[str, ...], int]]:
    for each in figures.types:
        for code, count in each.ended.items():
            yield (each.type, code), count


def secret_reads(figures: Snapshot) -> Iterator[tuple[tuple[str, ...], int]]:
    for outcome, counts in (("ok", figures.secrets.read), ("failed", figures.secrets.failed)):
        for source, count in counts.items():
            yield (source, outcome), count


def outgoing_calls(figures: Snapshot) -> Iterator[tuple[tuple[str, ...], int]]:
    for each in figures.outgoing:
        yield (each.type, each.method, "ok"), each.calls.count - each.failed
        yield (each.type, each.method, "failed"), each.failed
        yield (each.type, each.method, "refused"), each.refused
        yield (each.type, each.method, "unknown"), each.unknown


def long_turns(each: TypeSnapshot) -> int:
    return sum(method.turns.over(LONG_TURN) for method in each.methods if len(method.turns.cells) > _LONG_CELL)


_LONG_CELL = BOUNDS.index(LONG_TURN) + 1


def storage(figures: Snapshot) -> Iterator[tuple[tuple[str, ...], Distribution]]:
    for store in figures.stores:
        for operation, seconds in store.operations.items():
            yield (store.provider, operation), seconds


def storage_errors(figures: Snapshot) -> Iterator[tuple[tuple[str, ...], int]]:
    for store in figures.stores:
        for error, count in store.errors.items():
            yield (store.provider, error), count


def traffic(unit: str) -> Read:
    sent, received = attrgetter(f"{unit}_sent"), attrgetter(f"{unit}_received")

    def read(figures: Snapshot) -> Iterator[tuple[tuple[str, ...], int]]:
        for each in figures.traffic:
            yield (each.peer, "sent"), sent(each)
            yield (each.peer, "received"), received(each)

    return read


def certificates(figures: Snapshot) -> list[tuple[tuple[str, ...], float]]:
    """Nothing without TLS."""
    ends = figures.certificate
    if not ends.ends:
        return []
    return [(("own",), ends.ends - figures.time), (("authority",), ends.authority_ends - figures.time)]


def refusals(figures: Snapshot) -> Iterator[tuple[tuple[str, ...], int]]:
    for port in figures.ports:
        for reason, count in port.refused.items():
            yield (port.port, reason), count


def info(figures: Snapshot) -> list[tuple[tuple[str, ...], int]]:
    return [((figures.name, str(figures.address), figures.cluster, figures.release), 1)]
