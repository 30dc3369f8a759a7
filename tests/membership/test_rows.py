"""The rows of the database providers: a row that cannot be read raises an error of the table."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import redis

from grange.errors import MembershipError
from grange.membership.model.provider import MembershipTable
from grange.membership.providers.rows import time_from_text, time_to_text
from grange.membership.urls import open_table
from grange.testing.contracts.membership_samples import a_silo, insert

UNREADABLE = ["", "yesterday", "2026-01-01T12:00:00.000000"]


def test_a_time_is_read_back_from_its_text() -> None:
    time = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert time_to_text(time) == "2026-01-01T10:00:00.000000+00:00"
    assert time_from_text(time_to_text(time)) == time
    assert time_from_text(time_to_text(time)).tzinfo is UTC


@pytest.mark.parametrize("text", UNREADABLE)
def test_a_text_that_is_not_a_time_is_an_error_of_the_table(text: str) -> None:
    with pytest.raises(MembershipError, match="membership table"):
        time_from_text(text)


async def no_row_is_read(table: MembershipTable) -> None:
    with pytest.raises(MembershipError, match="a time in the membership table"):
        await table.read()
    with pytest.raises(MembershipError, match="a time in the membership table"):
        await table.read_row(a_silo(1).address)


@pytest.mark.parametrize("text", UNREADABLE)
async def test_sqlite_refuses_a_row_with_an_unreadable_alive_time(tmp_path: Path, text: str) -> None:
    """The error is one that the callers of the table handle, and the table is usable after it."""
    path = tmp_path / "membership.db"
    async with open_table(f"sqlite:///{path}", "one") as table:
        known = await insert(table, a_silo(1))
        with closing(sqlite3.connect(path)) as file, file:
            file.execute("UPDATE grange_membership_silo SET alive = ?", (text,))
        await no_row_is_read(table)
        with pytest.raises(MembershipError, match="a time in the membership table"):
            await table.update(a_silo(1), known.rows[0].etag, known.version)
        await table.delete()
        assert (await table.read()).rows == ()


async def test_redis_refuses_a_row_with_an_unreadable_alive_time(redis_url: str) -> None:
    async with open_table(redis_url, "one") as table:
        await insert(table, a_silo(1))
        with redis.Redis.from_url(redis_url) as client:
            client.hset("grange:{one}:alive", f"silo:{a_silo(1).address}", "yesterday")
        await no_row_is_read(table)
