"""Connections over a plain socket through a proxy that is cut: each end finds out by the signs of life."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from grange.errors import ConnectionLost
from grange.proto.message import Response
from grange.transport.provider import Connection
from grange.transport.tcp_connection import TcpConnection
from tests.transport.net import FakeSilo, Inbox, Net, request

BRIEF = {"keepalive_time": 0.2, "keepalive_timeout": 0.4}


class Proxy:
    """Passes bytes on between one client and one server, as long as the direction is not cut. Reports no end."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self.there = asyncio.Event()
        self.back = asyncio.Event()
        self.bytes_back = 0

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.there.set()
        self.back.set()
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        far, there = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [back, there]
        self._tasks += [
            asyncio.create_task(self._pump(near, there, self.there)),
            asyncio.create_task(self._pump(far, back, self.back)),
        ]

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passes: asyncio.Event) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                await passes.wait()
                if passes is self.back:
                    self.bytes_back += len(data)
                writer.write(data)


class Line:
    def __init__(self, silo: FakeSilo, proxy: Proxy, connection: Connection, inbox: Inbox) -> None:
        self.silo = silo
        self.proxy = proxy
        self.connection = connection
        self.inbox = inbox


@pytest.fixture(params=["tcp", "tcp+tls"])
async def line(request: pytest.FixtureRequest) -> AsyncIterator[Line]:
    net = Net(request.param)
    silo = await net.silo(net.transport(**BRIEF))
    proxy = Proxy(silo.address.port)
    port = await proxy.start()
    inbox = Inbox()
    connection = await net.transport(**BRIEF).connect("127.0.0.1", port, net.hello(), inbox)
    yield Line(silo, proxy, connection, inbox)
    await asyncio.gather(*(transport.close() for transport in net.transports))
    await proxy.close()


@pytest.mark.parametrize("cut", ["there", "back", "both"])
async def test_a_cut_line_ends_the_connection_of_the_side_that_hears_nothing(line: Line, cut: str) -> None:
    """F10, F11: a cut in one direction too. The ends close no socket towards each other: the proxy reports nothing."""
    if cut != "back":
        line.proxy.there.clear()
    if cut != "there":
        line.proxy.back.clear()
    deaf = {"there": [line.silo.inbox], "back": [line.inbox], "both": [line.inbox, line.silo.inbox]}[cut]
    for inbox in deaf:
        _unsent, error = await inbox.ended()
        assert isinstance(error, ConnectionLost)
        assert "no sign of life" in str(error)


async def test_an_idle_connection_stays(line: Line) -> None:
    """Each side shows life, so many keepalive times pass without a message."""
    seen = 0
    while line.proxy.bytes_back < seen + 40:  # ten marks
        seen = seen or line.proxy.bytes_back
        await asyncio.sleep(0.05)
    assert line.inbox.endings == line.silo.inbox.endings == []
    line.connection.post(request(1))
    await line.silo.inbox.count(1)


async def test_a_side_that_does_not_read_does_not_take_its_peer_for_dead(line: Line) -> None:
    """While frames are held, signs of life are not read; they must not be missed."""
    line.silo.connection.pause()
    line.connection.post(request(1))
    await line.silo.inbox.count(1)  # the hold takes effect after the next frame
    seen = line.proxy.bytes_back
    while line.proxy.bytes_back < seen + 40:
        await asyncio.sleep(0.05)
    assert line.inbox.endings == line.silo.inbox.endings == []
    line.silo.connection.resume()
    line.connection.post(request(2))
    await line.silo.inbox.count(2)
    line.silo.connection.post(Response(2))
    await line.inbox.count(1)


@pytest.mark.parametrize("reason", ["late", "held"])
async def test_a_ping_is_unanswered_only_if_its_answer_could_be_heard(line: Line, reason: str) -> None:
    """After a stop of this process, and while frames are held, the answer may wait in the system."""
    connection, now = line.connection, asyncio.get_running_loop().time()
    assert isinstance(connection, TcpConnection)

    def look(late: float) -> None:
        """As ten seconds after a ping, without a sign of life since, by a timer that is late."""
        assert connection._ping_timer is not None
        connection._ping_timer.cancel()
        connection._socket.heard, connection._pinged_at = now - 11, now - 10
        connection._keep_alive(now - late)

    if reason == "held":
        connection._socket.hold()
    look(1.5 if reason == "late" else 0)
    assert not connection.closed
    connection._socket.proceed()
    look(0)
    assert connection.closed
    assert "no sign of life for 11" in str(line.inbox.endings[0][1])
