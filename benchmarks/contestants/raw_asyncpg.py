"""State writes without grange: one guarded UPDATE per write, sent by 100 tasks over one pool.

It uses the same table, the same etags and as many connections, with no session reset at each release, but no grain, no
turn, no wire. Grange may be faster: writes that wait for each other share one statement in its storage.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from benchmarks.contestants.load import Call
from benchmarks.contestants.worker import Contestant, Target, main
from grange.storage.options import StorageOptions
from grange.storage.stores.postgres import PostgresStorage

_SERVICE = "benchmarks"

_INSERT = """
INSERT INTO grange_state (service, grain_type, grain_key, state, payload, etag, schema)
VALUES ($1, $2, $3, $4, $5::text::json, 1, $6) ON CONFLICT DO NOTHING RETURNING etag
"""

_UPDATE = """
UPDATE grange_state SET payload = $5::text::json, etag = etag + 1, schema = $6
WHERE service = $1 AND grain_type = $2 AND grain_key = $3 AND state = $4 AND etag = $7 RETURNING etag
"""


class Upserts(Target):
    """One row per caller, with an etag as in grange."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool

    def write(self, caller: int) -> Call:
        """Return a call that writes the next version of one row."""
        pool, row, etag = self.pool, (_SERVICE, "counter", f"hot-{caller}", "state"), 0

        async def call(number: int) -> int:
            nonlocal etag
            payload = json.dumps({"count": number})
            if etag:
                etag = await pool.fetchval(_UPDATE, *row, payload, 1, etag)
            else:
                etag = await pool.fetchval(_INSERT, *row, payload, 1)
            return number

        return call


class RawAsyncpg(Contestant):
    """The contestant: only `alone`."""

    packages = ("asyncpg", "uvloop")

    @asynccontextmanager
    async def alone(self, storage: str | None) -> AsyncIterator[Upserts]:
        """Let grange create its table, then open a pool."""
        async with PostgresStorage.open(storage or "", _SERVICE):
            pass
        size = StorageOptions().connections
        async with asyncpg.create_pool(storage, min_size=size, max_size=size, reset=_no_reset) as pool:
            yield Upserts(pool)


async def _no_reset(connection: asyncpg.Connection) -> None:
    """The session is never changed, so there is nothing to reset."""


if __name__ == "__main__":
    main(RawAsyncpg())
