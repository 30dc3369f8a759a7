"""The records of each database as people and SQL read them, and the effect of one bad change on its batch."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio

from grange.errors import StorageError
from grange.proto.ids import GrainId
from grange.storage.urls import open_storage
from grange.testing.contracts.storage_samples import ANN

FLIGHT = b'{"from": "JFK", "delays": [1, 2]}'
MANY = [GrainId("many", str(number)) for number in range(50)]


async def test_sql_can_query_the_state_in_postgres(postgres_url: str) -> None:
    async with open_storage(postgres_url, "svc") as storage:
        await storage.write(ANN, "flight", FLIGHT, None, schema=4)
    connection = await asyncpg.connect(postgres_url)
    row = await connection.fetchrow(
        "SELECT service, grain_type, grain_key, state, payload->>'from', etag, schema FROM grange_state "
        "WHERE payload::jsonb @> '{\"delays\": [2]}'"
    )
    await connection.close()
    assert tuple(row) == ("svc", "cart", "ann", "flight", "JFK", 1, 4)


async def test_sql_can_index_the_state_in_postgres(postgres_url: str) -> None:
    """The payload is `json`, which has no index of its own; the index is on the cast."""
    connection = await asyncpg.connect(postgres_url)
    async with open_storage(postgres_url, "svc") as storage:
        await storage.write(ANN, "flight", FLIGHT, None)
        await connection.execute("CREATE INDEX delays ON grange_state USING gin ((payload::jsonb))")
        await storage.write(ANN, "flight", FLIGHT, "1")
        assert (await storage.read(ANN, "flight")).payload == FLIGHT
    await connection.execute("SET enable_seqscan = off")
    plan = await connection.fetch(
        "EXPLAIN SELECT grain_key FROM grange_state WHERE payload::jsonb @> '{\"delays\": [2]}'"
    )
    await connection.close()
    assert any("delays" in row[0] for row in plan)


async def test_sql_can_query_the_state_in_sqlite(tmp_path: Path) -> None:
    async with open_storage(f"sqlite:///{tmp_path}/state.db", "svc") as storage:
        await storage.write(ANN, "flight", FLIGHT, None, schema=4)
    connection = sqlite3.connect(tmp_path / "state.db")
    row = connection.execute(
        "SELECT service, grain_type, grain_key, state, json_extract(payload, '$.from'), etag, schema FROM grange_state"
    ).fetchone()
    connection.close()
    assert row == ("svc", "cart", "ann", "flight", "JFK", 1, 4)


async def test_redis_keys_are_as_documented(redis_url: str) -> None:
    async with open_storage(redis_url, "s:v%c") as storage:
        etag = await storage.write(ANN, "flight", FLIGHT, None, schema=4)
        async with redis.asyncio.Redis.from_url(redis_url, decode_responses=True) as client:
            key = "grange:state:s%3Av%25c:cart:ann:flight"
            assert sorted(await client.keys()) == ["grange:names:s%3Av%25c:cart", key]
            assert await client.hgetall(key) == {"etag": "1", "payload": FLIGHT.decode(), "schema": "4", "listed": "1"}
            await storage.clear(ANN, "flight", etag)
            assert await client.hgetall(key) == {"etag": "2", "schema": "4"}


async def test_a_script_that_redis_forgot_is_sent_again(redis_url: str) -> None:
    """A restart or a failover forgets it. No change runs twice."""
    async with open_storage(redis_url, "svc") as storage, redis.asyncio.Redis.from_url(redis_url) as client:
        etag = await storage.write(ANN, "state", b"1", None)
        await client.script_flush()
        etags = await asyncio.gather(
            storage.write(ANN, "state", b"2", etag), *(storage.write(grain, "s", b"1", None) for grain in MANY)
        )
        assert etags == ["2"] + ["1"] * len(MANY)


async def test_text_that_is_not_json_harms_only_its_own_grain_in_postgres(postgres_url: str) -> None:
    """Its neighbours in the batch are stored, once."""
    async with open_storage(postgres_url, "svc") as storage:
        for given, expected in ((None, "1"), ("1", "2")):
            outcomes = await asyncio.gather(
                *(storage.write(grain, "s", b"1", given) for grain in MANY),
                storage.write(ANN, "state", b'{"not": JSON', given),
                return_exceptions=True,
            )
            assert outcomes[:-1] == [expected] * len(MANY)
            if given is None:
                assert type(outcomes[-1]) is StorageError
                assert "write of state 'state' of cart/ann: Postgres at" in str(outcomes[-1])
                assert "refused: invalid input syntax" in str(outcomes[-1])


async def test_a_strange_key_harms_only_its_own_grain_in_redis(redis_url: str) -> None:
    async with open_storage(redis_url, "svc") as storage, redis.asyncio.Redis.from_url(redis_url) as client:
        await client.set("grange:state:svc:cart:ann:state", "not a hash")
        outcomes = await asyncio.gather(
            *(storage.write(grain, "s", b"1", None) for grain in MANY),
            storage.write(ANN, "state", b"1", None),
            return_exceptions=True,
        )
        assert outcomes[:-1] == ["1"] * len(MANY)
        assert type(outcomes[-1]) is StorageError
        with pytest.raises(StorageError, match=r"read of state 'state' of cart/ann: Redis at .* refused: WRONGTYPE"):
            await storage.read(ANN, "state")
