"""Every store of grange against the contract suite of reminders of a store that it ships."""

from __future__ import annotations

from grange.testing.contracts.reminders import ReminderContract
from tests.contracts.stores import OnMemory, OnPostgres, OnRedis, OnSqlite


class TestMemory(OnMemory, ReminderContract):
    pass


class TestSqlite(OnSqlite, ReminderContract):
    pass


class TestPostgres(OnPostgres, ReminderContract):
    pass


class TestRedis(OnRedis, ReminderContract):
    pass
