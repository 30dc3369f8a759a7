"""What a simulation is judged by, after its quiet period. Pure, but that it looks at the silos that still run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from grange.silo.silo import Silo
from grange.testing.checks.acknowledged import acknowledged
from grange.testing.checks.history import Event, Violation, operations
from grange.testing.checks.linearizable import linearizable
from grange.testing.checks.membership import Seen, membership
from grange.testing.checks.models import counter, register
from grange.testing.checks.outcomes import outcomes
from grange.testing.checks.writers import Write, overlaps, writers
from grange.testing.simulation.host import Machine
from grange.testing.simulation.workload import RESPONSE_TIMEOUT, Notes

RECOVERY = 20.0
"""Seconds of quiet after which every call must succeed."""


class Evidence(msgspec.Struct):
    """Everything that was written down, and the silos as they are after the quiet period."""

    history: list[Event]
    notes: Notes
    audit: list[Write]
    stored: dict[str, int]
    views: list[Seen]
    machines: Sequence[Machine]
    silos: list[Silo]
    names: list[str]
    quiet_since: float
    settled: float
    stable: bool


def judge(evidence: Evidence) -> list[Violation]:
    """All invariants. In a run without faults (`stable`) also: no turns of two activations overlap, and no call
    fails."""
    history = evidence.history
    counted = [event for event in history if event.key.startswith("c-")]
    swapped = [event for event in history if event.key.startswith("r-")]
    found = [
        *acknowledged(counted, evidence.stored),
        *writers(evidence.audit),
        *linearizable(counted, counter, 0, ("increment", "read")),
        *linearizable(swapped, register, 0, ("cas", "read")),
        *membership(evidence.views),
        *outcomes(history, RESPONSE_TIMEOUT, evidence.notes.executed),
        *_serving(evidence),
        *_agreed(evidence),
        *_single(evidence.silos),
    ]
    if evidence.stable:
        found += [Violation("I2", one.grain, f"{one} and {other}") for one, other in overlaps(evidence.notes.turns)]
        found += [
            Violation("I8", event.key, f"{event.op} ended as {event.kind} {event.error} without any fault")
            for event in history
            if event.kind in ("fail", "unknown")
        ]
    return found


def _serving(evidence: Evidence) -> Iterable[Violation]:
    """Some time after the last fault every call succeeds, and calls were made."""
    since = evidence.quiet_since + RECOVERY
    made = [each for each in operations(evidence.history) if each.invoke.t >= since and each.end is not None]
    if not any(each.kind == "ok" for each in made):
        yield Violation("I8", "cluster", f"no call succeeded after {RECOVERY} s of quiet")
    for each in made:
        if each.kind != "ok" and each.end is not None:
            text = f"{each.invoke.op} ended as {each.kind} {each.end.error} after {RECOVERY} s of quiet"
            yield Violation("I8", each.invoke.key, text)


def _agreed(evidence: Evidence) -> Iterable[Violation]:
    """After the quiet period every machine runs a silo, and all see exactly these, in one version."""
    for machine in evidence.machines:
        if not machine.ready:
            yield Violation("I7", machine.name, f"does not serve after {evidence.settled} s of quiet")
    live = {silo.address for silo in evidence.silos}
    for silo in evidence.silos:
        seen = {member.address for member in silo.view.active}
        if seen != live:
            yield Violation(
                "I7", str(silo.address), f"sees {sorted(map(str, seen))}, alive are {sorted(map(str, live))}"
            )
    versions = {silo.view.version for silo in evidence.silos}
    if len(versions) > 1:
        yield Violation("I7", "cluster", f"live silos are at versions {sorted(versions)}")


def _single(silos: Iterable[Silo]) -> Iterable[Violation]:
    """Directory integrity: no grain has two activations, in all silos together."""
    homes: dict[str, str] = {}
    for silo in silos:
        for activation in silo.catalog.activations():
            name, home = str(activation.grain_id), str(silo.address)
            if homes.setdefault(name, home) != home:
                yield Violation("I2", name, f"is active on {homes[name]} and on {home} after the quiet period")
