"""Every store of grange against the contract suite of lists and queries that it ships."""

from __future__ import annotations

from grange.testing.contracts.queries import QueryContract
from tests.contracts.stores import OnMemory, OnPostgres, OnRedis, OnSqlite


class TestMemory(OnMemory, QueryContract):
    pass


class TestSqlite(OnSqlite, QueryContract):
    pass


class TestPostgres(OnPostgres, QueryContract):
    pass


class TestRedis(OnRedis, QueryContract):
    pass
