"""How a live connection moves messages, on both transports."""

from __future__ import annotations

import asyncio
import contextvars

import pytest

from grange.errors import PayloadTooLarge
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.message import Cancel, Encoding, Message, Reason, Rejection, Request, Response, Status
from tests.transport.net import Inbox, Net, collect_reports, request

EVERY_KIND: list[Message] = [
    Request(1, GrainId("cart", "ann/ü"), "add", b"[]", Encoding.JSON, 30_000, b"\x80", True, 2**40),
    Request(2, GrainId("cart", ""), "", b""),
    Response(3, b"\x01"),
    Response(4, b"fault", failed=True),
    Rejection(5, Reason.NOT_HERE, "moved", SiloAddress("h", 1, 2**50), 100, b"fault"),
    Rejection(6, Reason.CANCELLED),
    Cancel(7),
    Status(8, "queued at 3"),
]


@pytest.mark.parametrize("packed", [True, False])
async def test_every_kind_of_message_arrives_as_it_was(net: Net, packed: bool) -> None:
    silo, connection, inbox = await net.pair(packed_frames=packed)
    for message in EVERY_KIND:
        connection.post(message)
        silo.connection.post(message)
    assert await silo.inbox.count(len(EVERY_KIND)) == EVERY_KIND
    assert await inbox.count(len(EVERY_KIND)) == EVERY_KIND


async def test_order_is_kept_over_many_frames_in_both_directions(net: Net) -> None:
    _silo, connection, inbox = await net.pair(echo=True)
    for number in range(5_000):
        await connection.ready()
        connection.post(request(number))
    assert [message.id for message in await inbox.count(5_000)] == list(range(5_000))


async def test_the_receiver_gets_copies(net: Net) -> None:
    silo, connection, _inbox = await net.pair()
    sent = request(1)
    connection.post(sent)
    (received,) = await silo.inbox.count(1)
    assert isinstance(received, Request)
    received.method = "changed"
    assert sent.method == "add"


async def test_messages_do_not_run_in_the_context_of_their_sender(net: Net) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="clean")
    seen: list[str] = []

    silo, connection, _inbox = await net.pair()
    silo.inbox.on_message = lambda _: seen.append(variable.get())
    token = variable.set("of the sender")
    connection.post(request(1))
    variable.reset(token)
    await silo.inbox.count(1)
    assert seen == ["clean"]


async def test_a_full_queue_makes_requests_wait_and_releases_them_one_by_one(net: Net) -> None:
    silo, connection, _inbox = await net.pair(queue_messages=10)
    for number in range(10):
        assert not connection.full
        await connection.ready()
        connection.post(request(number))
    assert connection.full
    room = asyncio.ensure_future(connection.ready())
    assert not room.done()
    await room
    assert not connection.full
    await silo.inbox.count(10)


async def test_a_full_queue_counts_bytes_too(net: Net) -> None:
    silo, connection, _inbox = await net.pair(queue_bytes=1000)
    connection.post(request(1, bytes(900)))
    assert not connection.full
    connection.post(request(2, bytes(900)))
    assert connection.full
    await connection.ready()
    await silo.inbox.count(2)


async def test_a_paused_side_reads_on_when_it_resumes(net: Net) -> None:
    """A silo pauses a connection while it holds too many requests of it, again and again."""
    silo, connection, inbox = await net.pair(frame_messages=1)
    for times in range(1, 4):
        silo.connection.pause()
        for number in range(20):
            connection.post(request(number))
        silo.connection.post(Response(times))
        await inbox.count(times)
        assert len(silo.inbox.messages) <= 20 * (times - 1) + 2, "the frame that is on its way, and one after it"
        silo.connection.resume()
        await silo.inbox.count(20 * times)
    assert [message.id for message in silo.inbox.messages] == [*range(20)] * 3


