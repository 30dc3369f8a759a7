"""The peer is a separate process that is killed or stopped."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from grange.errors import ConnectionLost, SiloUnavailable
from grange.proto.message import Request, Response
from tests.transport.net import Inbox, Net, request
from tests.transport.pairs import StoredPairs

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["grpc", "grpc+tls", "tcp", "tcp+tls"])
async def net(request: pytest.FixtureRequest) -> AsyncIterator[Net]:
    made = Net(request.param)
    yield made
    await asyncio.gather(*(transport.close() for transport in made.transports))


@pytest.fixture
async def echo(net: Net, tmp_path: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A process that answers every request, and its port."""
    folder: list[str] = []
    if net.pairs is not None:
        StoredPairs.store(net.pairs, tmp_path)
        folder = [str(tmp_path)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.transport.echo_process", net.kind, *folder),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    yield process, int(await asyncio.wait_for(process.stdout.readline(), 30))
    if process.returncode is None:
        process.kill()
    await process.wait()


async def test_a_killed_peer_is_lost_at_once(net: Net, echo: tuple[asyncio.subprocess.Process, int]) -> None:
    process, port = echo
    inbox = Inbox()
    connection = await net.transport().connect("127.0.0.1", port, net.hello(), inbox)
    for number in range(100):
        connection.post(request(number))
    await inbox.count(100)
    process.send_signal(signal.SIGKILL)
    unsent, error = await inbox.ended()
    assert unsent == []
    assert isinstance(error, ConnectionLost)
    assert connection.closed
    with pytest.raises(SiloUnavailable):
        connection.post(request(100))
    with pytest.raises(SiloUnavailable):
        await net.transport().connect("127.0.0.1", port, net.hello(), Inbox())


async def test_under_load_no_message_is_both_answered_and_unsent(
    net: Net, echo: tuple[asyncio.subprocess.Process, int]
) -> None:
    process, port = echo
    inbox = Inbox()
    connection = await net.transport(queue_messages=64).connect("127.0.0.1", port, net.hello(), inbox)
    posted: list[int] = []

    async def caller() -> None:
        while not connection.closed:
            try:
                await connection.ready()
            except SiloUnavailable:
                return
            posted.append(len(posted))
            connection.post(request(posted[-1], bytes(1000)))

    callers = asyncio.gather(*(caller() for _ in range(100)))
    await inbox.count(1000)
    process.send_signal(signal.SIGKILL)
    await inbox.ended()
    await callers
    answered = {message.id for message in inbox.messages if isinstance(message, Response)}
    unsent = [message.id for message in inbox.endings[0][0] if isinstance(message, Request)]
    assert answered.isdisjoint(unsent)
    assert unsent == posted[len(posted) - len(unsent) :]


async def test_a_stopped_peer_is_lost_after_keepalive(net: Net, echo: tuple[asyncio.subprocess.Process, int]) -> None:
    """F3 at the level of the transport: without `ping_timeout_ms` this takes a minute."""
    process, port = echo
    inbox = Inbox()
    transport = net.transport(keepalive_time=1.0, keepalive_timeout=1.0)
    await transport.connect("127.0.0.1", port, net.hello(), inbox)
    process.send_signal(signal.SIGSTOP)
    _unsent, error = await inbox.ended()
    assert isinstance(error, ConnectionLost)


async def test_a_peer_whose_loop_is_blocked_is_not_lost(net: Net, echo: tuple[asyncio.subprocess.Process, int]) -> None:
    """F7 at the level of the transport: threads show life, so a turn that blocks ends no connection."""
    _process, port = echo
    inbox = Inbox()
    transport = net.transport(keepalive_time=1.0, keepalive_timeout=3.0)
    connection = await transport.connect("127.0.0.1", port, net.hello(), inbox)
    connection.post(request(1, b"block 6"))
    await inbox.count(1)
    assert inbox.endings == []
    await connection.close()
    assert inbox.endings == [([], None)]
