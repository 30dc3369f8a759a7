"""Silos that die or stop: F1, F2, F3."""

from __future__ import annotations

from tests.processes.faults import verdict
from tests.processes.faults.round import Round

DECLARED = 8.0
BACK = 10.0
IN_FLIGHT = 0.1


async def f1_killed(one: Round) -> None:
    """SIGKILL one silo: its calls fail at once, its death is declared in 8 s, its grains answer in 10 s."""
    victim = one.pick()
    one.at = await one.kill(victim)
    await one.declared(victim, one.at, DECLARED)
    await one.hold(BACK - DECLARED)


def f1_judge(one: Round) -> None:
    one.figure("in-flight calls ended", verdict.in_flight(one.history, one.at), IN_FLIGHT)
    one.figure("grains back", verdict.answering_again(one.history, one.at), BACK)