async def test_the_largest_payload_passes_and_one_byte_more_is_refused(net: Net) -> None:
    """F35: the limit is named, and the connection survives."""
    silo, connection, inbox = await net.pair(echo=True)
    limit = 4 * 1024 * 1024
    with pytest.raises(PayloadTooLarge, match="4,194,304") as caught:
        connection.post(request(1, bytes(limit + 1)))
    assert (caught.value.size, caught.value.limit) == (limit + 1, limit)
    with pytest.raises(PayloadTooLarge):
        silo.connection.post(Response(1, bytes(limit + 1)))
    for number in range(3):
        connection.post(request(number, bytes(limit)))
    answers = await inbox.count(3)
    assert [len(answer.payload) for answer in answers if isinstance(answer, Response)] == [limit] * 3


async def test_a_key_over_the_limit_is_refused(net: Net) -> None:
    _silo, connection, _inbox = await net.pair()
    with pytest.raises(PayloadTooLarge, match="grain key"):
        connection.post(request(1, key="k" * 70_000))


async def test_the_smaller_limit_of_both_sides_applies(net: Net) -> None:
    """A message over the limit of the peer is not sent: it would break the stream."""
    silo = await net.silo(net.transport(payload_limit=1000))
    connection = await net.transport().connect("127.0.0.1", silo.address.port, net.hello(), Inbox())
    assert connection.payload_limit == silo.connection.payload_limit == 1000
    with pytest.raises(PayloadTooLarge):
        connection.post(request(1, bytes(1001)))
    connection.post(request(2, bytes(1000)))
    await silo.inbox.count(1)
    low = await net.transport(payload_limit=500).connect("127.0.0.1", silo.address.port, net.hello(), Inbox())
    assert not low.closed
    with pytest.raises(PayloadTooLarge):
        silo.connections[1].post(Response(1, bytes(501)))


async def test_only_the_request_that_cannot_be_encoded_is_refused(net: Net) -> None:
    """Also in memory: a test must not accept what a network refuses."""
    reports = collect_reports()
    silo, connection, inbox = await net.pair()
    for number, key in ((1, "ann"), (2, "\ud800"), (3, "eve")):
        connection.post(request(number, key=key))
    assert [message.id for message in await silo.inbox.count(2)] == [1, 3]
    (rejection,) = await inbox.count(1)
    assert isinstance(rejection, Rejection)
    assert (rejection.id, rejection.reason) == (2, Reason.INVALID_CALL)
    assert [type(report) for report in reports] == [UnicodeEncodeError]


async def test_an_exception_of_a_receiver_is_reported_and_ends_nothing(net: Net) -> None:
    reports = collect_reports()
    silo, connection, _inbox = await net.pair()

    def picky(message: Message) -> None:
        if message.id == 1:
            raise RuntimeError("no ones here")

    silo.inbox.on_message = picky
    connection.post(request(1))
    connection.post(request(2))
    assert [message.id for message in await silo.inbox.count(1)] == [2]
    assert str(reports[0]) == "no ones here"


async def test_a_connection_that_ends_in_its_receiver_delivers_no_more_of_the_frame(net: Net) -> None:
    """`lost` is the last call of a receiver."""
    silo, connection, _inbox = await net.pair()
    arrived: list[int] = []

    def kill_at_two(message: Message) -> None:
        arrived.append(message.id)
        if message.id == 2:
            silo.connection.kill()

    silo.inbox.on_message = kill_at_two
    for number in (1, 2, 3):
        connection.post(request(number))
    await silo.inbox.ended()
    await silo.connection.close()
    assert arrived == [1, 2]
    assert len(silo.inbox.endings) == 1


async def test_a_connection_knows_when_it_last_received_a_frame(net: Net) -> None:
    """MEM-13: at first the time of the handshake, then of each received frame; sent frames do not count."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    silo, connection, inbox = await net.pair()
    ends = (connection, silo.connection)
    assert all(began <= end.last_received <= loop.time() for end in ends)
    at_first = [end.last_received for end in ends]
    connection.post(request(1))
    await silo.inbox.count(1)
    assert connection.last_received == at_first[0]
    assert silo.connection.last_received > at_first[1]
    silo.connection.post(Response(1))
    await inbox.count(1)
    assert connection.last_received > at_first[0]
