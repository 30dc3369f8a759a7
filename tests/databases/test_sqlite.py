"""Opening a SQLite file: bounded waits; and the statements of its migrations."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from grange.databases.errors import AnswerLost, DatabaseUnavailable
from grange.databases.sqlite import open_sqlite, statements_of
from grange.errors import ConfigurationError

PATIENCE = 10.0
"""Seconds until a test fails on an operation that hangs."""


async def opened(path: Path, timeout: float, lock_timeout: float) -> tuple[Any, ...]:
    """Open a file and close it again; the settings that it had."""
    async with asyncio.timeout(PATIENCE), open_sqlite(path, timeout, lock_timeout, "FULL") as connection:
        names = ("journal_mode", "busy_timeout", "synchronous")
        found = [list(await connection.execute_fetchall(f"PRAGMA {name}")) for name in names]
        return tuple(rows[0][0] for rows in found)


async def test_an_open_file_has_its_settings(tmp_path: Path) -> None:
    assert await opened(tmp_path / "new.db", 2.0, 1.5) == ("wal", 1500, 2)


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A file that another process has locked and that is not in WAL mode."""
    path = tmp_path / "locked.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE x (y)")
        other.execute("BEGIN EXCLUSIVE")
        yield path


async def test_the_wait_for_a_lock_at_open_is_bounded(locked: Path) -> None:
    """By the time for the lock alone: SQLite's own wait is not added to it."""
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable, match="locked"):
        await opened(locked, 4.0, 1.0)
    assert time.monotonic() - began < 1.9


async def test_a_disk_that_is_stuck_at_open_is_a_lost_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(aiosqlite.Connection, "_execute", once(never, aiosqlite.Connection._execute))
    with pytest.raises(AnswerLost, match=r"stuck\.db' did not answer within 0\.5 s: .*the disk is stuck$"):
        await opened(tmp_path / "stuck.db", 0.5, 0.4)


def once(first: Any, later: Any) -> Any:
    """Calls `first`, and from then on `later`."""
    left = [first]

    async def call(*arguments: Any, **options: Any) -> Any:
        return await (left.pop()(*arguments) if left else later(*arguments, **options))

    return call


def test_statements_may_span_lines_and_hold_comments() -> None:
    sql = "-- why; not\nCREATE TABLE a (\n  x -- a column;\n);\n\nCREATE TABLE b (x);\n-- the end\n/* really\n; */\n"
    assert [each.splitlines()[-1] for each in statements_of(sql)] == [");", "CREATE TABLE b (x);"]


@pytest.mark.parametrize("rest", ["CREATE TABLE b (x)", "CREATE TABLE b (x)\n-- the end", "SELECT 'open;\n"])
def test_a_last_statement_without_a_semicolon_is_refused(rest: str) -> None:
    """It would be left out silently."""
    with pytest.raises(ConfigurationError, match="does not end with ';'"):
        list(statements_of(f"CREATE TABLE a (x);\n{rest}"))
