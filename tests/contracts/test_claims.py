"""Every store of grange against the contract suite of claims that it ships."""

from __future__ import annotations

from grange.testing.contracts.claims import ClaimContract
from tests.contracts.stores import OnMemory, OnPostgres, OnRedis, OnSqlite


class TestMemory(OnMemory, ClaimContract):
    pass


class TestSqlite(OnSqlite, ClaimContract):
    pass


class TestPostgres(OnPostgres, ClaimContract):
    pass


class TestRedis(OnRedis, ClaimContract):
    pass
