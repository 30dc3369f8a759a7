"""Writes a snapshot for Prometheus, in its text format or in OpenMetrics. Pure.

It is text from the first line, without an object for each time series: a silo of 30 types has some 7,000 of them, and
the scrape shares the interpreter lock with its grains.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from types import MappingProxyType

import msgspec

from grange.observability.histogram import BOUNDS, Distribution
from grange.observability.metric import Metric
from grange.observability.metrics import METRICS
from grange.observability.snapshot import Snapshot
from grange.proto.journal import RootRow

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
"""Content types of both formats."""

_EDGES = (*(f"{bound:g}" for bound in BOUNDS), "+Inf")


class Exemplar(msgspec.Struct, frozen=True):
    """One request that a histogram counted: its trace, its seconds, and when it ended in Unix seconds."""

    trace: str
    seconds: float
    time: float


Exemplars = Mapping[tuple[str, ...], Exemplar]
"""The slowest traced request of each type and method."""

NONE: Exemplars = MappingProxyType({})


def exemplars_of(roots: Iterable[RootRow], since: float) -> dict[tuple[str, ...], Exemplar]:
    """The slowest sampled request of each method among the first spans of traces that ended after `since`."""
    found: dict[tuple[str, ...], Exemplar] = {}
    for root in roots:
        span, ended = root.span, root.span.start + root.span.seconds
        grain_type, _, method = span.name.rpartition("/")
        known = found.get((grain_type, method))
        is_request = span.kind == "server" and span.span  # without a span of its own, it was not sampled
        if is_request and ended > since and (known is None or span.seconds > known.seconds):
            found[grain_type, method] = Exemplar(span.trace, span.seconds, ended)
    return found


def prometheus_text(figures: Snapshot, metrics: Iterable[Metric] = METRICS) -> str:
    """The figures in Prometheus' text format; without exemplars, which it does not have."""
    lines: list[str] = []
    for metric in metrics:
        lines.append(f"# HELP {metric.name} {_escaped(metric.text)}")
        lines.append(f"# TYPE {metric.name} {metric.kind}")
        lines.extend(_samples(metric, figures, NONE))
    return "\n".join(lines) + "\n"


def openmetrics_text(figures: Snapshot, exemplars: Exemplars = NONE, metrics: Iterable[Metric] = METRICS) -> str:
    """The figures in OpenMetrics. The bucket of a call's duration carries the exemplar of its method."""
    lines: list[str] = []
    for metric in metrics:
        family = metric.name.removesuffix("_total")
        lines.append(f"# TYPE {family} {metric.kind}")
        if metric.unit:
            lines.append(f"# UNIT {family} {metric.unit}")
        lines.append(f"# HELP {family} {_escaped(metric.text)}")
        lines.extend(_samples(metric, figures, exemplars if metric.name == "grange_call_duration_seconds" else NONE))
    return "\n".join(lines) + "\n# EOF\n"


def _samples(metric: Metric, figures: Snapshot, exemplars: Exemplars) -> Iterator[str]:
    for values, value in metric.read(figures):
        labels = ",".join(f'{name}="{_escaped(text)}"' for name, text in zip(metric.labels, values, strict=True))
        if isinstance(value, Distribution):
            yield from _buckets(metric.name, labels, value, exemplars.get(values))
        else:
            yield f"{metric.name}{{{labels}}} {value!r}" if labels else f"{metric.name} {value!r}"


def _buckets(name: str, labels: str, seconds: Distribution, exemplar: Exemplar | None) -> Iterator[str]:
    start = f'{name}_bucket{{{labels},le="' if labels else f'{name}_bucket{{le="'
    suffix = f"{{{labels}}}" if labels else ""
    counts = list(accumulate(seconds.all_cells))
    lines = [f'{start}{edge}"}} {count}' for edge, count in zip(_EDGES, counts, strict=True)]
    if exemplar is not None:
        lines[bisect_left(BOUNDS, exemplar.seconds)] += (
            f' # {{trace_id="{_escaped(exemplar.trace)}"}} {exemplar.seconds!r} {exemplar.time:.3f}'
        )
    yield from lines
    yield f"{name}_sum{suffix} {seconds.total!r}"
    yield f"{name}_count{suffix} {counts[-1]}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
