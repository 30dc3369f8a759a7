"""The newest point of every series, by page. Pure. A silo that did not answer has none: its charts show a gap."""

from __future__ import annotations

from grange.dashboard.changes import MethodName, Sum, sums_by_method, total_of
from grange.dashboard.past import Point
from grange.dashboard.picture import Picture, SiloSeen

Points = dict[str, dict[str, Point]]
"""Points by page (`overview`, `silos`, `type/NAME`) and series."""


def points_of(picture: Picture) -> Points:
    """All points of one second."""
    sums = sums_by_method(picture.seconds())
    points: Points = {"overview": _overview(picture, sums), "silos": _silos(picture)}
    hosted = (each for silo, snapshot in picture.fresh() if silo.second is not None for each in snapshot.types)
    for each in hosted:
        called = (method.method for method in each.methods if method.calls.cells or method.refused)
        series = points.setdefault(f"type/{each.type}", {})  # a method that was never called has no series
        for method in called:
            _method(series, (each.type, method), sums)
    return points


def names_of(view: str, picture: Picture) -> tuple[str, list[str] | None]:
    """The page and the names of the series that a view shows; None stands for all of the page."""
    kind, _, name = view.partition("/")
    if kind == "silo":
        return "silos", [f"{series}/{name}" for series in ("calls", "cpu", "lag", "activations", "waiting", "rss")]
    return view, None


def _overview(picture: Picture, sums: dict[MethodName, Sum]) -> dict[str, Point]:
    fresh = [snapshot for _, snapshot in picture.fresh()]
    known = any(True for _ in picture.seconds())
    total = total_of(sums.values())
    return {
        "calls_ok": total.calls - total.failed if known else None,
        "calls_failed": total.failed if known else None,
        "calls_refused": total.refused if known else None,
        "p50": total.times.quantile(0.5),
        "p95": total.times.quantile(0.95),
        "p99": total.times.quantile(0.99),
        "activations": sum(each.activations for each in fresh) if fresh else None,
        "waiting": sum(each.waiting for each in fresh) if fresh else None,
    }


def _silos(picture: Picture) -> dict[str, Point]:
    points: dict[str, Point] = {}
    answered = {silo.member.address for silo, _ in picture.fresh()}
    for silo in picture.silos:
        for series, value in _silo(silo, silo.member.address in answered).items():
            points[f"{series}/{silo.member.name}"] = value
    return points


def _silo(silo: SiloSeen, is_fresh: bool) -> dict[str, Point]:
    snapshot = silo.snapshot if is_fresh else None
    second = silo.second if is_fresh else None
    return {
        "calls": None if second is None else sum(each.calls.count for each in second.methods.values()) / second.span,
        "cpu": None if second is None else second.cpu,
        "lag": None if second is None else second.lag.quantile(0.99),
        "activations": None if snapshot is None else snapshot.activations,
        "waiting": None if snapshot is None else snapshot.waiting,
        "rss": None if snapshot is None else snapshot.process.rss,
    }


def _method(series: dict[str, Point], name: MethodName, sums: dict[MethodName, Sum]) -> None:
    found = sums.get(name)
    series[f"calls/{name[1]}"] = 0.0 if found is None else found.calls
    series[f"p99/{name[1]}"] = None if found is None else found.times.quantile(0.99)
