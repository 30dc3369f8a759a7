"""The transport on uvloop, the event loop of production."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from grange.errors import ConnectionLost, SiloUnavailable
from tests.transport.net import Inbox, Net, request

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture
def run_on_uvloop() -> Run:
    """`asyncio.run`, on uvloop (which is not built for Windows)."""
    if sys.platform == "win32":
        pytest.skip("uvloop is not built for Windows")
    import uvloop

    return uvloop.run


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("kind", ["grpc", "grpc+tls", "tcp", "tcp+tls"])
def test_a_connection_works_from_start_to_end_on_uvloop(run_on_uvloop: Run, kind: str, times: int) -> None:
    """Also on several loops one after another in one process: gRPC's poller must not keep the first."""

    async def life() -> None:
        net = Net(kind)
        silo, connection, inbox = await net.pair(echo=True)
        for number in range(1_000):
            await connection.ready()
            connection.post(request(number))
        await inbox.count(1_000)
        await connection.close()
        assert inbox.endings == [([], None)]
        assert silo.listener is not None
        await silo.listener.close()
        with pytest.raises(SiloUnavailable):
            await net.transport().connect("127.0.0.1", silo.address.port, net.hello(), Inbox())
        await asyncio.gather(*(transport.close() for transport in net.transports))

    for _ in range(times):
        run_on_uvloop(life())


@pytest.mark.parametrize("kind", ["grpc", "grpc+tls", "tcp", "tcp+tls"])
def test_a_broken_peer_on_uvloop(run_on_uvloop: Run, kind: str) -> None:
    async def life() -> None:
        net = Net(kind)
        silo, connection, inbox = await net.pair()
        connection.post(request(1))
        await silo.inbox.count(1)
        silo.connection.kill()
        assert isinstance((await inbox.ended())[1], ConnectionLost)
        await asyncio.gather(*(transport.close() for transport in net.transports))

    run_on_uvloop(life())


@pytest.mark.parametrize("kind", ["grpc", "grpc+tls", "tcp", "tcp+tls"])
def test_no_task_outlives_its_transport(run_on_uvloop: Run, kind: str) -> None:
    async def life() -> None:
        net = Net(kind)
        await net.pair(echo=True)
        await net.pair(echo=True)
        await asyncio.gather(*(transport.close() for transport in net.transports))
        ours = [task for task in asyncio.all_tasks() if "frames" in task.get_name() or "connection" in task.get_name()]
        assert ours == []

    run_on_uvloop(life())
