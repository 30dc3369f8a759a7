"""Every storage provider of grange against the contract suite that it ships."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from grange.storage.memory import MemoryStorage
from grange.storage.urls import open_storage as open_url
from grange.testing.contracts.storage import OpenStorage, StorageContract
from tests.databases.pooler import a_pooler


class TestMemory(StorageContract):
    @pytest.fixture
    def open_storage(self) -> OpenStorage:
        services: dict[str, MemoryStorage] = {}
        return lambda service: nullcontext(services.setdefault(service, MemoryStorage(service)))


class TestSqlite(StorageContract):
    @pytest.fixture
    def open_storage(self, tmp_path: Path) -> OpenStorage:
        return lambda service: open_url(f"sqlite:///{tmp_path}/state.db", service)


class TestRedis(StorageContract):
    @pytest.fixture
    def open_storage(self, redis_url: str) -> OpenStorage:
        return lambda service: open_url(redis_url, service)


class TestPostgres(StorageContract):
    @pytest.fixture
    def open_storage(self, postgres_url: str) -> OpenStorage:
        return lambda service: open_url(postgres_url, service)


class TestPostgresBehindAPooler(StorageContract):
    """Each transaction has another session."""

    @pytest.fixture
    async def open_storage(self, postgres_url: str) -> AsyncIterator[OpenStorage]:
        async with a_pooler(postgres_url) as pooler:
            yield lambda service: open_url(pooler.url, service)
