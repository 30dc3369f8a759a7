"""Numbered SQL files: the plan, and its execution in SQLite and Postgres."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import cast

import asyncpg
import pytest

from grange.databases.migrations import (
    ADVISORY_LOCK,
    CREATE_SCHEMA_TABLE,
    SCHEMA_TABLE,
    Migration,
    parse_migrations,
    plan,
    shipped_migrations,
)
from grange.databases.sqlite import statements_of
from grange.errors import ConfigurationError, StorageError, StorageUnavailable
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.options import StorageOptions
from grange.storage.stores.postgres import PostgresStorage
from grange.storage.urls import open_storage
from grange.testing.contracts.storage_samples import ANN

KNOWN = parse_migrations("test", {"0002_b.sql": "B;", "0001_a.sql": "A;", "0003_c.sql": "C;"})


def test_an_empty_database_gets_everything_in_order() -> None:
    assert [migration.name for migration in plan("storage", KNOWN, [])] == ["a", "b", "c"]


def test_applied_migrations_are_left_out() -> None:
    assert plan("storage", KNOWN, [2, 1]) == (Migration(3, "c", "C;"),)
    assert plan("storage", KNOWN, [1, 2, 3]) == ()


def test_a_newer_database_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"storage tables are at schema version 4, .* up to 3"):
        plan("storage", KNOWN, [1, 2, 3, 4])


def test_a_history_with_a_gap_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"applied: \[1, 3\]"):
        plan("storage", KNOWN, [1, 3])


@pytest.mark.parametrize("names", [["1_a.sql"], ["0001_a.txt"], ["0002_a.sql"], ["0001_a.sql", "0001_b.sql"], []])
def test_wrongly_numbered_files_are_refused(names: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="migration"):
        parse_migrations("test", dict.fromkeys(names, "SELECT 1;"))


def test_statements_end_with_a_semicolon_at_the_end_of_a_line() -> None:
    sql = "CREATE TABLE a (x text DEFAULT ';x');\n\n-- note\nCREATE INDEX b\n  ON a (x); \n"
    assert list(statements_of(sql)) == [
        "CREATE TABLE a (x text DEFAULT ';x');",
        "-- note\nCREATE INDEX b\n  ON a (x);",
    ]


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_our_files_are_shipped(dialect: str) -> None:
    assert shipped_migrations("grange.storage", dialect)[0].name == "state"


async def open_several(url: str) -> None:
    """Several silos start at once on an empty database, and all of them work."""
    async with AsyncExitStack() as stack:
        contexts = [open_storage(url, f"service{number}") for number in range(4)]
        # All of them end before an error is raised: an opening that goes on would be cut off with the loop.
        storages = await asyncio.gather(*map(stack.enter_async_context, contexts), return_exceptions=True)
        for failed in storages:
            if isinstance(failed, BaseException):
                raise failed
        await asyncio.gather(*(storage.write(ANN, "state", b"1", None) for storage in storages))


def newest(dialect: str) -> int:
    return len(shipped_migrations("grange.storage", dialect))


async def test_sqlite_migrates_once_for_silos_that_start_together(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await open_several(f"sqlite:///{path}")
    with sqlite3.connect(path) as connection:
        applied = connection.execute("SELECT component, version FROM grange_schema").fetchall()
    connection.close()
    assert applied == [("storage", version) for version in range(1, newest("sqlite") + 1)]


async def test_postgres_migrates_once_for_silos_that_start_together(postgres_url: str) -> None:
    await open_several(postgres_url)
    connection = await asyncpg.connect(postgres_url)
    applied = await connection.fetch("SELECT component, version FROM grange_schema")
    await connection.close()
    assert [tuple(row) for row in applied] == [("storage", version) for version in range(1, newest("postgres") + 1)]


HURRIED = StorageOptions(operation_timeout=0.2, connect_timeout=0.2)


@asynccontextmanager
async def another_migrates_in_sqlite(path: Path) -> AsyncIterator[None]:
    """Another process holds the lock, and its migration takes longer than any operation of a silo may."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


