"""Every membership provider of grange against the contract suite that it ships."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from grange.membership.providers.memory import MemoryMembershipTable, MemoryStore
from grange.membership.urls import open_table as open_url
from grange.testing.contracts.membership import MembershipTableContract
from grange.testing.contracts.membership_samples import OpenTable
from tests.databases.pooler import a_pooler


class TestMemory(MembershipTableContract):
    @pytest.fixture
    def open_table(self) -> OpenTable:
        store = MemoryStore()
        return lambda cluster: nullcontext(MemoryMembershipTable(cluster, store))


class TestSqlite(MembershipTableContract):
    @pytest.fixture
    def open_table(self, tmp_path: Path) -> OpenTable:
        return lambda cluster: open_url(f"sqlite:///{tmp_path}/membership.db", cluster)


class TestRedis(MembershipTableContract):
    @pytest.fixture
    def open_table(self, redis_url: str) -> OpenTable:
        return lambda cluster: open_url(redis_url, cluster)


class TestPostgres(MembershipTableContract):
    @pytest.fixture
    def open_table(self, postgres_url: str) -> OpenTable:
        return lambda cluster: open_url(postgres_url, cluster)


class TestPostgresBehindAPooler(MembershipTableContract):
    """Each transaction has another session."""

    @pytest.fixture
    async def open_table(self, postgres_url: str) -> AsyncIterator[OpenTable]:
        async with a_pooler(postgres_url) as pooler:
            yield lambda cluster: open_url(pooler.url, cluster)
