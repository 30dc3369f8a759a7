"""A store is lost while silos run: calls that need it fail and name it, others go on, and the store may come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from grange import StorageUnavailable, WriteOutcomeUnknown
from grange.client import Client
from grange.servers.postgres import PostgresServer
from grange.servers.redis import RedisServer
from tests.processes.counters import Counter, Probe
from tests.processes.load import load
from tests.processes.silo_process import PATIENCE, Silos

EAGER = {
    "GRANGE_MEMBERSHIP_OPTIONS__REFRESH_PERIOD": "1",
    "GRANGE_MEMBERSHIP_OPTIONS__BACKOFF_FIRST": "0.2",
    "GRANGE_MEMBERSHIP_OPTIONS__BACKOFF_LIMIT": "0.5",
}
"""Options of silos that read their table more often than by default, to keep the test short."""


@pytest.fixture
async def redis() -> AsyncIterator[RedisServer]:
    server = RedisServer()
    await asyncio.to_thread(server.start)
    yield server
    await asyncio.to_thread(server.close)


@pytest.fixture
async def postgres() -> AsyncIterator[PostgresServer]:
    server = PostgresServer()
    await asyncio.to_thread(server.start)
    yield server
    await asyncio.to_thread(server.close)


async def test_silos_serve_without_their_membership_table(silos: Silos, redis: RedisServer) -> None:
    """F16: traffic goes on, a join waits for the table, and happens when it is back."""
    first, second = await silos.run_two("--membership", redis.url, **EAGER)
    async with Client([first.gateway, second.gateway]) as client:
        await client.wait_for([first.address, second.address])
        async with load(client, ["ann", "bob", "eve", "joe"]) as book:
            await book.more(1)
            await asyncio.to_thread(redis.kill)
            for silo in (first, second):
                await silo.log_line("grange.membership", "warning")
            await book.more(20)
            late = await silos.start("--membership", redis.url)
            assert await late.ended() == 6
            await asyncio.to_thread(redis.start)
            third = await silos.run("--membership", redis.url, **EAGER)
            await client.wait_for([first.address, second.address, third.address])
            await book.more(1)
    for silo in (first, second, third):
        assert await silo.stop() == 0


async def test_a_grain_whose_storage_is_lost_says_so_and_recovers(silos: Silos, postgres: PostgresServer) -> None:
    """F17: the caller learns that the state was not written; grains without state go on; no write is lost."""
    silo = await silos.run("--storage", postgres.url)
    async with Client([silo.gateway]) as client:
        counter, probe = client.get_grain(Counter, "ann"), client.get_grain(Probe, "ann")
        assert await counter.add() == 1
        await asyncio.to_thread(postgres.kill)
        acknowledged = 1 + await added_until_refused(client)
        assert await probe.pid() == silo.pid
        await asyncio.to_thread(postgres.start)
        total = await when_back(client)
        assert acknowledged <= total <= acknowledged + 1, "the one that was refused may have been stored"
    assert await silo.stop() == 0


async def added_until_refused(client: Client) -> int:
    """The number of acknowledged additions: the backends of a killed Postgres may serve for a moment.

    The first failed addition may have been under way when the connection broke: then its outcome is unknown.
    """
    counter, acknowledged = client.get_grain(Counter, "ann"), 0
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await counter.add()
            except (StorageUnavailable, WriteOutcomeUnknown):
                return acknowledged
            acknowledged += 1


async def when_back(client: Client) -> int:
    """The stored total, read by a new activation as soon as the database takes connections again."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await client.get_grain(Counter, "ann").total()
            except StorageUnavailable:
                continue  # Postgres replays its log first
