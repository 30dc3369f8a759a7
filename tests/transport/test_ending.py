"""How a connection ends, on both transports: `lost` exactly once, and `unsent` exact."""

from __future__ import annotations

import asyncio

import pytest

from grange.errors import ConnectionLost, SiloUnavailable
from grange.proto.ids import SiloAddress
from grange.proto.message import Response
from grange.transport.provider import Connection
from tests.transport.net import FakeSilo, Inbox, Net, collect_reports, request


async def test_close_writes_what_is_queued_and_waits_for_the_answers(net: Net) -> None:
    silo, connection, inbox = await net.pair(echo=True)
    for number in range(1_000):
        connection.post(request(number))
    await connection.close()
    assert len(silo.inbox.messages) == 1_000
    assert [message.id for message in inbox.messages] == list(range(1_000))
    assert inbox.endings == [([], None)]
    await silo.inbox.ended()
    assert silo.inbox.endings == [([], None)]


async def test_the_accepting_side_closes_in_order_too(net: Net) -> None:
    silo, connection, inbox = await net.pair()
    for number in range(1_000):
        silo.connection.post(Response(number))
    await silo.connection.close()
    await inbox.ended()
    assert len(inbox.messages) == 1_000
    assert inbox.endings == [([], None)]
    assert silo.inbox.endings == [([], None)]
    assert connection.closed
    assert silo.connection.closed


async def test_posting_after_close_is_refused(net: Net) -> None:
    _silo, connection, inbox = await net.pair()
    closing = asyncio.ensure_future(connection.close())
    await asyncio.sleep(0)
    assert connection.closed
    with pytest.raises(SiloUnavailable):
        connection.post(request(1))
    await closing
    await connection.close()  # a second close does nothing
    assert inbox.endings == [([], None)]


async def test_kill_returns_exactly_the_messages_that_were_never_sent(net: Net) -> None:
    silo, connection, inbox = await net.pair()
    for number in range(5):
        connection.post(request(number))
    await silo.inbox.count(5)
    for number in range(5, 8):
        connection.post(request(number))
    error = ConnectionLost("declared dead")
    connection.kill(error)
    assert inbox.unsent == [5, 6, 7]
    assert inbox.endings[0][1] is error
    connection.kill()
    await connection.close()
    assert len(inbox.endings) == 1
    _unsent, peer_error = await silo.inbox.ended()
    # gRPC may show the accepting side a broken stream as an ended one; no caller waits for an answer there
    assert isinstance(peer_error, ConnectionLost) or (net.kind.startswith("grpc") and peer_error is None)
    assert [message.id for message in silo.inbox.messages] == [0, 1, 2, 3, 4]


async def test_kill_right_after_connecting_reports_the_end_before_it_returns(net: Net) -> None:
    silo, connection, inbox = await net.pair()
    connection.post(request(1))
    connection.kill(ConnectionLost("not needed"))
    assert inbox.unsent == [1]
    assert str(inbox.endings[0][1]) == "not needed"
    await silo.inbox.ended()
    assert silo.inbox.messages == []


async def test_a_connection_may_be_killed_while_it_is_being_accepted(net: Net) -> None:
    silo = FakeSilo(SiloAddress("127.0.0.1", 1, 1), echo=False)
    accept = silo.accept

    def accept_and_kill(connection: Connection) -> Inbox:
        connection.kill(ConnectionLost("full up"))
        return accept(connection)

    listener = await net.transport().listen("127.0.0.1", 0, silo.admit, accept_and_kill)
    inbox = Inbox()
    try:
        await net.transport().connect("127.0.0.1", listener.port, net.hello(), inbox)
    except SiloUnavailable:
        assert inbox.endings == []  # the connection was never established
    else:
        await inbox.ended()
    await silo.inbox.ended()
    assert len(silo.inbox.endings) == 1


async def test_the_accepting_side_can_kill_the_connection(net: Net) -> None:
    silo, _connection, inbox = await net.pair()
    silo.connection.post(Response(1))
    silo.connection.kill()
    assert silo.inbox.unsent == [1]
    _unsent, error = await inbox.ended()
    assert isinstance(error, ConnectionLost)
    assert len(inbox.endings) == 1


async def test_closing_a_listener_closes_the_connections_accepted_on_it(net: Net) -> None:
    transport = net.transport()
    silo, other = await net.silo(transport), await net.silo(transport)
    here, there = Inbox(), Inbox()
    client = net.transport()
    await client.connect("127.0.0.1", silo.address.port, net.hello(), here)
    alive = await client.connect("127.0.0.1", other.address.port, net.hello(), there)
    assert silo.listener is not None
    await silo.listener.close()
    assert (await here.ended())[1] is None
    with pytest.raises(SiloUnavailable):
        await client.connect("127.0.0.1", silo.address.port, net.hello(), Inbox())
    alive.post(request(1))
    await other.inbox.count(1)
    assert there.endings == []
    again = await net.silo(transport, port=silo.address.port)
    assert again.address.port == silo.address.port


async def test_closing_a_transport_ends_everything_once(net: Net) -> None:
    transport = net.transport()
    silo = await net.silo(transport, echo=True)
    other = await net.silo(net.transport())
    inbox, outbound = Inbox(), Inbox()
    inward = await net.transport().connect("127.0.0.1", silo.address.port, net.hello(), inbox)
    outward = await transport.connect("127.0.0.1", other.address.port, net.hello(), outbound)
    outward.post(request(1))
    await transport.close()
    await transport.close()
    assert [message.id for message in other.inbox.messages] == [1]
    for ending in (inbox, outbound, silo.inbox, other.inbox):
        await ending.ended()
        assert ending.endings == [([], None)]
    assert inward.closed
    assert outward.closed


async def test_cancelling_a_close_still_ends_the_connection(net: Net) -> None:
    _silo, connection, inbox = await net.pair()
    for number in range(100):
        connection.post(request(number))
    closing = asyncio.ensure_future(connection.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    await inbox.ended()
    assert len(inbox.endings) == 1


async def test_cancelling_a_second_close_leaves_the_first_to_complete(net: Net) -> None:
    silo, connection, inbox = await net.pair(frame_messages=1)
    for number in range(100):
        connection.post(request(number))
    first, second = (asyncio.ensure_future(connection.close()) for _ in range(2))
    await asyncio.sleep(0)
    second.cancel()
    await first
    assert second.cancelled()
    assert [message.id for message in silo.inbox.messages] == list(range(100))
    assert inbox.endings == [([], None)]


async def test_a_receiver_that_fails_in_lost_does_not_stop_the_end(net: Net) -> None:
    reports = collect_reports()
    silo, connection, inbox = await net.pair()

    def fail(*_: object) -> None:
        raise RuntimeError("in lost")

    inbox.lost = fail  # type: ignore[method-assign]
    await connection.close()
    await silo.inbox.ended()
    assert [str(each) for each in reports] == ["in lost"]
