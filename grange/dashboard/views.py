"""The JSON of the pages that move: the full state of a page, and one second of it. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from grange.dashboard.changes import MethodName, Sum, merged, sums_by_method
from grange.dashboard.past import Past
from grange.dashboard.picture import Picture, SiloSeen
from grange.dashboard.points import Points, names_of
from grange.membership.model.member import SiloStatus
from grange.observability.histogram import BOUNDS, NOTHING
from grange.observability.snapshot import Snapshot

Facts = dict[str, Any]

TOP = 10
"""Methods in each list of the overview."""


_WHOLE_VIEWS = frozenset({"overview", "silos", "types", "membership", "quiet"})

LONGEST_VIEW = 1000
"""Characters of the name of a view."""


class Shown(msgspec.Struct, frozen=True):
    """What a full state holds besides figures: the name of the collector's run, and the number of alarms."""

    epoch: str
    alarms: int


def is_view(view: str) -> bool:
    """Whether there is such a page. Each view that is open is rendered each second, so a made-up one is refused."""
    kind, slash, name = view.partition("/")
    is_of_one = kind in ("silo", "type") and bool(slash and name)
    return len(view) <= LONGEST_VIEW and (view in _WHOLE_VIEWS or is_of_one)


def hello_of(picture: Picture, view: str, points: Points, past: Past, shown: Shown) -> Facts:
    """The full state of a page, with the series of the last 15 minutes."""
    facts = {
        "cluster": picture.cluster,
        "epoch": shown.epoch,
        "now": picture.milliseconds,
        "silos": [silo.member.name for silo in picture.silos],
        "tick": tick_of(picture, view, points, shown.alarms),
        "series": past.of(*names_of(view, picture)),
    }
    return {**facts, "bounds": [*BOUNDS, None]} if view.startswith("type/") else facts


def tick_of(picture: Picture, view: str, points: Points, alarms: int, span: float = 1.0) -> Facts:
    """One second of a page. Its points stand for the last `span` seconds."""
    page, names = names_of(view, picture)
    found = points.get(page, {})
    shown = found if names is None else {name: found[name] for name in names if name in found}
    kind, _, name = view.partition("/")
    parts: dict[str, Callable[[], Facts]] = {
        "overview": lambda: {"top": top_methods(picture)},
        "silos": lambda: {"silos": silo_rows(picture)},
        "silo": lambda: {"silos": [silo_row(picture, silo) for silo in picture.of(name)]},
        "types": lambda: {"types": type_rows(picture)},
        "type": lambda: {"methods": method_rows(picture, name)},
    }
    part = parts[kind]() if kind in parts else {}
    rounded = {name: short(value) for name, value in shown.items()}
    head = head_of(picture, alarms)
    return {"now": picture.milliseconds, "span": math.ceil(span * 1000) / 1000, "head": head, "points": rounded, **part}


def head_of(picture: Picture, alarms: int) -> Facts:
    """The strip at the top of each page."""
    statuses = Counter(member.status for member in picture.view.members)
    fresh = [snapshot for _, snapshot in picture.fresh()]
    tables = {each.membership.table for each in fresh}
    return {
        "silos": {
            **{str(status): statuses[status] for status in SiloStatus},
            "silent": sum(1 for silo in picture.silos if silo.problem),
        },
        "table": next((word for word in ("lost", "unreachable") if word in tables), "ok"),
        "alarms": alarms,
        "activations": sum(each.activations for each in fresh),
        "waiting": sum(each.waiting for each in fresh),
        "in_flight": sum(each.in_flight for each in fresh),
    }


def top_methods(picture: Picture) -> Facts:
    """The methods with the largest share of time, the most errors and the highest p99 of the last seconds."""
    sums = sums_by_method(picture.recent())
    busy = sum(each.busy for each in sums.values())
    rows = [_top_row(name, each, busy) for name, each in sums.items()]
    failing = [row for row in rows if row["failed"]]
    timed = [row for row in rows if row["p99"] is not None]
    return {
        "share": sorted(rows, key=lambda row: -row["share"])[:TOP],
        "errors": sorted(failing, key=lambda row: -row["failed"])[:TOP],
        "p99": sorted(timed, key=lambda row: -row["p99"])[:TOP],
    }


def silo_rows(picture: Picture) -> list[Facts]:
    """One row for each silo that lives."""
    return [silo_row(picture, silo) for silo in picture.silos]


