"""The JSON of each page, from one picture of the cluster. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any

from grange.dashboard.picture import Picture, SiloSeen
from grange.membership.model.member import SiloStatus

Facts = dict[str, Any]


def hello_of(picture: Picture, view: str) -> Facts:
    """The full state of a page."""
    return {
        "cluster": picture.cluster,
        "now": picture.milliseconds,
        "silos": [seen.member.name for seen in picture.silos],
        "tick": tick_of(picture, view),
        "series": {},
    }


def tick_of(picture: Picture, view: str) -> Facts:
    """One second of a page."""
    kind = view.partition("/")[0]
    part: Facts = {}
    if kind in ("silos", "silo"):
        part["silos"] = silo_rows(picture)
    if kind == "types":
        part["types"] = type_rows(picture)
    return {"now": picture.milliseconds, "head": head_of(picture), "points": points_of(picture, view), **part}


def head_of(picture: Picture) -> Facts:
    """The strip at the top of each page."""
    statuses = Counter(member.status for member in picture.view.members)
    fresh = [state for seen in picture.silos if (state := picture.fresh(seen)) is not None]
    tables = {state.table for state in fresh}
    return {
        "silos": {
            **{str(status): statuses[status] for status in SiloStatus},
            "silent": sum(1 for seen in picture.silos if seen.problem),
        },
        "table": next((word for word in ("lost", "unreachable") if word in tables), "ok"),
        "alarms": 0,
        "activations": sum(sum(state.activations.values()) for state in fresh),
        "waiting": 0,
        "in_flight": sum(state.requests for state in fresh),
    }


def points_of(picture: Picture, view: str) -> Facts:
    """The newest figure of each series of a page; null where there is none."""
    if view == "overview":
        return {"activations": head_of(picture)["activations"]}
    if view in ("silos", "types"):
        return {}
    return {}


def silo_rows(picture: Picture) -> list[Facts]:
    """One row for each silo that lives."""
    return [silo_row(picture, seen) for seen in picture.silos]


def silo_row(picture: Picture, seen: SiloSeen) -> Facts:
    """A silo. Without an answer its figures are null, and `age` is null if it never answered."""
    state, member = seen.state, seen.member
    return {
        "name": member.name,
        "address": str(member.address),
        "status": str(member.status),
        "age": picture.age(seen),
        "problem": seen.problem,
        "version": None if state is None else state.version,
        "uptime": None if state is None else state.uptime,
        "cpu": None, "rss": None, "lag": None, "calls": None, "waiting": None, "load": None, "load_cause": None,
        "in_flight": None if state is None else state.requests,
        "activations": None if state is None else sum(state.activations.values()),
        "score": None if state is None else state.score,
        "fenced": None if state is None else state.fenced,
        "table": None if state is None else state.table,
        "ready": None if state is None else state.ready,
    }  # fmt: skip


def type_rows(picture: Picture) -> list[Facts]:
    """One row for each grain type that a silo hosts."""
    placements = {name: placement for seen in picture.silos for name, placement in seen.member.grains.items()}
    counts: dict[str, dict[str, int]] = {name: {} for name in placements}
    for seen in picture.silos:
        state = picture.fresh(seen)
        for name, count in ({} if state is None else state.activations).items():
            counts.setdefault(name, {})[seen.member.name] = count
    return [
        {
            "type": name,
            "system": name.startswith("grange."),
            "placement": placements.get(name, ""),
            "activations": sum(silos.values()),
            "silos": sorted(silos.items()),
            "calls": None, "failed": None, "p99": None, "wait": None, "turn": None, "writes": None, "conflicts": None,
        }
        for name, silos in sorted(counts.items())
    ]  # fmt: skip
