"""Firewalls that reject: F43, F44, F45, F46. They need namespaces.

A refused connection is evidence that a process is gone, and a firewall refuses for a process that lives.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from tests.processes.faults import verdict
from tests.processes.faults.network import Namespaces
from tests.processes.faults.round import Judge, Round, Row
from tests.processes.faults.rows_cuts import BACK, DECLARED, FENCE_EVENT, TABLE_POLL, cuts
from tests.processes.faults.rows_deaths import stopped
from tests.processes.faults.rows_pauses import GONE
from tests.processes.faults.silos import FaultSilo, ended
from tests.processes.silo_process import PATIENCE

NOT_BEFORE = 2.5
"""Seconds for which a silo that only one observer finds refusing must live: a vote by silence takes longer."""

Pairs = Sequence[tuple[str, str]]
"""Sender and receiver of packets that are rejected."""


async def one_way(one: Round) -> Judge:
    """F43: the packets of a to b are refused; c reaches both: no silo dies."""
    net = cuts(one)
    await rejected(net, [("a", "b")])
    await one.hold(one.pace.hold + 5.0)
    healed = time.monotonic()
    await net.heal()
    return lambda: one.answering(healed, BACK)


async def refused_by_all(one: Round) -> Judge:
    """F44: the packets of every other silo to one are refused; the stores and the client reach it, and it lives.

    If it is declared dead, it ends or fences itself, no store accepts a write of it once its death is noted, and none
    of its grains is active twice at any time.
    """
    victim = one.pick()
    return await judged(one, victim, [(other, victim.name) for other in others(one, victim)])


async def refused_both_ways(one: Round) -> Judge:
    """F45: as F44, and the packets of the one silo to the others are refused, too."""
    victim = one.pick()
    names = others(one, victim)
    return await judged(one, victim, [(name, victim.name) for name in names] + [(victim.name, name) for name in names])


async def two_refuse_each_other(one: Round) -> Judge:
    """F46: two silos, each refused by the other, the table reachable by both: exactly one dies, and by silence.

    One observer alone never suffices by refusal, so the death comes no sooner than a vote by silence.
    """
    net = cuts(one)
    await stopped(one, one.stage.silos.of("c"))
    pair = [one.stage.silos.of("a"), one.stage.silos.of("b")]
    await one.stage.shows(pair)
    at = await rejected(net, [("a", "b"), ("b", "a")])
    seen = await one.stage.observer.until(lambda each: len(each.active()) == 1, PATIENCE)
    one.figure("declared", seen.t - at, DECLARED)
    one.expect(seen.t - at >= NOT_BEFORE, f"one observer declared a death by refusal, after {seen.t - at:.3f} s")
    (loser,) = [silo for silo in pair if str(silo.address) not in seen.active()]
    one.expect_death(loser, *GONE)
    await one.hold(one.pace.hold / 2)
    await net.heal()
    await ended(loser)
    return lambda: one.answering(at, DECLARED + BACK)


async def judged(one: Round, victim: FaultSilo, pairs: Pairs) -> Judge:
    """Reject these packets, and check the victim whether it is declared dead or not; the notes say which."""
    one.expect_death(victim, *GONE)
    net = cuts(one)
    at = await rejected(net, pairs)
    await one.hold(one.pace.hold)
    died = verdict.deaths(one.stage.observer.sightings).get(str(victim.address))
    one.notes["declared"] = died is not None
    if died is not None:
        one.figure("declared", died - at, DECLARED)
        await ends_or_fences(one, victim, died)
    healed = time.monotonic()
    await net.heal()

    def judge() -> None:
        one.figure("duplicate window of a refused silo", one.figures["duplicate window"][-1], 0.0)
        one.answering(at if died is not None else healed, DECLARED + BACK)
        if died is not None:
            last = max((each.turn.start for each in one.ran if each.silo == victim.identity), default=at)
            one.figure("turns after the death was declared", max(0.0, last - died), TABLE_POLL)
            one.dead_wrote_nothing(victim)

    return judge


async def ends_or_fences(one: Round, victim: FaultSilo, died: float) -> None:
    """Wait for the end of a silo that was declared dead; a silo that does not end must have fenced itself."""
    try:
        await ended(victim)
    except TimeoutError:
        one.expect(bool(victim.events(FENCE_EVENT)), f"silo {victim.name} is dead, and neither ended nor fenced itself")
    else:
        one.figure("dead silo ended", max(0.0, (victim.ended_at or died) - died), BACK)


async def rejected(net: Namespaces, pairs: Pairs) -> float:
    """Reject these packets; returns the time just before the first one."""
    for _, receiver in pairs:
        await net.decoy(receiver)
    at = time.monotonic()
    for sender, receiver in pairs:
        await net.reject(sender, receiver)
    return at


def others(one: Round, silo: FaultSilo) -> list[str]:
    """The names of the other running silos."""
    return [each.name for each in one.stage.silos.running if each is not silo]


ROWS = (
    Row("F43", "one way between two is refused", one_way, cuts=True),
    Row("F44", "one silo refused by the others, one way", refused_by_all, cuts=True),
    Row("F45", "one silo refused by the others, both ways", refused_both_ways, cuts=True),
    Row("F46", "two silos refuse each other", two_refuse_each_other, cuts=True),
)
