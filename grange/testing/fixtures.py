"""The fixtures of grange's pytest plugin, all prefixed `grange_`. `pytest_plugin.py` registers them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from grange.servers.postgres import postgres_server
from grange.servers.redis import redis_server
from grange.testing.cluster import TestCluster

ClusterFactory = Callable[..., Awaitable[TestCluster]]
"""`await grange_cluster([Cart], silos=2)`: a running `TestCluster`, closed at the end of the test."""


@pytest_asyncio.fixture
async def grange_cluster() -> AsyncGenerator[ClusterFactory]:
    """Starts test clusters: `cluster = await grange_cluster([Cart], silos=2)`. Arguments are `TestCluster`'s."""
    async with AsyncExitStack() as clusters:

        async def start(*args: Any, **options: Any) -> TestCluster:
            return await clusters.enter_async_context(TestCluster(*args, **options))

        yield start


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
