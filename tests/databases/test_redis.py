"""The error texts of a Redis that cannot be used."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio
from redis.asyncio.connection import AbstractConnection

from grange.databases.errors import AnswerLost
from grange.databases.redis import RedisLink, ask
from grange.databases.redis_clients import ReplaceablePool
from grange.errors import ConfigurationError


@pytest.mark.parametrize(
    ("error", "end"),
    [(TimeoutError(), r"did not answer within 2\.0 s$"), (OSError("no route"), "is not available: no route$")],
)
async def test_an_error_without_a_message_leaves_no_colon(error: Exception, end: str) -> None:
    link = RedisLink(redis.asyncio.Redis(), "cache:6379")

    with pytest.raises(AnswerLost, match=f"^Redis at cache:6379 {end}"):
        async with link.operation(2.0):
            raise error


@pytest.mark.parametrize(
    ("url", "host", "port", "database"),
    [
        ("redis://:6379/3", None, 6379, 3),
        ("redis://:6380", None, 6380, None),
        ("redis://u:p@:6379/0/", None, 6379, 0),
        ("redis://host/2/", "host", None, 2),
        ("redis://host/", "host", None, None),
        ("redis:///1", None, None, 1),
    ],
)
async def test_host_port_and_database_are_optional(
    url: str, host: str | None, port: int | None, database: int | None
) -> None:
    """The driver's defaults are localhost, 6379 and database 0."""
    async with RedisLink.open(url) as link:
        used = link.client.connection_pool.connection_kwargs
        assert (used.get("host"), used.get("port"), used.get("db")) == (host, port, database)


@pytest.mark.parametrize("url", ["redis://host/1/2", "redis://host/x", "redis://host//1"])
async def test_a_database_that_is_not_one_number_is_refused(url: str) -> None:
    async def open_it() -> None:
        async with RedisLink.open(url):
            pass

    with pytest.raises(ConfigurationError, match="is a number"):
        await open_it()


async def test_an_error_names_the_default_host() -> None:
    async with RedisLink.open("redis://:1/0") as link:
        with pytest.raises(AnswerLost, match=r"^Redis at localhost:1 is not available"):
            await link.connect(2.0)


async def test_a_connection_that_is_taken_while_idle_ones_are_closed_is_not_closed(redis_url: str) -> None:
    """And one that was in use ends when it is given back."""
    async with RedisLink.open(redis_url) as link:
        pool = link.client.connection_pool
        assert isinstance(pool, ReplaceablePool)
        earlier = await pool.get_connection()
        await pool.release(await pool.get_connection())

        async def use() -> AbstractConnection:
            taken = await pool.get_connection()
            assert await ask(taken, "PING") in ("PONG", True)  # at once, as an operation does
            return taken

        _, taken = await asyncio.gather(pool.retire(), use())
        assert await ask(earlier, "PING") in ("PONG", True)
        for connection in (earlier, taken):
            await pool.release(connection)
        assert not earlier.is_connected
        assert taken.is_connected