async def test_a_silo_waits_for_a_process_that_migrates_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.db"
    opening = open_storage(f"sqlite:///{path}", "svc", HURRIED)
    async with another_migrates_in_sqlite(path):
        entered = asyncio.create_task(opening.__aenter__())
        await asyncio.sleep(4 * HURRIED.operation_timeout)
        assert not entered.done()
    storage = await entered
    await storage.write(ANN, "state", b"1", None)
    await opening.__aexit__(None, None, None)
    monkeypatch.setattr("grange.databases.sqlite.MIGRATION_TIMEOUT", 0.3)
    async with another_migrates_in_sqlite(tmp_path / "other.db"):
        with pytest.raises(StorageUnavailable, match="lock"):
            async with open_storage(f"sqlite:///{tmp_path}/other.db", "svc", HURRIED):
                pass


async def test_a_silo_waits_for_a_process_that_migrates_its_database(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await asyncpg.connect(postgres_url)
    await other.execute("SELECT pg_advisory_lock($1)", ADVISORY_LOCK)
    opening = open_storage(postgres_url, "svc", HURRIED)
    entered = asyncio.create_task(opening.__aenter__())
    await asyncio.sleep(4 * HURRIED.operation_timeout)
    assert not entered.done()
    await other.execute("SELECT pg_advisory_unlock($1)", ADVISORY_LOCK)
    storage = await entered
    await storage.write(ANN, "state", b"1", None)
    await opening.__aexit__(None, None, None)
    await other.execute("DROP TABLE grange_schema; SELECT pg_advisory_lock($1)".replace("$1", str(ADVISORY_LOCK)))
    monkeypatch.setattr("grange.databases.postgres.MIGRATION_TIMEOUT", 0.3)
    with pytest.raises(StorageUnavailable):
        async with open_storage(postgres_url, "svc", HURRIED):
            pass
    await other.close()


class EarlierStorage:
    """The statements of the versions 2 and 3, which know no claims and no sets."""

    _READ = """
    SELECT payload::text, etag, schema, writer, write_number FROM grange_state
    WHERE service = $1 AND grain_type = $2 AND grain_key = $3 AND state = $4
    """
    _STORE = "SELECT * FROM grange_store($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def payload(self, grain_id: GrainId) -> bytes:
        row = await self._pool.fetchrow(self._READ, "svc", grain_id.type, grain_id.key, "state")
        return str(row["payload"]).encode()

    async def write(self, grain_id: GrainId, payload: bytes, etag: str | None) -> str:
        columns = [7], [grain_id.type], [grain_id.key], ["state"], [payload.decode()], [1], [int(etag or 0)]
        (row,) = await self._pool.fetch(self._STORE, "svc", "10.0.0.1:11111", 1, *columns)
        return str(row["stored_etag"])


@pytest.mark.parametrize("prepared", [False, True], ids=["by the silo", "by hand"])
async def test_postgres_payloads_become_exact_while_an_earlier_silo_runs(postgres_url: str, prepared: bool) -> None:
    """A rolling upgrade: the silo of version 2 reads and writes on, by connections that prepared its statements."""
    exact = b'{"z": 1, "a": 1e16, "m": -0.0}'
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(CREATE_SCHEMA_TABLE)
    for migration in shipped_migrations("grange.storage", "postgres")[:2]:
        await connection.execute(migration.sql)
        await connection.execute(
            f"INSERT INTO {SCHEMA_TABLE} VALUES ('storage', $1, $2)", migration.version, migration.name
        )
    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=1) as pool:
        earlier = EarlierStorage(pool)
        etag = await earlier.write(ANN, exact, None)
        assert await earlier.payload(ANN) == b'{"a": 10000000000000000, "m": 0.0, "z": 1}'
        if prepared:
            await connection.execute(
                "ALTER TABLE grange_state ALTER COLUMN payload TYPE json USING payload::text::json"
            )
            assert await earlier.payload(ANN) == b'{"a": 10000000000000000, "m": 0.0, "z": 1}'
            etag = await earlier.write(ANN, b'{"a": 2}', etag)
        async with open_storage(postgres_url, "svc") as later:
            etag = await later.write(ANN, "state", exact, etag)
            assert await earlier.payload(ANN) == exact
            etag = await earlier.write(ANN, exact, etag)
            assert (await later.read(ANN, "state")).payload == exact
    await connection.close()


