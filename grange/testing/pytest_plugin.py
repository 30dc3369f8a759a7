"""The pytest plugin of grange: fixtures for tests of grains, all prefixed `grange_`.

It is found by pytest when grange is installed. The fixtures import what they need only when a test asks for them, so
that a test run without grains pays nothing and coverage tools see every import.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack
from importlib import import_module
from typing import Any

import pytest
import pytest_asyncio

ClusterFactory = Callable[..., Awaitable[Any]]
"""`await grange_cluster([Cart], silos=2)`: a running `TestCluster` that ends with the test."""


@pytest_asyncio.fixture
async def grange_cluster() -> AsyncGenerator[ClusterFactory]:
    """Starts test clusters: `cluster = await grange_cluster([Cart], silos=2)`. Arguments are `TestCluster`'s."""
    cluster_class = import_module("grange.testing.cluster").TestCluster
    async with AsyncExitStack() as clusters:

        async def start(*args: Any, **options: Any) -> Any:
            return await clusters.enter_async_context(cluster_class(*args, **options))

        yield start


@pytest.fixture(scope="session")
def grange_redis() -> Generator[str]:
    """URL of a real Redis or Valkey, started for the session (`TEST_REDIS_URL` names another)."""
    with import_module("grange.testing.servers").redis_server() as url:
        yield url


@pytest.fixture(scope="session")
def grange_postgres() -> Generator[str]:
    """DSN of a real Postgres, started for the session (`TEST_POSTGRES_DSN` names another)."""
    with import_module("grange.testing.servers").postgres_server() as dsn:
        yield dsn
