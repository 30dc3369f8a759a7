"""Networks that are cut: F9, F10, F11, F12, F13. They need namespaces."""

from __future__ import annotations

import asyncio
import time

from tests.processes.faults.network import Namespaces
from tests.processes.faults.round import Judge, Round, Row
from tests.processes.faults.rows_deaths import stopped
from tests.processes.faults.rows_pauses import GONE
from tests.processes.faults.silos import FaultSilo, ended
from tests.processes.silo_process import PATIENCE

DECLARED = 8.0
FENCED = 3.0
BACK = 10.0
STABLE = 10.0
TABLE_POLL = 0.5
"""Seconds between two table reads of a silo that gets no probes; upper bound of its turns after its death."""

FENCE_EVENT = "self_fenced"


async def isolated(one: Round) -> Judge:
    """One silo reaches no silo and no store: it fences itself before the others declare it dead; they go on."""
    net, victim = cuts(one), one.pick()
    one.expect_death(victim, *GONE)
    at = time.monotonic()
    await net.unplug(victim.name)
    declared = await one.declared(victim, at, DECLARED)
    await one.hold(max(0.0, at + one.pace.hold - time.monotonic()))
    healed = time.monotonic()
    await net.plug(victim.name)
    await rejoined(one, victim, healed)

    def judge() -> None:
        fenced_before(one, victim, at, declared)
        one.answering(at, DECLARED + BACK)

    return judge


async def two_do_not_reach_each_other(one: Round) -> Judge:
    """Two silos, one cut between them, the table reachable by both: exactly one dies."""
    net = cuts(one)
    await stopped(one, one.stage.silos.of("c"))
    pair = [one.stage.silos.of("a"), one.stage.silos.of("b")]
    await one.stage.shows(pair)
    at = time.monotonic()
    await net.cut("a", "b")
    seen = await one.stage.observer.until(lambda each: len(each.active()) == 1, PATIENCE)
    one.figure("declared", seen.t - at, DECLARED)
    (loser,) = [silo for silo in pair if str(silo.address) not in seen.active()]
    one.expect_death(loser, *GONE)
    await one.hold(one.pace.hold / 2)
    await net.restore("a", "b")
    await ended(loser)
    return lambda: one.answering(at, DECLARED + BACK)


async def one_way(one: Round) -> Judge:
    """Packets from a to b are lost; c reaches both: no silo dies, and calls end with typed errors."""
    net = cuts(one)
    await net.block("a", "b")
    await one.hold(one.pace.hold + 5.0)
    healed = time.monotonic()
    await net.unblock("a", "b")
    return lambda: one.answering(healed, BACK)


async def without_the_table(one: Round) -> Judge:
    """One silo does not reach Redis: it serves on, and no silo declares it dead."""
    net, victim = cuts(one), one.pick()
    await net.block(victim.name, "redis")
    await one.hold(one.pace.hold + 5.0)
    await net.unblock(victim.name, "redis")
    return lambda: one.none_failed("failed calls while a silo missed the table")


async def without_peers(one: Round) -> Judge:
    """A silo reaches the stores and clients, and no other silo: it dies, and the store refuses its writes.

    It does not fence itself: the table shows it active, and soon dead. Until it reads that, it may begin turns.
    """
    net, victim = cuts(one), one.pick()
    others = [silo for silo in one.stage.silos.running if silo is not victim]
    one.expect_death(victim, *GONE)
    at = time.monotonic()
    await asyncio.gather(*(net.cut(victim.name, other.name) for other in others))
    declared = await one.declared(victim, at, DECLARED)
    await ended(victim)
    one.figure("dead silo ended", time.monotonic() - declared, BACK)
    await net.heal()

    def judge() -> None:
        last = max((each.turn.start for each in one.ran if each.silo == victim.identity), default=at)
        one.figure("turns after the death was declared", max(0.0, last - declared), TABLE_POLL)
        one.dead_wrote_nothing(victim)
        one.answering(at, DECLARED + BACK)

    return judge


def cuts(one: Round) -> Namespaces:
    assert isinstance(one.stage.network, Namespaces), "this row needs network namespaces"
    return one.stage.network


async def rejoined(one: Round, silo: FaultSilo, healed: float) -> None:
    """Wait until the silo that was cut off ends, start it again, and check that all three are active in time."""
    await ended(silo)
    await one.stage.settle()
    one.figure("stable after heal", time.monotonic() - healed, STABLE)


def fenced_before(one: Round, silo: FaultSilo, at: float, declared: float) -> None:
    """For a judge: check that the silo fenced itself in time, before its death, and began no turn since."""
    fences = [line["t"] for line in silo.events(FENCE_EVENT) if line["t"] >= at]
    one.expect(bool(fences), f"silo {silo.name} did not log {FENCE_EVENT}")
    if fences:
        one.figure("self-fence", fences[0] - at, FENCED)
        one.expect(fences[0] < declared, f"it fenced itself {fences[0] - declared:.3f} s after its death was declared")
    last = max((each.turn.start for each in one.ran if each.silo == silo.identity), default=at)
    one.figure("last turn of a cut-off silo", max(0.0, last - at), FENCED)
    one.expect(last < declared, f"it began a turn {last - declared:.3f} s after its death was declared")


ROWS = (
    Row("F9", "one silo cut off from everything", isolated, cuts=True),
    Row("F10", "two silos cut from each other", two_do_not_reach_each_other, cuts=True),
    Row("F11", "one way between two is lost", one_way, cuts=True),
    Row("F12", "one silo without Redis", without_the_table, cuts=True),
    Row("F13", "one silo without peers", without_peers, cuts=True),
)
