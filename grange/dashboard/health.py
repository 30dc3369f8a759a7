"""The checks of the cluster, and its alarms with their runbooks, from one picture and the newest events. Pure."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from grange.client.questions import Answer
from grange.counted import counted
from grange.dashboard.picture import Picture
from grange.observability import (
    application_events,
    catalogue,
    certificate_events,
    flood_events,
    reminder_events,
    secret_events,
    security_events,
    turn_events,
)
from grange.observability.events import Event
from grange.proto.inspection import Stores

Facts = dict[str, Any]

_MODULES = (
    catalogue,
    turn_events,
    application_events,
    reminder_events,
    certificate_events,
    secret_events,
    security_events,
    flood_events,
)
_DECLARED = [each for module in _MODULES for each in vars(module).values()]
_KINDS = [each for each in _DECLARED if isinstance(each, type) and issubclass(each, Event)]

ALARMS = frozenset(kind.NAME for kind in _KINDS if kind is not Event and kind.LEVEL >= logging.WARNING)
"""The events that a person must look at. Each has a page in `docs/runbooks/`, whose name is the event's."""

ENDED_BY: Mapping[str, frozenset[str]] = MappingProxyType({
    "table_reachable": frozenset({"table_unreachable"}),
    "table_back": frozenset({"table_lost", "table_unreachable"}),
    "table_rebuilt": frozenset({"table_lost"}),
    "fence_lifted": frozenset({"self_fenced", "fenced_too_long", "silo_stood_still"}),
    "secret_back": frozenset({"secret_unread", "secret_stale"}),
    "storage_back": frozenset({"storage_unavailable", "storage_probe_failed"}),
    "audit_table_back": frozenset({"audit_table_away"}),
})  # fmt: skip
"""The alarms of a silo that an event of it ends."""

ALARM_TIME = 900.0
"""Seconds for which an alarm is shown after its last event, unless another event ends it."""

SLOW_LOOP = 0.2
"""Seconds of lag (p99) from which an event loop counts as slow."""


def alarms_of(picture: Picture, events: Iterable[Facts]) -> list[Facts]:
    """The alarms that hold, the newest first: those of events, and silos that do not answer."""
    found: dict[tuple[str, str], Facts] = {}
    oldest = picture.milliseconds - int(ALARM_TIME * 1000)
    for event in events:
        for ended in ENDED_BY.get(event["name"], ()):
            found.pop((ended, event["silo"]), None)
        if event["name"] in ALARMS and event["time"] >= oldest:
            key = (event["name"], event["silo"])
            first = found[key]["since"] if key in found else event["time"]
            found[key] = {
                "name": event["name"], "since": first, "last": event["time"], "text": event["text"],
                "silo": event["silo"], "runbook": event["name"],
            }  # fmt: skip
    return sorted([*found.values(), *_silent(picture)], key=lambda alarm: -alarm["since"])


def _silent(picture: Picture) -> list[Facts]:
    return [
        {
            "name": "silo_silent",
            "since": picture.milliseconds - int((picture.age(silo) or 0.0) * 1000),
            "last": picture.milliseconds,
            "text": silo.problem,
            "silo": silo.member.name,
            "runbook": "silo_suspected",
        }
        for silo in picture.silos
        if silo.problem
    ]


def checks_of(picture: Picture, dropped: int) -> list[Facts]:
    """The checks of the whole cluster. `dropped`: series for which the dashboard has no room."""
    fresh = [(silo.member.name, snapshot) for silo, snapshot in picture.fresh()]
    silent = [silo.member.name for silo in picture.silos if silo.problem]
    releases = {snapshot.release for _, snapshot in fresh}
    views = {snapshot.membership.version for _, snapshot in fresh}
    tables = [f"{name}: {each.membership.table}" for name, each in fresh if each.membership.table != "ok"]
    fenced = [f"{name}: {each.membership.fenced}" for name, each in fresh if each.membership.fenced]
    weak = [f"{name}: {each.membership.score} of 8" for name, each in fresh if each.membership.score]
    duplicates = [f"{name}: {count} ended" for name, each in fresh if (count := each.directory.duplicates)]
    stuck = [f"{name}: {each.stuck}" for name, each in fresh if each.stuck]
    slow = [
        f"{silo.member.name}: {lag * 1000:.0f} ms"
        for silo, _ in picture.fresh()
        if silo.recent is not None and (lag := silo.recent.lag.quantile(0.99)) is not None and lag > SLOW_LOOP
    ]
    found = [
        ("every silo answers", silent, counted(len(fresh), "silo"), "silo_suspected"),
        ("one version of grange", _several(releases), _listed(releases), ""),
        ("one view of the members", _several(views), f"version {_listed(views)}", ""),
        ("the membership table answers", tables, "ok", "table_unreachable"),
        ("no silo is fenced", fenced, "none", "self_fenced"),
        ("every silo is healthy", weak, "score 0", "health_degraded"),
        ("one activation for each grain", duplicates, "none found twice", "duplicate_activation"),
        ("no turn is stuck", stuck, "none of more than 1 s", "turn_stuck"),
        ("event loops are free", slow, f"lag below {SLOW_LOOP * 1000:.0f} ms", "loop_blocked"),
        ("every series is shown", [f"{dropped} left out"] if dropped else [], "none left out", ""),
    ]
    return [
        {"name": name, "ok": not problems, "warn": False, "text": "; ".join(problems) or well, "runbook": runbook}
        for name, problems, well, runbook in found
    ]


def store_checks_of(answers: Sequence[Answer[Stores]]) -> list[Facts]:
    """The checks of the stores: one for each fact that a silo found. Silos that found the same share one."""
    found: dict[tuple[str, ...], list[str]] = {}
    for each in answers:
        for row in each.answer.rows if each.answer is not None else ():
            fact = (row.uses, row.place, row.subject, row.level, row.found, row.remedy)
            found.setdefault(fact, []).append(each.member.name)
    checks: list[Facts] = []
    for (uses, place, subject, level, text, remedy), silos in found.items():
        facts = f"{place}: {text}" + (f"; {remedy}" if remedy and level != "ok" else "")
        where = "" if len(silos) == len(answers) else f" (by {', '.join(silos)})"
        checks.append({
            "name": f"{uses}: {subject}", "ok": level != "bad", "warn": level == "warn", "text": facts + where,
            "runbook": "store_not_safe" if level != "ok" else "",
        })  # fmt: skip
    return checks


def _several(values: set[Any]) -> list[str]:
    """The values, if they differ."""
    return sorted(map(str, values)) if len(values) > 1 else []


def _listed(values: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, values))) or "none known"
