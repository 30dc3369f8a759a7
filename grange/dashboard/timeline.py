"""The membership table over time, from the events of all silos. Pure. Every silo reports a change; it is shown once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Facts = dict[str, Any]

CHANGED, FENCED, LIFTED, STOOD_STILL = "membership_changed", "self_fenced", "fence_lifted", "silo_stood_still"
"""Names of events."""


def versions_of(events: Iterable[Facts], names: Mapping[str, str]) -> list[Facts]:
    """The changes of the table, the newest first. `names` gives the names of silos by address."""
    found: dict[tuple[Any, ...], Facts] = {}
    for event in events:
        facts = event["facts"]
        if event["name"] != CHANGED:
            continue
        key = (facts.get("version"), facts.get("member"), facts.get("status"), facts.get("change"))
        before = found.get(key)
        if before is None or event["time"] < before["time"]:  # the silo that saw it first
            found[key] = {
                "version": facts.get("version"),
                "time": event["time"],
                "silo": _name(facts.get("member"), names),
                "status": facts.get("status", ""),
                "by": _name(facts.get("by"), names),
                "why": ": ".join(filter(None, (str(facts.get("change", "")), str(facts.get("why", ""))))),
            }
    return sorted(found.values(), key=lambda row: (-row["version"], row["time"]))


def fences_of(events: Iterable[Facts], fenced: Mapping[str, str]) -> list[Facts]:
    """The times in which a silo started no turns. `fenced` gives the reason of each silo that is fenced now."""
    found: list[Facts] = []
    begun: dict[str, Facts] = {}
    for event in sorted(events, key=lambda event: event["time"]):
        silo, name, time = event["silo"], event["name"], event["time"]
        if name == FENCED:
            begun[silo] = {"silo": silo, "from": time, "to": None, "why": event["text"]}
        elif name in (LIFTED, STOOD_STILL):
            before = begun.pop(silo, None)
            start = time - int(float(event["facts"].get("seconds", 0)) * 1000)
            found.append({"silo": silo, "from": start, "to": time, "why": before["why"] if before else event["text"]})
    return [*found, *(fence for silo, fence in begun.items() if fenced.get(silo))]


def _name(address: Any, names: Mapping[str, str]) -> str:
    return names.get(str(address or ""), str(address or ""))
