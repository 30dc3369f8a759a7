"""Stores beside their drivers: `python -m benchmarks.stores`. Single writes, and sets of two records.

Both sides do the same guarded change of the same rows: compare the etag, store the payload, raise the etag. The side of
the driver is what an application writes by hand: one statement, script or transaction for each change, over as many
connections as grange uses. Each round takes all loads of one store, the driver and grange in turn; the ratio is that of
a round, and the middle one of all rounds is printed. Postgres and Redis are servers of its own.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import aiosqlite
import asyncpg
import uvloop
from redis.asyncio import BlockingConnectionPool, Redis
from rich.console import Console

from benchmarks.table import number, plain_table
from grange.proto.ids import GrainId, SiloAddress
from grange.servers.postgres import postgres_server
from grange.servers.redis import RedisServer
from grange.storage.options import StorageOptions
from grange.storage.provider import SetStorage, offered
from grange.storage.sets import ChangeSet, Stamp, Write
from grange.storage.urls import open_storage
from grange.testing.postgres import fresh_database

PAYLOAD = '{"total": 12345, "text": "' + "x" * 100 + '"}'
CONNECTIONS = StorageOptions().connections
LOADS = {"100 writers": (100, 1), "one writer": (1, 1), "100, two records": (100, 2)}
"""Tasks, and records of each change."""


class Side(ABC):
    """One way to change records."""

    @abstractmethod
    async def change(self, names: Sequence[str], version: int) -> None:
        """Store these records together, if each has this version (0: there must be none)."""


class Grange(Side):
    """Through a store of grange."""

    def __init__(self, storage: SetStorage) -> None:
        self._storage = storage
        self._silo = SiloAddress("127.0.0.1", 1, 1)
        self._numbers = count()

    async def change(self, names: Sequence[str], version: int) -> None:
        etag, payload = str(version) if version else None, PAYLOAD.encode()
        items = tuple(Write(GrainId("account", name), "state", payload, etag) for name in names)
        await self._storage.commit(ChangeSet(Stamp(self._silo, next(self._numbers)), items))


class RawRedis(Side):
    """One script for each change."""

    SCRIPT = """
for place, record in ipairs(KEYS) do
  if (redis.call('HGET', record, 'etag') or '0') ~= ARGV[1] then return 0 end
