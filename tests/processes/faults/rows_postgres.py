"""A Postgres that answers, but not well: F22 and F24."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from tests.processes.faults import verdict
from tests.processes.faults.round import Judge, Round, Row
from tests.processes.faults.rows_stores import BACK, NEEDS_STATE, REFUSED, UNAVAILABLE
from tests.processes.faults.stores import Connection

KILL_PERIOD = 2.0
SESSIONS_OF_A_SILO = 16 + 1
"""Most connections of a silo: the option `connections`, and one that is closing."""

END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'grange'"
COUNT_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'grange'"

FAULT = """
CREATE OR REPLACE FUNCTION fault_now() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} RETURN NULL; END $$;
DROP TRIGGER IF EXISTS fault_now ON grange_state;
CREATE TRIGGER fault_now AFTER INSERT OR UPDATE ON grange_state FOR EACH STATEMENT EXECUTE FUNCTION fault_now();
"""
SLOW = "PERFORM pg_sleep(0.5);"
REFUSING = "RAISE EXCEPTION 'the fault test refuses' USING ERRCODE = '{}';"
DISK_FULL, DEADLOCK, SERIALISATION = "53100", "40P01", "40001"


async def sessions_ended(one: Round) -> Judge:
    """All sessions of the silos end every two seconds, then their rows are locked by a transaction that does nothing.

    Errors are typed, calls without state go on, all work again within 5 s, and no pool is over its limit.
    """
    async with connected(one) as connection:
        ends = time.monotonic() + one.pace.hold
        while time.monotonic() < ends:
            await connection.execute(END_SESSIONS)
            await asyncio.sleep(KILL_PERIOD)
        async with connection.transaction():
            await connection.execute("SELECT FROM grange_state FOR UPDATE")
            await one.hold(one.pace.hold / 2)
        back = time.monotonic()
        await asyncio.sleep(BACK)
        count = await connection.fetchval(COUNT_SESSIONS)
        most = SESSIONS_OF_A_SILO * len(one.stage.silos.running)
        one.expect(count <= most, f"{count} sessions of {len(one.stage.silos.running)} silos")
    return typed(one, "back after ended sessions", back)


async def slow_and_full(one: Round) -> Judge:
    """Each change takes half a second longer; then the disk is full; then deadlocks and failed serialisations come.

    A trigger makes the errors: to the driver they are those of the server. Errors are typed, calls without state go on,
    and all work again within 5 s.
    """
    async with connected(one) as connection:
        try:
            for fault in (SLOW, *(REFUSING.format(state) for state in (DISK_FULL, DEADLOCK, SERIALISATION))):
                await connection.execute(FAULT.format(fault))
                await one.hold(one.pace.hold / 4)
        finally:
            await connection.execute("DROP TRIGGER fault_now ON grange_state; DROP FUNCTION fault_now")
        back = time.monotonic()
        await asyncio.sleep(BACK)
    return typed(one, "back after a full disk", back)


@asynccontextmanager
async def connected(one: Round) -> AsyncGenerator[Connection]:
    """A connection of the test, which the faults do not affect."""
    connection = await one.stage.postgres.connect()
    try:
        yield connection
    finally:
        await connection.close()


def typed(one: Round, name: str, back: float) -> Judge:
    """Only calls that need state failed, in time, with an error that says what is known."""

    def judge() -> None:
        bad = verdict.not_ok(one.history)
        away = [call for call in bad if call.invoke.op in NEEDS_STATE]
        wrong = verdict.errors(call for call in bad if call not in away or call.end is None)
        one.expect(not wrong, f"calls that need no state failed: {wrong}")
        odd = {error: count for error, count in verdict.errors(away).items() if error not in UNAVAILABLE}
        one.expect(not odd, f"other errors than StorageUnavailable: {odd}")
        took = [call.end.t - call.invoke.t for call in away if call.end is not None]
        one.figure("refused by a faulty Postgres", max(took, default=0.0), 2 * REFUSED)
        one.figure(name, verdict.answering_again(one.history, back), BACK)

    return judge


ROWS = (
    Row("F22", "sessions ended, rows locked", sessions_ended),
    Row("F24", "Postgres slow, its disk full, deadlocks", slow_and_full),
)
