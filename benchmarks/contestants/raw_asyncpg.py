"""The limit of state writes: the upsert of grange's Postgres storage, sent by 100 tasks over one pool."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from benchmarks.contestants.load import Call
from benchmarks.contestants.worker import Contestant, Target, main

_CONNECTIONS = 10

_TABLE = """
CREATE TABLE state (
    service text NOT NULL, grain_type text NOT NULL, grain_key text NOT NULL, name text NOT NULL,
    payload jsonb, etag bigint NOT NULL, schema integer NOT NULL,
    PRIMARY KEY (service, grain_type, grain_key, name)
)
"""

_UPSERT = """
INSERT INTO state VALUES ('bench', 'counter', $1, 'state', $2::jsonb, 1, 1)
ON CONFLICT (service, grain_type, grain_key, name)
DO UPDATE SET payload = excluded.payload, etag = state.etag + 1 WHERE state.etag = $3 RETURNING etag
"""


class Upserts(Target):
    """One row per caller, its etag kept as grange keeps it."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool

    def write(self, caller: int) -> Call:
        """Answer a call that writes the next version of one row."""
        pool, key, etag = self.pool, f"hot-{caller}", 0

        async def call(number: int) -> int:
            nonlocal etag
            etag = await pool.fetchval(_UPSERT, key, json.dumps({"count": number}), etag)
            return number

        return call


class RawAsyncpg(Contestant):
    """The contestant: only `alone`."""

    packages = ("asyncpg", "uvloop")

    @asynccontextmanager
    async def alone(self, storage: str | None) -> AsyncIterator[Upserts]:
        """Open the pool and make the table."""
        async with asyncpg.create_pool(storage, min_size=_CONNECTIONS, max_size=_CONNECTIONS) as pool:
            await pool.execute(_TABLE)
            yield Upserts(pool)


if __name__ == "__main__":
    main(RawAsyncpg())
