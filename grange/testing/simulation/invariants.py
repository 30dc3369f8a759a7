"""Checks the invariants of one simulation after its quiet period. Pure, except that it reads the running silos."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from grange.runtime.activations.phase import Phase
from grange.silo.silo import Silo
from grange.testing.checks.history import Event, Violation, operations
from grange.testing.checks.membership import Seen, membership
from grange.testing.checks.outcomes import outcomes
from grange.testing.checks.writers import Turn, Write, duplicate_window, overlaps, writers
from grange.testing.simulation.machine import Machine
from grange.testing.simulation.turns import CalledBy, TurnLog
from grange.testing.simulation.workloads.contract import RESPONSE_TIMEOUT, Ended, Workload
from grange.testing.simulation.workloads.vaults import OF_VAULTS, UNAUTHORIZED

RECOVERY_TIME = 20.0
"""Seconds of quiet after which every call must succeed."""


OVERLAP = 3.0
"""Seconds for which a silo that is lost may begin turns after another silo has: the bound of the self-fence."""


class RunRecord(msgspec.Struct):
    """Everything recorded in one run, and the silos as they are after the quiet period."""

    history: list[Event]
    turn_log: TurnLog
    audit: list[Write]
    torn: list[str]
    stored: dict[str, int]
    payloads: dict[str, bytes]
    workloads: Sequence[Workload]
    views: list[Seen]
    machines: Sequence[Machine]
    silos: list[Silo]
    names: list[str]
    quiet_since: float
    settled: float
    stable: bool


def check_run(run: RunRecord) -> list[Violation]:
    """Check all invariants: those of each workload, and those of all calls and silos.

    In a run without faults (`stable`) the turns of two activations must not overlap either, and no call may fail.
    """
    history = run.history
    until = run.quiet_since + run.settled
    notes = run.turn_log.notes
    ended = Ended(history, run.stored, notes, run.quiet_since, until, run.payloads, run.stable)
    violations = [
        *(violation for workload in run.workloads for violation in workload.check(ended)),
        *writers(run.audit),
        *(Violation("I4", "store", text) for text in run.torn),
        *membership(run.views),
        *outcomes(history, RESPONSE_TIMEOUT, run.turn_log.executed),
        *_check_calls_succeed(run),
        *_check_callers(run.turn_log.callers),
        *_check_rules(history),
        *_check_agreement(run),
        *_check_single_activation(run.silos),
        *check_window(run.turn_log.turns),
    ]
    if run.stable:
        violations += [Violation("I2", one.grain, f"{one} and {other}") for one, other in overlaps(run.turn_log.turns)]
        violations += [
            Violation("I8", event.key, f"{event.op} ended as {event.kind} {event.error} without any fault")
            for event in history
            if event.kind in ("fail", "unknown") and not _is_refusal(event)
        ]
    return violations


def check_window(turns: Sequence[Turn]) -> Iterable[Violation]:
    """Check that no activation began turns for longer than promised after a newer one of its grain had begun one."""
    if (window := duplicate_window(turns)) > OVERLAP:
        yield Violation("I2", "cluster", f"two activations of one grain began turns for {window:.3f} s")


def _check_callers(callers: Iterable[CalledBy]) -> Iterable[Violation]:
    """Check that each turn ran for the client that made its call, also by way of gateways and other grains."""
    for each in callers:
        if each.subject.rpartition("/client/")[2] != each.client:
            yield Violation(
                "S3", each.grain, f"a turn for a call of {each.client} ran for {each.subject or 'no caller'}"
            )


def _is_refusal(event: Event) -> bool:
    """Whether the rules refused a call to a vault. Its workload checks which they may refuse."""
    return event.error == UNAUTHORIZED and event.key.startswith(OF_VAULTS)


def _check_rules(history: Iterable[Event]) -> Iterable[Violation]:
    """Check that no call was refused as unauthorized that the rules allow to all."""
    for event in history:
        if event.error == UNAUTHORIZED and not _is_refusal(event):
            yield Violation("S4", event.key, f"{event.op} of {event.client} was refused as unauthorized")


def _check_calls_succeed(run: RunRecord) -> Iterable[Violation]:
    """Check that calls are made later than RECOVERY_TIME seconds after the last fault, and that all of them succeed."""
    since = run.quiet_since + RECOVERY_TIME
    made = [call for call in operations(run.history) if call.invoke.t >= since and call.end is not None]
    if not any(call.kind == "ok" for call in made):
        yield Violation("I8", "cluster", f"no call succeeded after {RECOVERY_TIME} s of quiet")
    for call in made:
        if call.kind != "ok" and call.end is not None and not _is_refusal(call.end):
            text = f"{call.invoke.op} ended as {call.kind} {call.end.error} after {RECOVERY_TIME} s of quiet"
            yield Violation("I8", call.invoke.key, text)


def _check_agreement(run: RunRecord) -> Iterable[Violation]:
    """Check that every machine runs a silo, and that every silo sees exactly these silos, in one version."""
    for machine in run.machines:
        if not machine.ready:
            yield Violation("I7", machine.name, f"does not serve after {run.settled} s of quiet")
    live = {silo.address for silo in run.silos}
    for silo in run.silos:
        seen = {member.address for member in silo.view.active}
        if seen != live:
            yield Violation(
                "I7", str(silo.address), f"sees {sorted(map(str, seen))}; live silos: {sorted(map(str, live))}"
            )
    versions = {silo.view.version for silo in run.silos}
    if len(versions) > 1:
        yield Violation("I7", "cluster", f"live silos are at versions {sorted(versions)}")


def _check_single_activation(silos: Iterable[Silo]) -> Iterable[Violation]:
    """Check the integrity of the directory: no grain has activations on two silos.

    One that moves runs no code any more and has given up its claim, and its successor has not won it at first.
    """
    hosts: dict[str, str] = {}
    for silo in silos:
        for activation in silo.catalog.activations():
            if not activation.claimed and activation.phase in (Phase.ACTIVATING, Phase.ENDING):
                continue
            name, host = str(activation.grain_id), str(silo.address)
            if hosts.setdefault(name, host) != host:
                yield Violation("I2", name, f"is active on {hosts[name]} and on {host} after the quiet period")
