"""The membership database is down at start, stops later, hangs, comes back: typed errors, bounded waits."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path

import asyncpg
import pytest
import redis

from grange.errors import ConfigurationError, MembershipError, MembershipUnavailable
from grange.membership.model.member import SiloStatus
from grange.membership.model.provider import MembershipTable
from grange.membership.urls import open_table
from grange.servers.postgres import PostgresServer
from grange.servers.redis import RedisServer
from grange.testing.contracts.membership_samples import NOON, a_silo, insert
from tests.storage.wire import Wire, a_wire

PATIENCE = 10.0
"""Seconds until a test fails on an operation that hangs; an operation may take 2."""


@pytest.fixture(params=["redis", "postgres"])
async def wire(request: pytest.FixtureRequest, redis_url: str, postgres_url: str) -> AsyncIterator[Wire]:
    async with a_wire(redis_url if request.param == "redis" else postgres_url) as wire:
        yield wire


@pytest.fixture
async def table(wire: Wire) -> AsyncIterator[MembershipTable]:
    async with open_table(wire.url, "one") as table:
        yield table


async def all_verbs_are_unavailable(table: MembershipTable, known) -> None:
    row = known.rows[0]
    verbs = (
        table.read(),
        table.read_row(row.member.address),
        table.insert(a_silo(9), known.version),
        table.update(row.member, row.etag, known.version),
        table.alive(row.member.address, NOON),
        table.cleanup(NOON),
        table.delete(),
    )
    async with asyncio.timeout(PATIENCE):
        outcomes = await asyncio.gather(*verbs, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [MembershipUnavailable] * len(verbs)


async def until_gone(table: MembershipTable) -> None:
    """A backend of Postgres outlives its killed server for a moment, and may answer until it has noticed."""
    async with asyncio.timeout(PATIENCE):
        with suppress(MembershipUnavailable):
            while True:
                await table.read()


async def is_unavailable(operation: Awaitable[object], match: str | None = None) -> None:
    with pytest.raises(MembershipUnavailable, match=match):
        async with asyncio.timeout(PATIENCE):
            await operation


@contextmanager
def stopped(server: RedisServer) -> Iterator[None]:
    assert server._process is not None
    os.kill(server._process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server._process.pid, signal.SIGCONT)


@contextmanager
def out_of_memory(redis_url: str) -> Iterator[None]:
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory", "1")
        try:
            yield
        finally:
            client.config_set("maxmemory", "0")


@asynccontextmanager
async def other_session(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres_url)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize("scheme", ["redis", "postgresql"])
async def test_no_server_at_start(scheme: str) -> None:
    """The error is typed, comes at once, and does not show the password."""
    with pytest.raises(MembershipUnavailable) as caught:
        async with asyncio.timeout(PATIENCE), open_table(f"{scheme}://user:s3cret@127.0.0.1:1/0", "one"):
            pass
    assert "s3cret" not in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value)


async def test_a_server_that_never_answers_at_start(wire: Wire) -> None:
    """The wait for it is bounded."""
    wire.silent()
    with pytest.raises(MembershipUnavailable):
        async with asyncio.timeout(PATIENCE), open_table(wire.url, "one"):
            pass


async def test_a_cut_is_typed_and_heals_by_itself(wire: Wire, table: MembershipTable) -> None:
    """F17: the same open table goes on as soon as the server is back; nothing is lost."""
    known = await insert(table, a_silo(1))
    await wire.cut()
    await all_verbs_are_unavailable(table, known)
    await wire.join()
    assert await table.read() == known
    assert await table.update(a_silo(1, SiloStatus.LEAVING), known.rows[0].etag, known.version)


async def test_silence_is_bounded_and_heals_by_itself(wire: Wire, table: MembershipTable) -> None:
    """R2: a change that was under way may have been made; the table says whether."""
    known = await insert(table, a_silo(1))
    wire.silent()
    await is_unavailable(table.update(a_silo(1, SiloStatus.LEAVING), known.rows[0].etag, known.version))
    await all_verbs_are_unavailable(table, known)
    await wire.cut()
    await wire.join()
    found = await table.read()
    assert found.version.number in {0, 1, 2, 3}
    await insert(table, a_silo(2))


@pytest.mark.servers
@pytest.mark.parametrize("kind", [RedisServer, PostgresServer])
async def test_a_killed_server_comes_back_with_everything_acknowledged(
    kind: type[RedisServer | PostgresServer],
) -> None:
    """F17: the same incarnation, version and rows."""
    with kind() as server:
        async with open_table(server.url, "one") as table:
            known = await insert(table, a_silo(1))
            server.kill()
            await until_gone(table)
            await all_verbs_are_unavailable(table, known)
            server.start()
            assert await table.read() == known
            await insert(table, a_silo(2))


@pytest.mark.servers
async def test_a_stopped_redis_process_is_bounded() -> None:
    """SIGSTOP: the connection stays open, and no answer comes."""
    with RedisServer() as server:
        async with open_table(server.url, "one") as table:
            known = await insert(table, a_silo(1))
            with stopped(server):
                await is_unavailable(table.read())
            assert await table.read() == known


async def test_a_redis_that_was_flushed_reads_as_a_fresh_table(redis_url: str) -> None:
    """F18, R3: the read reports it. A change at the old version is refused and does not create the table again."""
    async with open_table(redis_url, "one") as table:
        known = await insert(table, a_silo(1))
        with redis.Redis.from_url(redis_url) as client:
            client.flushdb()
        assert not await table.insert(a_silo(2), known.version)
        assert not await table.update(a_silo(1), known.rows[0].etag, known.version)
        await table.alive(a_silo(1).address, NOON)
        found = await table.read()
        assert (found.version.number, found.version.incarnation, found.rows) == (0, "", ())
        with redis.Redis.from_url(redis_url) as client:
            assert client.dbsize() == 0


async def test_a_redis_that_refuses_writes_is_unavailable(redis_url: str) -> None:
    """F20: out of memory, with eviction off."""
    async with open_table(redis_url, "one") as table:
        known = await insert(table, a_silo(1))
        with out_of_memory(redis_url):
            await is_unavailable(table.insert(a_silo(2), known.version), "refused")
        assert await table.read() == known


async def test_a_row_that_is_not_a_member_is_named(redis_url: str) -> None:
    """The hash was edited by hand: the error shows the row and is not the driver's."""
    async with open_table(redis_url, "one") as table:
        await insert(table, a_silo(1))
        with redis.Redis.from_url(redis_url) as client:
            client.hset("grange:{one}:membership", "silo:x", "rubbish")
        with pytest.raises(MembershipError, match="rubbish"):
            await table.read()