end
for place, record in ipairs(KEYS) do redis.call('HSET', record, 'etag', ARGV[2], 'payload', ARGV[3]) end
return 1
"""

    def __init__(self, client: Redis) -> None:
        self._script = client.register_script(self.SCRIPT)

    async def change(self, names: Sequence[str], version: int) -> None:
        stored: Any = await self._script(keys=names, args=[version, version + 1, PAYLOAD])
        assert stored == 1


class RawPostgres(Side):
    """One statement for a record; a transaction for several."""

    CREATE = "CREATE TABLE raw (name text PRIMARY KEY, etag bigint NOT NULL, payload json)"
    INSERT = "INSERT INTO raw VALUES ($1, 1, $2) ON CONFLICT DO NOTHING RETURNING etag"
    UPDATE = "UPDATE raw SET etag = etag + 1, payload = $2 WHERE name = $1 AND etag = $3 RETURNING etag"

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def change(self, names: Sequence[str], version: int) -> None:
        async with self._pool.acquire() as connection:
            if len(names) == 1:
                await self._store(connection, names[0], version)
                return
            async with connection.transaction():
                for name in names:
                    await self._store(connection, name, version)

    async def _store(self, connection: Any, name: str, version: int) -> None:
        if version:
            assert await connection.fetchval(self.UPDATE, name, PAYLOAD, version)
        else:
            assert await connection.fetchval(self.INSERT, name, PAYLOAD)


class RawSqlite(Side):
    """One connection; a transaction for each change."""

    CREATE = "CREATE TABLE raw (name text PRIMARY KEY, etag integer NOT NULL, payload text) WITHOUT ROWID"
    INSERT = "INSERT INTO raw VALUES (?1, 1, ?2)"
    UPDATE = "UPDATE raw SET etag = etag + 1, payload = ?2 WHERE name = ?1 AND etag = ?3"

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._lock = asyncio.Lock()

    async def change(self, names: Sequence[str], version: int) -> None:
        async with self._lock:
            if len(names) > 1:
                await self._connection.execute("BEGIN IMMEDIATE")
            for name in names:
                sql, values = (self.UPDATE, (name, PAYLOAD, version)) if version else (self.INSERT, (name, PAYLOAD))
                done = await self._connection.execute(sql, values)
                assert done.rowcount == 1
            if len(names) > 1:
                await self._connection.execute("COMMIT")


@asynccontextmanager
async def redis_sides() -> AsyncIterator[tuple[str, Side]]:
    """The address of a server, and the side of its driver."""
    with RedisServer() as server:
        pool = BlockingConnectionPool.from_url(server.url, max_connections=CONNECTIONS)
        async with Redis(connection_pool=pool) as client:
            yield server.url, RawRedis(client)
        await pool.disconnect()


@asynccontextmanager
async def postgres_sides() -> AsyncIterator[tuple[str, Side]]:
    """As `redis_sides`, on a server without fsync."""
    with postgres_server() as server:
        async with fresh_database(server) as url, asyncpg.create_pool(url, max_size=CONNECTIONS) as pool:
            await pool.execute(RawPostgres.CREATE)
            yield url, RawPostgres(pool)


@asynccontextmanager
async def sqlite_sides() -> AsyncIterator[tuple[str, Side]]:
    """As `redis_sides`, in files that each change reaches."""
    with tempfile.TemporaryDirectory() as folder:
        async with aiosqlite.connect(f"{folder}/raw.db", isolation_level=None) as connection:
            for pragma in ("journal_mode = WAL", "synchronous = FULL"):
                await connection.execute(f"PRAGMA {pragma}")
            await connection.execute(RawSqlite.CREATE)
            yield f"sqlite:///{folder}/grange.db", RawSqlite(connection)


STORES = {"redis": redis_sides, "postgres": postgres_sides, "sqlite": sqlite_sides}


async def rate(side: Side, tasks: int, records: int, prefix: str, seconds: float) -> tuple[float, float]:
    """Changes a second, and microseconds of this process for each."""
    done, end = 0, time.perf_counter() + seconds

    async def work(task: int) -> None:
        nonlocal done
        names = [f"{prefix}-{task}-{record}" for record in range(records)]
        version = 0
        while time.perf_counter() < end:
            await side.change(names, version)
            version += 1
        done += version

    started, used = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work(task) for task in range(tasks)))
    return done / (time.perf_counter() - started), 1e6 * (time.process_time() - used) / done


async def compare(store: str, rounds: int, seconds: float, console: Console) -> None:
    """Measure one store and print its table."""
    table = plain_table(store, "load", "driver /s", "grange /s", "ratio", "driver μs", "grange μs")
    async with (
        STORES[store]() as (url, raw),
        open_storage(url, "bench", StorageOptions(operation_timeout=10)) as opened,
    ):
        storage = offered(opened, SetStorage)
        assert storage is not None
        sides: tuple[Side, Side] = (raw, Grange(storage))
        for load, (tasks, records) in LOADS.items():
            taken = [
                [await rate(side, tasks, records, f"{load}-{turn}", seconds) for side in sides]
                for turn in range(rounds)
            ]
            ratio = statistics.median(ours[0] / theirs[0] for theirs, ours in taken)
            middle = [[statistics.median(turn[side][part] for turn in taken) for side in (0, 1)] for part in (0, 1)]
            table.add_row(load, *map(number, middle[0]), f"{ratio:.2f}", *map(number, middle[1]))
    console.print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", default=",".join(STORES), help="which, separated by commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one load of one side")
    options = parser.parse_args()
    for store in options.stores.split(","):
        uvloop.run(compare(store, options.rounds, options.seconds, Console()))


if __name__ == "__main__":
    main()
