"""A password that changes while stores are open, on real servers: no restart, no failed operation, no old connection.

The servers hold the roles `app` and `next`, with the passwords that the test sets.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import asyncpg
import pytest
import redis.asyncio

from grange.databases import credentials
from grange.errors import StorageUnavailable
from grange.membership.urls import open_table
from grange.proto.ids import GrainId
from grange.servers.postgres import PostgresServer
from grange.servers.redis import RedisServer
from grange.silo.config import SiloConfig
from grange.silo.environment import ConfiguredEnvironment
from grange.storage.options import StorageOptions
from grange.storage.provider import GrainStorage
from grange.storage.urls import open_storage
from grange.testing.contracts.storage_samples import ANN

pytestmark = pytest.mark.servers

PATIENCE = 30.0
CONNECTIONS = 3
OPTIONS = StorageOptions(connections=CONNECTIONS)


class Logins(Protocol):
    """A server with logins."""

    async def give(self, user: str, *passwords: str) -> None:
        """Let the user log in with these passwords only. Its sessions go on."""
        ...

    async def sessions(self) -> set[tuple[str, str]]:
        """The user and the number of each session of a silo."""
        ...

    def url(self, user: str, password: str) -> str: ...


class PasswordedPostgres(PostgresServer):
    """Asks every user but its superuser for a password."""

    def prepare(self) -> None:
        super().prepare()
        rules = self.data / "pg_hba.conf"
        rules.write_text("host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")


class PostgresLogins:
    def __init__(self, server: PostgresServer, admin: asyncpg.Connection[asyncpg.Record]) -> None:
        self._server = server
        self._admin = admin

    async def give(self, user: str, *passwords: str) -> None:
        if not await self._admin.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", user):
            # The tables belong to one owner, as in a deployment with two users that take turns.
            await self._admin.execute(
                f"CREATE ROLE {user} LOGIN; GRANT owners TO {user}; ALTER ROLE {user} SET role = owners"
            )
        await self._admin.execute(f"ALTER ROLE {user} PASSWORD '{passwords[-1]}'")

    async def sessions(self) -> set[tuple[str, str]]:
        rows = await self._admin.fetch("SELECT usename, pid FROM pg_stat_activity WHERE application_name = 'grange'")
        return {(row[0], str(row[1])) for row in rows}

    def url(self, user: str, password: str) -> str:
        return self._server.url.replace("postgres@", f"{user}:{password}@")


class RedisLogins:
    def __init__(self, server: RedisServer, admin: redis.asyncio.Redis) -> None:
        self._server = server
        self._admin = admin

    async def give(self, user: str, *passwords: str) -> None:
        rights = ("on", "resetpass", *(f">{each}" for each in passwords), "~grange:*", "+@all")
        await self._admin.execute_command("ACL", "SETUSER", user, *rights)

    async def sessions(self) -> set[tuple[str, str]]:
        clients = await self._admin.client_list()
        return {(each["user"], each["id"]) for each in clients if each["user"] != "default"}

    def url(self, user: str, password: str) -> str:
        return self._server.url.replace("redis://", f"redis://{user}:{password}@")


@asynccontextmanager
async def postgres_logins() -> AsyncIterator[Logins]:
    with PasswordedPostgres() as server:
        admin = await asyncpg.connect(server.url)
        await admin.execute("CREATE ROLE owners; GRANT ALL ON SCHEMA public TO owners")
        try:
            yield PostgresLogins(server, admin)
        finally:
            await admin.close()


@asynccontextmanager
async def redis_logins() -> AsyncIterator[Logins]:
    with RedisServer() as server:
        async with redis.asyncio.Redis.from_url(server.url, decode_responses=True) as admin:
            yield RedisLogins(server, admin)


@pytest.fixture(params=[postgres_logins, redis_logins], ids=["postgres", "redis"])
async def logins(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Logins]:
    monkeypatch.setattr(credentials, "LOOK_PERIOD", 0.1)
    async with request.param() as logins:
        await logins.give("app", "one")
        yield logins


@asynccontextmanager
async def under_load(storage: GrainStorage) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """More writers than connections, none of which may fail. Yields a wait for ten more writes of each."""
    counts = [0] * (2 * CONNECTIONS)
    done = asyncio.Event()

    async def write(number: int) -> None:
        etag: str | None = None
        while not done.is_set():
            etag = await storage.write(GrainId("cart", str(number)), "s", b"1", etag)
            counts[number] += 1

    async def more() -> None:
        before = list(counts)
        while any(now < then + 10 for now, then in zip(counts, before, strict=True)):
            await asyncio.sleep(0.01)

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        for number in range(len(counts)):
            group.create_task(write(number))
        await more()
        yield more
        done.set()


async def until_all_are_new(logins: Logins, before: set[tuple[str, str]], user: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while not (now := await logins.sessions()) or now & before or {each for each, _ in now} != {user}:
            await asyncio.sleep(0.05)


async def test_connections_are_replaced_under_load(logins: Logins, tmp_path: Path) -> None:
    """F41: the password, then the user, too. No write fails, and the earlier user can be dropped: it has no session."""
    secret = tmp_path / "password"
    secret.write_text(logins.url("app", "one"))
    url = f"${{file:{secret}}}"
    async with open_storage(url, "svc", OPTIONS) as storage, under_load(storage) as more:
        for user, password in (("app", "two"), ("next", "three")):
            before = await logins.sessions()
            assert 0 < len(before) <= CONNECTIONS
            await logins.give(user, password)
            secret.write_text(logins.url(user, password))
            await until_all_are_new(logins, before, user)
            await more()
            assert len(await logins.sessions()) <= CONNECTIONS


async def test_the_file_may_change_before_the_store(logins: Logins, tmp_path: Path) -> None:
    """The connections go on with the earlier password until the store knows the new one."""
    secret = tmp_path / "password"
    secret.write_text("one")
    url = f"{logins.url('app', '').replace(':@', '@')}?password_file={secret}"
    async with open_storage(url, "svc", OPTIONS) as storage, under_load(storage) as more:
        before = await logins.sessions()
        secret.write_text("two")
        await asyncio.sleep(0.5)
        await more()
        assert before <= await logins.sessions()  # none was replaced; the load may have opened another
        await logins.give("app", "two")
        await until_all_are_new(logins, before, "app")
        await more()


async def test_the_next_connection_has_the_new_password(
    logins: Logins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, without a look at the file in between; also that of a table. A wrong one is an outage, not the end."""
    monkeypatch.setattr(credentials, "LOOK_PERIOD", 3600)
    secret = tmp_path / "password"
    secret.write_text("one")
    url = f"{logins.url('app', '').replace(':@', '@')}?password_file={secret}"
    await logins.give("app", "two")
    with pytest.raises(Exception, match="refused the login"):
        async with open_storage(url, "svc"):
            pass
    await logins.give("app", "one")
    async with open_storage(url, "svc", StorageOptions(connections=1)) as storage, open_table(url, "one") as table:
        await storage.write(ANN, "s", b"1", None)
        await logins.give("app", "two")
        await end_sessions(logins)
        with pytest.raises(StorageUnavailable, match="refused the login"):
            await after_the_lost_connection(lambda: storage.read(ANN, "s"))
        secret.write_text("two")
        assert (await storage.read(ANN, "s")).etag == "1"
        await after_the_lost_connection(table.read)


