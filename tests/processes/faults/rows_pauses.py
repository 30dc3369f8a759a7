"""Processes that stand still, or that lack processor time: F4, F5, F6 and the CPU hog."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from tests.processes.faults.round import Judge, Round, Row
from tests.processes.faults.silos import FaultSilo, ended
from tests.processes.silo_process import PATIENCE

DECLARED = 8.0
EXIT = 2.0
BACK = 10.0
PAUSE = 2.0
GONE = (4, 5)
"""Exit codes of a silo that was declared dead, or that fenced itself for too long."""


async def short_pause(one: Round) -> Judge:
    """SIGSTOP for 2 s: calls are late, none fails, no silo dies."""
    await paused(one.pick(), PAUSE)
    await one.hold(2.0)
    return lambda: one.none_failed("failed calls in 2 s pauses")


async def zombie(one: Round) -> Judge:
    """SIGSTOP until long after the death was declared, then SIGCONT: no further turn, no further write."""
    victim = one.pick()
    one.expect_death(victim, *GONE)
    at = time.monotonic()
    victim.signal(signal.SIGSTOP)
    await one.declared(victim, at, DECLARED)
    await one.hold(max(0.0, at + one.pace.hold - time.monotonic()))
    woken = await resume(one, victim)

    def judge() -> None:
        no_turns_since(one, victim, woken)
        one.answering(at, BACK)

    return judge


async def paused_in_a_commit(one: Round) -> Judge:
    """SIGSTOP while Postgres works on a write of this silo, then the commit: stored, and no caller gets an answer."""
    victim = one.pick()
    connection = await one.stage.postgres.connect()
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE grange_state IN SHARE MODE")
            async with asyncio.timeout(PATIENCE):
                while not await waiting_writes(connection, one.stage.network.host(victim.name)):
                    await asyncio.sleep(0.02)
            one.expect_death(victim, *GONE)
            at = time.monotonic()
            victim.signal(signal.SIGSTOP)
    finally:
        await connection.close()
    await one.declared(victim, at, DECLARED)
    await one.hold(1.0)
    woken = await resume(one, victim)

    def judge() -> None:
        no_turns_since(one, victim, woken)
        one.answering(at, 30.0)

    return judge


async def busy_machine(one: Round) -> Judge:
    """Twice as many burners as cores, and pauses of 2 s: no silo may be declared dead."""
    async with burners(2 * (os.cpu_count() or 1)):
        until = time.monotonic() + one.pace.hold
        while time.monotonic() < until:
            await paused(one.pick(), PAUSE)
            await one.hold(3.0)
    return lambda: None


async def waiting_writes(connection: object, host: str) -> int:
    """The number of statements from this address that wait for a lock."""
    return await connection.fetchval(  # type: ignore[attr-defined]
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND host(client_addr) = $1", host
    )


async def paused(silo: FaultSilo, seconds: float) -> None:
    silo.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        silo.signal(signal.SIGCONT)


async def resume(one: Round, silo: FaultSilo) -> float:
    """Send SIGCONT to a silo that was declared dead; it must end. Returns the time of the signal."""
    woken = time.monotonic()
    silo.signal(signal.SIGCONT)
    await ended(silo)
    one.figure("zombie ended", time.monotonic() - woken, EXIT)
    return woken


def no_turns_since(one: Round, silo: FaultSilo, moment: float) -> None:
    """For a judge: check that the silo began no turn and wrote nothing since this time."""
    begun = [each for each in one.ran if each.silo == silo.identity and each.turn.start > moment]
    one.figures["turns of a zombie"].append(len(begun))
    one.expect(not begun, f"{len(begun)} turns began on {silo.identity} after it was woken")
    one.dead_wrote_nothing(silo)


@asynccontextmanager
async def burners(count: int) -> AsyncGenerator[None]:
    """Run this many processes that only use CPU; each ends by itself after five minutes."""
    script = "import time\nend = time.monotonic() + 300\nwhile time.monotonic() < end: pass"
    processes = [await asyncio.create_subprocess_exec(sys.executable, "-c", script) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            os.kill(process.pid, signal.SIGKILL)
        await asyncio.gather(*(process.wait() for process in processes))


ROWS = (
    Row("F4", "SIGSTOP for 2 s", short_pause),
    Row("F5", "SIGSTOP, declared dead, SIGCONT", zombie),
    Row("F6", "SIGSTOP between a commit and its reply", paused_in_a_commit),
    Row("HOG", "CPU hog and pauses of 2 s", busy_machine),
)
