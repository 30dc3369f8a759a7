"""A list of stored grains goes on after a key, past all its states, on every store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from grange import GrainId
from grange.silo.queries import LAST_STATE
from grange.storage.provider import RecordName
from grange.storage.stores.memory import MemoryStorage
from grange.storage.stores.postgres import PostgresStorage
from grange.storage.stores.redis import RedisStorage
from grange.storage.stores.sqlite import SqliteStorage


async def check(storage: Any) -> None:
    for key in ("a", "b", "b\U0010fffe", "c"):
        for state in ("one", "ß", "\U0001f600"):
            await storage.write(GrainId("cart", key), state, b"{}", None)
    found = await storage.list_records("cart", after=RecordName("b", LAST_STATE), limit=4)
    assert [name.key for name in found] == ["b\U0010fffe"] * 3 + ["c"]
    assert await storage.list_records("cart", after=RecordName("c", LAST_STATE)) == []


async def test_in_memory() -> None:
    """QRY-07"""
    await check(MemoryStorage())


async def test_in_sqlite(tmp_path: Path) -> None:
    """QRY-07"""
    async with SqliteStorage.open(f"sqlite:///{tmp_path}/state.db", "svc") as storage:
        await check(storage)


@pytest.mark.servers
async def test_in_postgres(postgres_url: str) -> None:
    """QRY-07"""
    async with PostgresStorage.open(postgres_url, "svc") as storage:
        await check(storage)


@pytest.mark.servers
async def test_in_redis(redis_url: str) -> None:
    """QRY-07"""
    async with RedisStorage.open(redis_url, "svc") as storage:
        await check(storage)
