"""All transports behind one fixture: every test that uses `net` runs once over each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.transport.net import Net


@pytest.fixture(params=["memory", "grpc", "grpc+tls", "tcp", "tcp+tls"])
async def net(request: pytest.FixtureRequest) -> AsyncIterator[Net]:
    """A network of each kind; all its transports are closed afterwards."""
    made = Net(request.param)
    yield made
    await asyncio.gather(*(transport.close() for transport in made.transports))
