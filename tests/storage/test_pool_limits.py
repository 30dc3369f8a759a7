"""The option `connections`: what one silo opens, as the servers count it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest
import redis.asyncio

from grange.errors import ConfigurationError
from grange.proto.ids import GrainId
from grange.silo.config import SiloConfig
from grange.silo.environment import ConfiguredEnvironment
from grange.storage.provider import GrainStorage

GRAINS = [GrainId("cart", str(number)) for number in range(20)]


async def most_connections(url: str, connections: int, count: Callable[[], Awaitable[int]]) -> int:
    """The most connections that the server has had, while many more operations than that ran at once."""
    patient = {"operation_timeout": 20, "connect_timeout": 10}  # the wait for a connection counts, too
    config = SiloConfig(storage=url, membership="memory://", storage_options={"connections": connections, **patient})
    async with asyncio.timeout(60), ConfiguredEnvironment(config).storages() as storages:
        storage = storages["default"]
        most = 0
        for number in range(2):
            work = asyncio.ensure_future(asyncio.gather(*(busy(storage, grain, str(number)) for grain in GRAINS)))
            while not work.done():
                most = max(most, await count())
            await work
        return most


async def busy(storage: GrainStorage, grain: GrainId, state: str) -> None:
    etag = await storage.write(grain, state, b"1", None)
    await asyncio.gather(*(storage.read(grain, state) for _ in range(3)))
    await storage.write(grain, state, b"2", etag)


@pytest.mark.parametrize("connections", [1, 3])
async def test_a_silo_opens_no_more_connections_to_postgres(postgres_url: str, connections: int) -> None:
    admin = await asyncpg.connect(postgres_url)

    async def count() -> int:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'grange' AND datname = current_database()"
        return int(await admin.fetchval(sql))

    try:
        assert await most_connections(postgres_url, connections, count) == connections
    finally:
        await admin.close()


@pytest.mark.parametrize("connections", [1, 3])
async def test_a_silo_opens_no_more_connections_to_redis(redis_url: str, connections: int) -> None:
    async with redis.asyncio.Redis.from_url(redis_url, decode_responses=True) as admin:
        me = str(await admin.client_id())
        others = {each["id"] for each in await admin.client_list()} - {me}  # of other tests, closing

        async def count() -> int:
            return len({each["id"] for each in await admin.client_list()} - others - {me})

        assert await most_connections(redis_url, connections, count) == connections


def test_a_limit_of_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="connections"):
        SiloConfig(storage_options={"connections": 0})