@pytest.mark.parametrize(
    ("made", "dropped", "again"),
    [
        ("INDEX ours ON grange_state USING gin (payload)", "INDEX ours", "gin ((payload::jsonb))"),
        ("VIEW ours AS SELECT payload FROM grange_state", "VIEW ours", "btree ((payload ->> 'a'))"),
    ],
)
async def test_postgres_names_what_stands_in_the_way_of_the_new_type(
    postgres_url: str, made: str, dropped: str, again: str
) -> None:
    """An operator's own index or view: the silo does not start, and the tables stay as they were."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(CREATE_SCHEMA_TABLE)
    for migration in shipped_migrations("grange.storage", "postgres")[:2]:
        await connection.execute(migration.sql)
        await connection.execute(
            f"INSERT INTO {SCHEMA_TABLE} VALUES ('storage', $1, $2)", migration.version, migration.name
        )
    await connection.execute(f"CREATE {made}")
    with pytest.raises(
        StorageError, match=r"cannot become json: [\s\S]*HINT: .* make them again on \(payload::jsonb\)"
    ):
        await open_several(postgres_url)
    await connection.execute(f"DROP {dropped}")
    await open_several(postgres_url)
    await connection.execute(f"CREATE INDEX ours ON grange_state USING {again}")
    await connection.close()


async def test_a_view_on_the_key_does_not_stop_the_upgrade(postgres_url: str) -> None:
    """The key keeps its order then, and lists come in the right order nevertheless."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(CREATE_SCHEMA_TABLE)
    for migration in shipped_migrations("grange.storage", "postgres")[:3]:
        await connection.execute(migration.sql)
        await connection.execute(
            f"INSERT INTO {SCHEMA_TABLE} VALUES ('storage', $1, $2)", migration.version, migration.name
        )
    await connection.execute("CREATE VIEW ours AS SELECT grain_key FROM grange_state")
    async with open_storage(postgres_url, "svc") as storage:
        for key in ("b", "B", "a", "A", "ä"):
            await storage.write(GrainId("cart", key), "state", b"1", None)
        listed = await cast("PostgresStorage", storage).list_records("cart")
        assert [name.key for name in listed] == ["A", "B", "a", "b", "ä"]
    await connection.close()


async def test_sqlite_refuses_a_newer_schema(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await open_several(f"sqlite:///{path}")
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO grange_schema VALUES ('storage', ?, 'later')", (newest("sqlite") + 1,))
    connection.close()
    with pytest.raises(ConfigurationError, match=f"schema version {newest('sqlite') + 1}"):
        await open_several(f"sqlite:///{path}")


async def test_postgres_refuses_a_newer_schema(postgres_url: str) -> None:
    await open_several(postgres_url)
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("INSERT INTO grange_schema VALUES ('storage', $1, 'later')", newest("postgres") + 1)
    await connection.close()
    with pytest.raises(ConfigurationError, match=f"schema version {newest('postgres') + 1}"):
        await open_several(postgres_url)


async def test_a_failed_migration_leaves_nothing_behind(tmp_path: Path) -> None:
    """A table of that name exists already. The schema table is rolled back too, and the error is typed."""
    path = tmp_path / "state.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE grange_state (x)")
    connection.close()
    with pytest.raises(Exception, match="grange_state already exists") as caught:
        await open_several(f"sqlite:///{path}")
    assert type(caught.value).__name__ == "StorageError"
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema WHERE name = 'grange_schema'").fetchall() == []
    connection.close()


async def test_a_user_who_may_not_create_tables_opens_a_migrated_database(postgres_url: str) -> None:
    """Operators can migrate with one role and run with another."""
    await open_several(postgres_url)
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(
        "CREATE ROLE grange_runner LOGIN; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO grange_runner"
    )
    try:
        async with open_storage(postgres_url.replace("postgres@", "grange_runner@"), "other") as storage:
            await storage.write(ANN, "state", b"1", None)
            await storage.fence([SiloAddress("a", 1, 1)])
    finally:
        await connection.execute("DROP OWNED BY grange_runner; DROP ROLE grange_runner")
        await connection.close()
