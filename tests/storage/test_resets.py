"""A connection that is reset while a driver writes to it, on uvloop, which raises an error of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis.asyncio
import uvloop
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from grange.databases.errors import is_reset
from grange.databases.redis import RedisLink
from grange.errors import MembershipUnavailable, StorageUnavailable, WriteOutcomeUnknown
from grange.membership.providers.redis import RedisMembershipTable
from grange.storage.stores.redis import RedisStorage
from grange.storage.stores.redis_keys import RedisKeys
from grange.testing.contracts.membership_samples import a_silo, insert
from grange.testing.contracts.storage_samples import ANN

pytestmark = pytest.mark.servers


class Resets:
    """Stands in for a pool's method and resets the next connection that it hands out, before its user can notice."""

    def __init__(self, take: Callable[..., Awaitable[Any]], transport: Callable[[Any], Any]) -> None:
        self._take = take
        self._transport = transport
        self.armed = False

    async def __call__(self, *arguments: Any, **options: Any) -> Any:
        connection = await self._take(*arguments, **options)
        if self.armed:
            self.armed = False
            self._transport(connection).abort()
        return connection


@asynccontextmanager
async def a_client(url: str, **options: Any) -> AsyncIterator[tuple[redis.asyncio.Redis, Resets]]:
    client = redis.asyncio.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **options)
    pool: Any = client.connection_pool
    pool.get_connection = resets = Resets(pool.get_connection, lambda connection: connection._writer.transport)
    try:
        yield client, resets
    finally:
        await client.aclose()
        await pool.disconnect()


@pytest.mark.parametrize("text", ["this event loop is already running", "closed=True"])
def test_other_runtime_errors_are_not_resets(text: str) -> None:
    assert not is_reset(RuntimeError(text))


def test_a_state_in_redis(redis_url: str) -> None:
    """F15: a read is unavailable, the outcome of a write is unknown, and the next operation works."""

    async def main() -> None:
        async with a_client(redis_url) as (client, resets):
            storage = RedisStorage(client, "resets")
            await client.delete(RedisKeys("resets").record((ANN.type, ANN.key, "state")))
            assert await storage.write(ANN, "state", b"1", None) == "1"
            resets.armed = True
            with pytest.raises(StorageUnavailable, match="reset"):
                await storage.read(ANN, "state")
            resets.armed = True
            with pytest.raises(WriteOutcomeUnknown, match="reset"):
                await storage.write(ANN, "state", b"2", "1")
            assert (await storage.read(ANN, "state")).etag == "1"
            assert await storage.write(ANN, "state", b"2", "1") == "2"

    uvloop.run(main())


def test_the_membership_table_in_redis(redis_url: str) -> None:
    async def main() -> None:
        async with a_client(redis_url, decode_responses=True) as (client, resets):
            table = RedisMembershipTable(RedisLink(client, "there"), "resets")
            await table.delete()
            await insert(table, a_silo(1))
            resets.armed = True
            with pytest.raises(MembershipUnavailable, match="reset"):
                await table.update(a_silo(1), "1", (await table.read()).version)
            known = await table.read()
            assert await table.update(a_silo(1), known.rows[0].etag, known.version)

    uvloop.run(main())
