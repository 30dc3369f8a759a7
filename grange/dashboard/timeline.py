"""The membership table over time, from the events of all silos. Pure. Every silo reports a change; it is shown once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

Facts = dict[str, Any]

CHANGED, FENCED, LIFTED, STOOD_STILL = "membership_changed", "self_fenced", "fence_lifted", "silo_stood_still"
"""Names of events."""

ADDRESS = re.compile(r"[\w.:\[\]-]+:\d+@\d+")
"""The address of a silo in a text."""


def versions_of(events: Iterable[Facts], names: Mapping[str, str]) -> list[Facts]:
    """The changes of the table, the newest first. `names` gives the names of silos by address.

    A silo that read only a later version tells of a range of versions: it is left out if others tell of each.
    """
    told = [event for event in events if event["name"] == CHANGED]
    exact = {_change(event) for event in told if _first(event) == _last(event)}
    known = {version for version, *_ in exact}
    found: dict[tuple[Any, ...], Facts] = {}
    for event in sorted(told, key=lambda event: event["time"]):  # the silo that saw it first
        span = range(_first(event), _last(event) + 1)
        if len(span) > 1 and known.issuperset(span):
            continue
        if len(span) > 1 and any((version, *_change(event)[1:]) in exact for version in span):
            continue
        found.setdefault(_change(event), _row(event, names))
    return sorted(found.values(), key=lambda row: (-row["version"], row["time"]))


def with_names(text: str, names: Mapping[str, str]) -> str:
    """A sentence with the names of silos for their addresses, which people do not know by heart."""
    return ADDRESS.sub(lambda found: names.get(found[0]) or found[0], text)


def _row(event: Facts, names: Mapping[str, str]) -> Facts:
    facts = event["facts"]
    return {
        "version": _last(event),
        "first": _first(event),
        "time": event["time"],
        "silo": _name(facts.get("member"), names),
        "status": facts.get("status", ""),
        "by": _name(facts.get("by"), names),
        "why": with_names(": ".join(filter(None, (facts.get("change", ""), facts.get("why", "")))), names),
    }


def _change(event: Facts) -> tuple[Any, ...]:
    facts = event["facts"]
    return (_last(event), facts.get("member"), facts.get("status"), facts.get("change"))


def _last(event: Facts) -> int:
    return int(event["facts"].get("version", 0))


def _first(event: Facts) -> int:
    return int(event["facts"].get("first", _last(event)))


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
    """The name of the silo at an address; empty for words such as "an unknown silo"."""
    text = str(address or "")
    return "" if " " in text else names.get(text, text)
