"""Every store of grange against the contract suite of change sets that it ships."""

from __future__ import annotations

from grange.testing.contracts.sets import SetContract
from tests.contracts.stores import OnMemory, OnPostgres, OnRedis, OnSqlite


class TestMemory(OnMemory, SetContract):
    pass


class TestSqlite(OnSqlite, SetContract):
    pass


class TestPostgres(OnPostgres, SetContract):
    pass


class TestRedis(OnRedis, SetContract):
    pass
