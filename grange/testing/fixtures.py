"""The fixture `grange_cluster` of the pytest plugin of grange. Servers are in `servers.py`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest_asyncio

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
