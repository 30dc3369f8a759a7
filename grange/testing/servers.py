"""Real servers for a test session: the fixtures `grange_redis` and `grange_postgres` of grange's pytest plugin.

A test that kills or restarts a server starts its own: `with PostgresServer() as server: server.url`. The room `servers`
starts them; this file is where tests import them from.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from grange.servers.postgres import PostgresServer, postgres_server
from grange.servers.redis import RedisServer, redis_server

__all__ = ["PostgresServer", "RedisServer", "grange_postgres", "grange_redis", "postgres_server", "redis_server"]


@pytest.fixture(scope="session")
def grange_redis() -> Generator[str]:
    """URL of a real Redis or Valkey: started for the session, or the one in `TEST_REDIS_URL`."""
    with redis_server() as url:
        yield url


@pytest.fixture(scope="session")
def grange_postgres() -> Generator[str]:
    """DSN of a real Postgres: started for the session, or the one in `TEST_POSTGRES_DSN`."""
    with postgres_server() as dsn:
        yield dsn