async def end_sessions(logins: Logins) -> None:
    for _, number in await logins.sessions():
        if isinstance(logins, PostgresLogins):
            await logins._admin.execute("SELECT pg_terminate_backend($1)", int(number))
        elif isinstance(logins, RedisLogins):
            await logins._admin.execute_command("CLIENT", "KILL", "ID", number)


async def after_the_lost_connection(operation: Callable[[], Awaitable[object]]) -> None:
    """The first use of an ended connection may only find that."""
    try:
        await operation()
    except Exception as error:
        if "login" in str(error):
            raise
        await operation()


async def test_a_silo_reads_the_file_that_its_option_names(
    logins: Logins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`GRANGE_STORAGE_FILE` and `GRANGE_MEMBERSHIP_FILE`: table and state go on with the new password."""
    secret = tmp_path / "url"
    secret.write_text(logins.url("app", "one"))
    monkeypatch.setenv("GRANGE_STORAGE_FILE", str(secret))
    monkeypatch.setenv("GRANGE_MEMBERSHIP_FILE", str(secret))
    environment = ConfiguredEnvironment(SiloConfig())
    async with environment.table() as table, environment.storages() as storages:
        known = await table.read()
        await storages["default"].write(ANN, "s", b"1", None)
        await logins.give("app", "two")
        secret.write_text(logins.url("app", "two"))
        await end_sessions(logins)
        await after_the_lost_connection(table.read)
        assert await table.read() == known
        await after_the_lost_connection(lambda: storages["default"].read(ANN, "s"))
        assert (await storages["default"].read(ANN, "s")).etag == "1"
