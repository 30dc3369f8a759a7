"""I7: all silos see one history of the cluster. Checks the views that each silo published. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

import msgspec

from grange.testing.checks.history import Violation

SETTLE_TIME = 10.0
"""Seconds without faults after which all live silos must agree."""


class Seen(msgspec.Struct, frozen=True):
    """One view that one silo published. `statuses` maps the address of each silo, with generation, to its status.

    `incarnation` is that of the table, if known. Versions of different incarnations are not compared.
    """

    t: float
    observer: str
    version: int
    statuses: dict[str, str]
    incarnation: str = ""


class Contact(msgspec.Struct, frozen=True):
    """One answered probe, from `prober` to `target`."""

    t: float
    prober: str
    target: str


def membership(views: Iterable[Seen], contacts: Iterable[Contact] | None = None) -> list[Violation]:
    """Check all views, in the order in which they were published.

    On each silo versions only rise, and dead silos stay dead. One version of one incarnation has the same contents on
    all silos. With `contacts`, a silo that becomes active must have probed each active silo before, and been probed by
    it.
    """
    seen = list(views)
    violations = [*_rising(seen), *_dead_stay_dead(seen), *_one_history(seen)]
    return violations if contacts is None else [*violations, *_probed_both_ways(seen, list(contacts))]


def agreement(
    views: Iterable[Seen], live: Collection[str], quiet_since: float, settle: float = SETTLE_TIME
) -> list[Violation]:
    """Check that `settle` seconds after the last fault each live silo sees exactly `live` as active, in one version."""
    last: dict[str, Seen] = {}
    for view in views:
        if view.t <= quiet_since + settle:
            last[view.observer] = view
    violations: list[Violation] = []
    versions = {last[silo].version for silo in live if silo in last}
    for silo in sorted(live):
        active = _active(last[silo].statuses) if silo in last else set[str]()
        if active != set(live):
            text = f"sees {_names(active)} as active; the live silos are {_names(live)}"
            violations.append(Violation("I7", silo, text))
    if len(versions) > 1:
        text = f"live silos are at versions {sorted(versions)} after {settle} s"
        violations.append(Violation("I7", "cluster", text))
    return violations


def _rising(views: list[Seen]) -> Iterable[Violation]:
    last: dict[str, Seen] = {}
    for view in views:
        before = last.get(view.observer)
        if before is not None and view.version <= before.version:
            yield Violation("I7", view.observer, f"went from version {before.version} to {view.version}")
        last[view.observer] = view


def _dead_stay_dead(views: list[Seen]) -> Iterable[Violation]:
    dead: defaultdict[str, set[str]] = defaultdict(set)
    for view in views:
        known = dead[view.observer]
        for silo, status in sorted(view.statuses.items()):
            if status == "dead":
                known.add(silo)
            elif silo in known:
                yield Violation("I7", view.observer, f"{silo} was dead and is {status} in version {view.version}")


def _one_history(views: list[Seen]) -> Iterable[Violation]:
    first: dict[tuple[str, int], Seen] = {}
    for view in views:
        other = first.setdefault((view.incarnation, view.version), view)
        if other.statuses != view.statuses:
            text = f"{other.observer} and {view.observer} see different versions {view.version}: "
            yield Violation("I7", "cluster", text + f"{_differences(other.statuses, view.statuses)}")


def _probed_both_ways(views: list[Seen], contacts: list[Contact]) -> Iterable[Violation]:
    """Check each silo when a view first shows it as active, in order of versions."""
    first_contacts: dict[tuple[str, str], float] = {}
    for contact in contacts:
        pair = (contact.prober, contact.target)
        first_contacts[pair] = min(contact.t, first_contacts.get(pair, contact.t))
    known: set[str] = set()
    for view in sorted(views, key=lambda view: (view.version, view.t)):
        active = _active(view.statuses)
        pairs = [(silo, other) for silo in sorted(active - known) for other in sorted(active & known)]
        for silo, other in pairs:
            if any(first_contacts.get(pair, math.inf) > view.t for pair in ((silo, other), (other, silo))):
                yield Violation("I7", silo, f"became active without contact both ways with {other}")
        known |= active


def _active(statuses: Mapping[str, str]) -> set[str]:
    return {silo for silo, status in statuses.items() if status == "active"}


def _differences(one: Mapping[str, str], other: Mapping[str, str]) -> str:
    names = sorted(silo for silo in {*one, *other} if one.get(silo) != other.get(silo))
    return ", ".join(f"{silo} is {one.get(silo)} or {other.get(silo)}" for silo in names)


def _names(silos: Collection[str]) -> str:
    return ", ".join(sorted(silos)) or "no silo"