def silo_row(picture: Picture, silo: SiloSeen) -> Facts:
    """A silo. Its figures are those of its newest answer, `age` seconds ago; null if it never answered."""
    member, recent = silo.member, silo.recent
    return {
        "name": member.name,
        "address": str(member.address),
        "status": str(member.status),
        "cordoned": member.cordoned,
        "age": picture.age(silo),
        "problem": silo.problem,
        "labels": member.labels,
        "cpu": None if recent is None else round(recent.cpu, 4),
        "lag": None if recent is None else short(recent.lag.quantile(0.99)),
        "calls": None if recent is None else _rate(sum(e.calls.count for e in recent.methods.values()), recent.span),
        **(_NO_FIGURES if silo.snapshot is None else _figures(silo.snapshot)),
    }


def _figures(snapshot: Snapshot) -> Facts:
    membership = snapshot.membership
    return {
        "version": snapshot.release,
        "view": membership.version,
        "uptime": round(snapshot.uptime, 1),
        "rss": snapshot.process.rss,
        "rss_limit": snapshot.process.memory_limit,
        "cores": snapshot.process.cores,
        "in_flight": snapshot.in_flight,
        "waiting": snapshot.waiting,
        "stuck": snapshot.stuck,
        "activations": snapshot.activations,
        "clients": snapshot.clients,
        "score": membership.score,
        "fenced": membership.fenced,
        "table": membership.table,
        "ready": snapshot.ready,
        "load": round(snapshot.load.value, 4),
        "load_cause": snapshot.load.cause,
    }


_NO_FIGURES: Facts = dict.fromkeys(
    ("version", "view", "uptime", "rss", "rss_limit", "cores", "in_flight", "waiting", "stuck", "activations",
     "clients", "score", "fenced", "table", "ready", "load", "load_cause")
)  # fmt: skip


def type_rows(picture: Picture) -> list[Facts]:
    """One row for each grain type that a silo hosts."""
    placements = {name: placement for silo in picture.silos for name, placement in silo.member.grains.items()}
    counts: dict[str, dict[str, int]] = {name: {} for name in placements}
    for silo, snapshot in picture.fresh():
        for each in snapshot.types:
            counts.setdefault(each.type, {})[silo.member.name] = each.activations
    sums: dict[str, Sum] = {}
    for changes in picture.recent():
        for (name, _), change in changes.methods.items():
            sums.setdefault(name, Sum()).add(change)
    return [
        {
            "type": name,
            "system": name.startswith("grange."),
            "placement": placements.get(name, ""),
            "activations": sum(silos.values()),
            "silos": sorted(silos.items()),
            **_sum_facts(sums.get(name)),
            **_states(picture, name),
        }
        for name, silos in sorted(counts.items())
    ]


def method_rows(picture: Picture, grain_type: str) -> list[Facts]:
    """One row for each method of a type. `cells` counts all calls since the silos started, by `bounds`."""
    sums = sums_by_method(picture.recent())
    cells: dict[str, Any] = {}
    for _, snapshot in picture.fresh():
        for each in snapshot.types:
            for method in each.methods if each.type == grain_type else ():
                cells[method.method] = merged(cells.get(method.method, NOTHING), method.calls)
    return [
        {"method": name, **_sum_facts(sums.get((grain_type, name))), "cells": every.all_cells}
        for name, every in sorted(cells.items())
    ]


def _top_row(name: MethodName, each: Sum, busy: float) -> Facts:
    share = each.busy / busy if busy else 0.0
    return {"type": name[0], "method": name[1], "share": round(share, 4), **_sum_facts(each)}


def _sum_facts(found: Sum | None) -> Facts:
    """Rates per second, and times in seconds; null where there was no call."""
    each = found or Sum()
    return {
        "calls": round(each.calls, 3),
        "failed": round(each.failed, 3),
        "refused": round(each.refused, 3),
        "p50": short(each.times.quantile(0.5)),
        "p95": short(each.times.quantile(0.95)),
        "p99": short(each.times.quantile(0.99)),
        "wait": short(each.waits.total / each.times.count if each.times.count else None),
        "turn": short(each.turns.mean),
    }


def _states(picture: Picture, name: str) -> Facts:
    """State writes and lost races of a type, per second."""
    found = [(changes.states[name], changes.span) for changes in picture.recent() if name in changes.states]
    return {
        "writes": round(sum(writes / span for (writes, _), span in found), 3),
        "conflicts": round(sum(conflicts / span for (_, conflicts), span in found), 3),
    }


def short(value: float | None) -> float | None:
    """A figure with four digits: the others are noise, and a tick has hundreds of them."""
    return None if value is None else float(f"{value:.4g}")


def _rate(count: int, span: float) -> float:
    return round(count / span, 3)
