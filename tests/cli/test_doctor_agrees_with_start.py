"""What `grange doctor` finds bad does not start, and what it does not find bad starts: pairs over broken set-ups."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis

from grange.cli.process import ExitCode, exit_code
from grange.databases.findings import Level
from grange.databases.migrations import shipped_migrations
from grange.errors import GrangeError
from grange.servers.process import free_port
from grange.servers.redis import RedisServer
from grange.silo.config import SiloConfig
from grange.silo.environment import ConfiguredEnvironment
from grange.silo.store_checks import reports
from tests.contracts.redis_replicas import Sentinel, Server
from tests.databases.pooler import a_pooler
from tests.databases.test_redis_rights import documented_rights

pytestmark = pytest.mark.servers

WORKS, WRONG, AWAY = 0, ExitCode.USAGE, ExitCode.STORE_UNUSABLE


async def start(config: SiloConfig) -> int:
    """The exit code with which the stores of a silo open; they close again."""
    environment = ConfiguredEnvironment(config)
    try:
        async with environment.table(), environment.storages():
            return 0
    except GrangeError as error:
        return exit_code(error)


async def agree(expected: int, **options: Any) -> None:
    config = SiloConfig(**options)
    found = [each for report in await reports(config) for each in report.findings if each.level is Level.BAD]
    assert bool(found) == (expected != WORKS), found
    assert all(each.remedy for each in found)
    assert await start(config) == expected, found


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
        yield client


REDIS = {
    "as it is": ([], "redis://", WORKS),
    "a wrong password": ([], "redis://:wrong@", WORKS),  # a user without a password takes any
    "a user that is unknown": ([], "redis://stranger:x@", WRONG),
    "the documented rights": (documented_rights(), "redis://app:password@", WORKS),
    "no right to write": ([*documented_rights(), "-hset"], "redis://app:password@", WRONG),
    "no right to scripts": ([*documented_rights(), "-evalsha"], "redis://app:password@", WRONG),
    "no right to the keys": ([*documented_rights(), "resetkeys", "~mine:*"], "redis://app:password@", WRONG),
    "no right to look": ([*documented_rights(), "-info", "-role", "-config"], "redis://app:password@", WORKS),
    "TLS of a plain port": ([], "rediss://", WRONG),
}


@pytest.mark.parametrize("case", REDIS)
@pytest.mark.parametrize("use", ["membership", "storage"])
async def test_redis(case: str, use: str, server: RedisServer, client: redis.Redis, tmp_path: Path) -> None:
    rules, start_of_url, expected = REDIS[case]
    client.execute_command("ACL", "SETUSER", "app", "reset", *rules)
    await agree(expected, data=tmp_path, **{use: server.url.replace("redis://", start_of_url)})


@pytest.mark.parametrize("use", ["membership", "storage"])
async def test_a_redis_that_is_full(use: str, server: RedisServer, client: redis.Redis, tmp_path: Path) -> None:
    """It answers, and takes no writes."""
    client.config_set("maxmemory", "1")
    try:
        await agree(AWAY, data=tmp_path, **{use: server.url})
    finally:
        client.config_set("maxmemory", "0")


@pytest.mark.parametrize("use", ["membership", "storage"])
@pytest.mark.parametrize("scheme", ["redis", "postgresql"])
async def test_a_server_that_is_down(use: str, scheme: str, tmp_path: Path) -> None:
    await agree(AWAY, data=tmp_path, **{use: f"{scheme}://ann:secret@127.0.0.1:{free_port()}/0"})


async def test_redis_with_a_role(tmp_path: Path) -> None:
    """A node of a cluster, a replica, a Sentinel."""
    with Server("--cluster-enabled", "yes", "--appendonly", "no") as node:
        await agree(WRONG, data=tmp_path, membership=node.url)
        await agree(WRONG, data=tmp_path, storage=node.url)
    with Server() as master, master.replica() as replica, Sentinel(master) as sentinel:
        await agree(AWAY, data=tmp_path, storage=replica.url)
        await agree(WRONG, data=tmp_path, membership=f"redis://{sentinel.address}/0")
        await agree(WRONG, data=tmp_path, storage=f"redis+sentinel://{sentinel.address}/table")


@pytest.fixture
async def owner(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres_url)
    try:
        yield connection
    finally:
        await connection.close()


POSTGRES = {
    "empty": ("SELECT 1", WORKS),
    "tables of a newer grange": (
        "CREATE TABLE grange_schema (component text, version integer, name text); "
        "INSERT INTO grange_schema VALUES ('membership', 99, 'x'), ('storage', 99, 'x')",
        WRONG,
    ),
    "a table that is gone": (
        "CREATE TABLE grange_schema (component text, version integer, name text); "
        + "; ".join(
            f"INSERT INTO grange_schema VALUES ('{component}', {each.version}, 'x')"
            for component in ("membership", "storage")
            for each in shipped_migrations(f"grange.{component}", "postgres")
        ),
        WRONG,
    ),
}


@pytest.mark.parametrize("case", POSTGRES)
@pytest.mark.parametrize("use", ["membership", "storage"])
async def test_postgres(case: str, use: str, postgres_url: str, owner: asyncpg.Connection, tmp_path: Path) -> None:
    """tests/databases/test_postgres_rights.py has the pairs of missing rights."""
    sql, expected = POSTGRES[case]
    await owner.execute(sql)
    await agree(expected, data=tmp_path, **{use: postgres_url})


@pytest.mark.parametrize("use", ["membership", "storage"])
async def test_postgres_behind_a_pooler(use: str, postgres_url: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        working = await stack.enter_async_context(a_pooler(postgres_url))
        statements = await stack.enter_async_context(a_pooler(postgres_url, statements=True))
        silent = await stack.enter_async_context(a_pooler(postgres_url, silent=True))
        await agree(WORKS, data=tmp_path, **{use: working.url})
        await agree(WRONG, data=tmp_path, **{use: statements.url})
        await agree(WRONG, data=tmp_path, **{use: silent.url})


@pytest.mark.parametrize("use", ["membership", "storage"])
async def test_a_database_that_does_not_exist(use: str, postgres_url: str, tmp_path: Path) -> None:
    await agree(WRONG, data=tmp_path, **{use: f"{postgres_url}_missing"})


@pytest.mark.parametrize("use", ["membership", "storage"])
async def test_sqlite(use: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("this is not a database" * 100)
    await agree(WORKS, data=tmp_path, **{use: f"sqlite:///{tmp_path}/new/file.db"})
    await agree(AWAY, data=tmp_path, **{use: f"sqlite:///{tmp_path}/notes.txt"})
    await agree(WRONG, data=tmp_path, **{use: f"sqlite:///{tmp_path}/notes.txt/file.db"})
