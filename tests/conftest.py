"""Fixtures of real servers: started once per session, and empty for every test."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis
from hypothesis import HealthCheck, settings

from grange.servers.postgres import postgres_server
from grange.servers.redis import REDIS_ENVIRONMENT, redis_server
from grange.testing.postgres import fresh_database

# On a shared machine the time of an example proves nothing.
settings.register_profile("grange", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("grange")

TESTS = Path(__file__).parent
SERVER_FIXTURES = {"redis_server_url", "redis_url", "postgres_dsn", "postgres_url"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that need a server or processes, so that `make check` can leave them to `make test`."""
    for item in items:
        if SERVER_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.servers)
        if any(item.path.is_relative_to(TESTS / folder) for folder in ("processes", "hostile")):
            item.add_marker(pytest.mark.processes)


@pytest.fixture(scope="session")
def redis_server_url() -> Iterator[str]:
    """One Redis for the session. Of a Redis named by the environment, each worker uses its own database."""
    with redis_server() as url:
        yield _worker_database(url) if REDIS_ENVIRONMENT in os.environ else url


@pytest.fixture
def redis_url(redis_server_url: str) -> str:
    """An empty Redis database."""
    with redis.Redis.from_url(redis_server_url) as client:
        client.flushdb()
    return redis_server_url


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """One Postgres for the session, as a user who may create databases."""
    with postgres_server() as dsn:
        yield dsn


@pytest.fixture
async def postgres_url(postgres_dsn: str) -> AsyncIterator[str]:
    """An empty Postgres database of this test's own."""
    async with fresh_database(postgres_dsn) as url:
        yield url


def _worker_database(url: str) -> str:
    """This worker's database on the server of the environment; it must be empty, because tests flush it."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    parts = urlsplit(url)
    lent = urlunsplit(parts._replace(path=f"/{int(parts.path.strip('/') or 0) + worker}"))
    with redis.Redis.from_url(lent) as client:
        if client.dbsize():
            pytest.fail(f"{REDIS_ENVIRONMENT}: {lent} holds keys, and the tests would flush them")
    return lent
