"""Wall clocks that are set: F25 and SETBACK."""

from __future__ import annotations

import time

from tests.processes.faults.round import Judge, Round, Row
from tests.processes.faults.rows_deaths import stopped

HOUR = 3600.0
LEAST = 12.0
"""Seconds that a wrong clock lasts at least: longer than an alive time may stand still."""

RESTART = 5.0


async def clock_set(one: Round) -> Judge:
    """F25: one clock an hour ahead, then an hour behind, then right: no call fails, no silo dies."""
    name = one.pick().name
    for error in (HOUR, -HOUR, 0.0):
        one.stage.silos.set_clock(name, error)
        await one.hold(max(LEAST, one.pace.hold / 3))
    return lambda: one.none_failed("failed calls while a clock was set")


async def started_in_its_past(one: Round) -> Judge:
    """F25: kill -9 one silo, and start it with its clock an hour back: it joins as a higher generation, and writes."""
    victim = one.pick()
    at = await one.kill(victim)
    one.stage.silos.set_clock(victim.name, -HOUR)
    began = time.monotonic()
    back = await one.stage.silos.run(victim.name)
    one.figure("restarted an hour back", time.monotonic() - began, RESTART)
    one.expect(
        back.address.generation > victim.address.generation,
        f"silo {back.address} started after {victim.address} and has no higher generation",
    )
    await one.stage.shows(one.stage.silos.running)
    # On a busy machine all grains have found a silo before it is back. A silo that drains gives it some.
    other = next(silo for silo in one.stage.silos.running if silo.name != back.name)
    await stopped(one, other)
    await one.stage.silos.run(other.name)
    await one.hold(LEAST)

    def judge() -> None:
        one.answering(at, 10.0)
        one.expect(
            any(write.silo == back.identity for write in one.writes),
            f"no write of silo {back.address} was accepted",
        )

    return judge


ROWS = (
    Row("F25", "a silo's clock an hour ahead, then an hour behind", clock_set),
    Row("SETBACK", "kill -9, started with the clock an hour back", started_in_its_past),
)
