"""Stores that are killed, emptied, or lose replies: F17, F18, F21, F23."""

from __future__ import annotations

import asyncio
import time

from tests.processes.faults import verdict
from tests.processes.faults.network import HUB
from tests.processes.faults.proxy import Proxy
from tests.processes.faults.round import Judge, Round, Row
from tests.processes.faults.rows_deaths import stopped
from tests.processes.faults.traps import LostCommit, LostReply

JOINS_AGAIN = 3.0
ALARM = 5.0
REBUILT = 30.0
REFUSED = 2.0
BACK = 5.0
LOST_EVENT = "table_lost"
NEEDS_STATE = ("increment", "total", "read", "write")
LOST_REPLIES = 5


async def redis_killed(one: Round) -> Judge:
    """Redis is killed and comes back with its data: no call fails, no silo ends, and then silos join again."""
    await asyncio.to_thread(one.stage.redis.kill)
    await one.hold(one.pace.outage)
    one.figures["seconds without Redis"].append(one.pace.outage)
    await asyncio.to_thread(one.stage.redis.start)
    back = time.monotonic()
    fourth = await one.stage.silos.run("d")
    joining = fourth.events("silo_joining")[0]["t"]
    shown = await one.stage.shows(one.stage.silos.running)
    one.figure("joined after Redis came back", shown - max(back, joining), JOINS_AGAIN)
    await stopped(one, fourth)
    return lambda: one.none_failed("failed calls while Redis was away")


async def table_lost(one: Round) -> Judge:
    """The table is gone: an alarm, calls go on, and the silos write the table again under a new incarnation."""
    await one.stage.shows(one.stage.silos.running)
    before = one.stage.observer.sightings[-1]
    at = time.monotonic()
    await forget(one)
    seen = await one.stage.observer.until(
        lambda each: each.t > at and each.incarnation not in ("", before.incarnation) and len(each.active()) == 3,
        REBUILT + 15.0,
    )
    one.figure("table rebuilt", seen.t - at, REBUILT)
    one.expect(seen.version > before.version, f"the new table begins at {seen.version}, seen was {before.version}")
    alarms = [line["t"] - at for silo in one.stage.silos.running for line in silo.events(LOST_EVENT) if line["t"] >= at]
    one.expect(bool(alarms), f"no silo logged {LOST_EVENT}")
    if alarms:
        one.figure("alarm for a lost table", min(alarms), ALARM)
    return lambda: one.none_failed("failed calls while the table was lost")


async def forget(one: Round) -> None:
    """Lose the table, in rotation by: FLUSHALL, a deleted key, a Redis that is restarted empty."""
    server, way = one.stage.redis, one.number % 3
    one.notes["how"] = ("FLUSHALL", "key deleted", "restarted empty")[way]
    if way == 2:
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.erase)
        await asyncio.to_thread(server.start)
        return
    client = server.client()
    try:
        await (client.flushall() if way == 0 else client.delete(f"grange:{{{one.stage.cluster}}}:membership"))
    finally:
        await client.aclose()


async def postgres_killed(one: Round) -> Judge:
    """Postgres is killed: calls that need state fail in 2 s with a reason, others go on; all work 5 s after it."""
    at = time.monotonic()
    await asyncio.to_thread(one.stage.postgres.kill)
    await one.hold(one.pace.outage)
    await asyncio.to_thread(one.stage.postgres.start)
    back = time.monotonic()

    def judge() -> None:
        bad = verdict.not_ok(one.history)
        away = [call for call in bad if call.invoke.op in NEEDS_STATE]
        wrong = verdict.errors(call for call in bad if call not in away or call.end is None)
        one.expect(not wrong, f"calls that need no state failed: {wrong}")
        odd = {name: count for name, count in verdict.errors(away).items() if name not in UNAVAILABLE}
        one.expect(not odd, f"other errors than StorageUnavailable: {odd}")
        took = [call.end.t - call.invoke.t for call in away if call.end is not None and call.invoke.t > at]
        one.figure("refused without Postgres", max(took, default=0.0), REFUSED)
        one.figure("back after Postgres", verdict.answering_again(one.history, back), BACK)

    return judge


UNAVAILABLE = ("StorageUnavailable", "WriteOutcomeUnknown", "InconsistentStateError")
"""The third error: a write was stored although its reply was lost, and the next write found it."""


async def replies_lost_after_commit(one: Round) -> Judge:
    """The writes of one silo are committed and their replies lost: reported as unknown, neither lost nor made twice.

    The silo also joins through a proxy, which loses the reply to a change of the table.
    """
    stage = one.stage
    victim = stage.silos.of("c")
    await stopped(one, victim)
    host = stage.network.host(HUB)
    tables = Proxy(stage.network.listener(HUB), stage.redis.socket, LostReply)
    states = Proxy(stage.network.listener(HUB), stage.postgres.socket, LostCommit)
    async with tables, states:
        tables.to_lose = 1
        through = {
            "GRANGE_MEMBERSHIP": f"redis://{host}:{tables.address[1]}/0",
            "GRANGE_STORAGE": f"postgresql://postgres@{host}:{states.address[1]}/postgres",
        }
        silo = await stage.silos.run("c", **through)
        one.expect(tables.to_lose == 0, "no change of the table lost its reply")
        await stage.shows(stage.silos.running)
        await stopped(one, stage.silos.of("a"))  # its grains move; active grains of other silos do not
        await stage.silos.run("a")
        for _ in range(LOST_REPLIES):
            states.to_lose = 1
            async with asyncio.timeout(one.pace.hold + 10.0):
                while states.to_lose:
                    await asyncio.sleep(0.02)
            await one.hold(0.5)
        states.latency = 0.3
        await one.hold(2.0)
        states.latency = 0.0
        states.reset()
        await one.hold(1.0)
        await stopped(one, silo)
    await stage.silos.run("c")
    one.figures["replies lost after a commit"].append(LOST_REPLIES)

    def judge() -> None:
        wrong = set(verdict.errors(verdict.not_ok(one.history))) - {*UNAVAILABLE, "ConnectionLost"}
        one.expect(not wrong, f"errors that do not name a lost reply: {wrong}")

    return judge


LONG_OUTAGE = Row("F17L", "Redis killed and away for long", redis_killed)

ROWS = (
    Row("F17", "Redis killed and restarted", redis_killed),
    Row("F18", "Redis forgets the table", table_lost),
    Row("F21", "Postgres killed and restarted", postgres_killed),
    Row("F23", "reply lost after COMMIT", replies_lost_after_commit),
)
