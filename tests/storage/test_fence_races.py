"""A fence and a change of the dead silo meet in Postgres: the fence waits for changes that are under way."""

from __future__ import annotations

import asyncio

import asyncpg

from grange.proto.ids import SiloAddress
from grange.storage.options import StorageOptions
from grange.storage.sets import Stamp
from grange.storage.urls import open_storage
from grange.testing.contracts.storage_samples import ANN, fenced

DEAD = SiloAddress("10.0.0.1", 11111, 1_700_000_000_000)
PATIENT = StorageOptions(operation_timeout=20.0)


async def until_a_session_waits(connection: asyncpg.Connection[asyncpg.Record], kind: str) -> None:
    """Wait until a session waits for a lock of this kind."""
    while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = $1", kind):
        await asyncio.sleep(0.01)


async def test_a_fence_returns_after_the_changes_that_were_under_way(postgres_url: str) -> None:
    """The write of the dead silo waits for a locked row, so the fence must not return before the write has ended."""
    blocker = await asyncpg.connect(postgres_url)
    watcher = await asyncpg.connect(postgres_url)
    async with asyncio.timeout(20), open_storage(postgres_url, "svc", PATIENT) as storage:
        etag = await storage.write(ANN, "state", b"1", None, stamp=Stamp(DEAD, 1))
        transaction = blocker.transaction()
        await transaction.start()
        await blocker.execute("SELECT FROM grange_state FOR UPDATE")
        writing = asyncio.create_task(storage.write(ANN, "state", b"2", etag, stamp=Stamp(DEAD, 2)))
        await until_a_session_waits(watcher, "transactionid")
        fencing = asyncio.create_task(storage.fence([DEAD]))
        await until_a_session_waits(watcher, "advisory")
        await transaction.rollback()
        await fencing
        assert (await storage.read(ANN, "state")).etag == "2"
        assert await writing == "2"
        await fenced(storage.write(ANN, "state", b"3", "2", stamp=Stamp(DEAD, 3)))
    await blocker.close()
    await watcher.close()


async def test_a_change_that_waits_for_a_fence_sees_it(postgres_url: str) -> None:
    """It was sent while the fence was being recorded. When it gets its lock, it must not use a snapshot from before."""
    other = await asyncpg.connect(postgres_url)
    watcher = await asyncpg.connect(postgres_url)
    async with asyncio.timeout(20), open_storage(postgres_url, "svc", PATIENT) as storage:
        etag = await storage.write(ANN, "state", b"1", None, stamp=Stamp(DEAD, 1))
        transaction = other.transaction()
        await transaction.start()
        await other.execute("SELECT grange_fence('svc', $1, $2)", DEAD.endpoint, DEAD.generation)
        writing = asyncio.create_task(storage.write(ANN, "state", b"2", etag, stamp=Stamp(DEAD, 2)))
        await until_a_session_waits(watcher, "advisory")
        await transaction.commit()
        await fenced(writing)
        assert (await storage.read(ANN, "state")).etag == etag
    await other.close()
    await watcher.close()


async def test_it_sees_the_fence_under_any_default_isolation_of_the_database(postgres_url: str) -> None:
    """Under "repeatable read" a statement would use a snapshot from before its lock and store a dead silo's write."""
    other = await asyncpg.connect(postgres_url)
    name = await other.fetchval("SELECT current_database()")
    await other.execute(f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'repeatable read'")
    await other.close()
    await test_a_change_that_waits_for_a_fence_sees_it(postgres_url)


async def test_sql_sees_the_writer(postgres_url: str) -> None:
    """An audit trigger needs that. Old deaths are deleted after a while."""
    async with open_storage(postgres_url, "svc") as storage:
        await storage.write(ANN, "state", b"1", None, stamp=Stamp(DEAD, 7))
        connection = await asyncpg.connect(postgres_url)
        row = await connection.fetchrow("SELECT writer, write_number FROM grange_state")
        assert row is not None
        assert tuple(row) == (str(DEAD), 7)
        await storage.fence([DEAD])
        await connection.execute("UPDATE grange_dead_silos SET recorded = now() - interval '8 days'")
        await storage.fence([SiloAddress("10.0.0.2", 11111, 1)])
        assert await connection.fetchval("SELECT array_agg(endpoint) FROM grange_dead_silos") == ["10.0.0.2:11111"]
        await connection.close()