async def test_a_long_lock_in_postgres_is_bounded(postgres_url: str) -> None:
    """Another session locks the version's row: the change times out and leaves nothing behind."""
    async with other_session(postgres_url) as other, open_table(postgres_url, "one") as table:
        known = await insert(table, a_silo(1))
        async with other.transaction():
            await other.fetch("SELECT * FROM grange_membership_version FOR UPDATE")
            await is_unavailable(table.insert(a_silo(2), known.version))
            assert await table.read() == known
        await insert(table, a_silo(3))


async def test_connections_that_postgres_ends_are_made_again(postgres_url: str) -> None:
    """F22: an operation in between may fail with a typed error; the next one works."""
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> $1"
    async with other_session(postgres_url) as other, open_table(postgres_url, "one") as table:
        known = await insert(table, a_silo(1))
        await other.fetch(kill, other.get_server_pid())
        try:
            found = await table.read()
        except MembershipUnavailable:
            found = await table.read()
        assert found == known


async def test_a_locked_sqlite_file_is_bounded_and_heals_by_itself(tmp_path: Path) -> None:
    """Another process holds the lock: reads go on, a change fails in time and says so."""
    path = tmp_path / "membership.db"
    async with open_table(f"sqlite:///{path}", "one") as table:
        known = await insert(table, a_silo(1))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert await table.read() == known
            await is_unavailable(table.insert(a_silo(2), known.version), "locked")
            other.execute("COMMIT")
        await insert(table, a_silo(2))


async def test_a_sqlite_file_survives_its_process_and_is_migrated_once(tmp_path: Path) -> None:
    """Opened again, it has the same table. When many open it at once, one of them makes it."""
    url = f"sqlite:///{tmp_path}/made/on/demand/membership.db"

    async def version() -> int:
        async with open_table(url, "one") as table:
            return (await table.read()).version.number

    assert await asyncio.gather(*(version() for _ in range(8))) == [0] * 8
    async with open_table(url, "one") as table:
        await insert(table, a_silo(1))
    assert await version() == 1


@pytest.mark.parametrize("scheme", ["postgres", "redis"])
async def test_many_open_one_empty_database_at_once(scheme: str, postgres_url: str, redis_url: str) -> None:
    """A whole cluster starts: the migrations run once."""
    url = postgres_url if scheme == "postgres" else redis_url

    async def version() -> int:
        async with open_table(url, "one") as table:
            return (await table.read()).version.number

    assert await asyncio.gather(*(version() for _ in range(5))) == [0] * 5


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """The error is typed and names the file; the file is unchanged."""
    path = tmp_path / "notes.txt"
    path.write_text("this is not a database, it only has its name" * 100)
    with pytest.raises(MembershipError, match=r"notes\.txt"):
        async with open_table(f"sqlite:///{path}", "one"):
            pass
    assert path.read_text().startswith("this is not")


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A file has the name of the folder."""
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigurationError, match="cannot be made"):
        async with open_table(f"sqlite:///{tmp_path}/file/membership.db", "one"):
            pass


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("membership.db", "not a membership URL"),
        ("user:s3cret@host", "host"),
        ("ftp://host", "known are memory"),
        ("memory://somewhere", "memory://"),
        ("sqlite://file.db", "sqlite:///relative"),
        ("sqlite:///", "sqlite:///relative"),
        ("redis://localhost:notaport/0", "host[:port]"),
        ("postgresql://localhost:notaport/db", "port"),
        ("postgresql://localhost", "name a database"),
    ],
)
async def test_a_malformed_url_names_the_expected_form(url: str, hint: str) -> None:
    """ConfigurationError, before anything is connected."""
    with pytest.raises(ConfigurationError) as caught:
        async with asyncio.timeout(PATIENCE), open_table(url, "one"):
            pass
    assert hint in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_cluster_needs_a_name() -> None:
    """A blank name is refused."""
    with pytest.raises(ConfigurationError, match="name"):
        open_table("memory://", " ")
