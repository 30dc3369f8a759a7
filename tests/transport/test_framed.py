"""The connection over a fake stream: its unsent messages, its waiters, and its ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from grange.errors import ConnectionLost
from grange.proto.codec import decode_frame, encode_frame
from grange.proto.handshake import Hello, Role, answer
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.message import Message, Reason, Rejection, Request, Response
from grange.transport.framed import FramedConnection
from grange.transport.handshake import Handshake
from grange.transport.options import TransportOptions
from tests.transport.net import CLUSTER, Inbox, request

LIMIT = 2**20


class Pipe:
    """A stream whose writes wait while `gate` is closed, and whose reads wait for `incoming`."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.writing = asyncio.Event()
        self.incoming: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.ended = False
        self.released: list[Exception | None] = []
        self.reads = 0

    async def read(self) -> bytes | None:
        self.reads += 1
        item = await self.incoming.get()
        if isinstance(item, Exception):
            raise item
        return item

    async def write(self, data: bytes) -> None:
        self.writing.set()
        await self.gate.wait()
        self.written.append(data)

    async def close_writing(self) -> None:
        self.ended = True

    async def release(self, error: Exception | None) -> None:
        self.released.append(error)

    @property
    def messages(self) -> list[Message]:
        return [message for data in self.written for message in decode_frame(data, LIMIT)]


class Bench:
    """One connection under test, and the task that runs it."""

    def __init__(self, accepting: bool, **options: float) -> None:
        address = SiloAddress("h", 1, 1)
        hello = Hello(CLUSTER, Role.CLIENT, "tester")
        handshake = Handshake(hello, answer(hello, CLUSTER, address))
        self.pipe = Pipe()
        self.inbox = Inbox()
        chosen = TransportOptions(**{"close_timeout": 0.01, **options})  # type: ignore[arg-type]
        self.connection = FramedConnection(self.pipe, chosen, handshake, accepting=accepting)
        self.connection.attach(self.inbox)
        self.running = asyncio.ensure_future(self.connection.run())

    def post(self, *numbers: int) -> None:
        for number in numbers:
            self.connection.post(request(number))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench(accepting=False)
    yield made
    made.connection.kill()
    await asyncio.gather(made.running, return_exceptions=True)


async def test_a_batch_grows_while_the_last_frame_is_written(bench: Bench) -> None:
    bench.pipe.gate.clear()
    bench.post(1)
    await bench.pipe.writing.wait()
    bench.post(2, 3, 4)
    bench.pipe.gate.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [len(decode_frame(data, LIMIT)) for data in bench.pipe.written] == [1, 3]


async def test_messages_given_to_write_are_not_unsent(bench: Bench) -> None:
    bench.pipe.gate.clear()
    bench.post(1, 2)
    await bench.pipe.writing.wait()
    bench.post(3, 4)
    bench.pipe.incoming.put_nowait(ConnectionLost("reset by peer"))
    await bench.running
    assert bench.inbox.unsent == [3, 4]
    assert str(bench.inbox.endings[0][1]) == "reset by peer"
    assert [str(error) for error in bench.pipe.released] == ["reset by peer"]


async def test_close_times_out_on_a_blocked_stream(bench: Bench) -> None:
    bench.pipe.gate.clear()
    bench.post(1)
    await bench.pipe.writing.wait()
    bench.post(2)
    await bench.connection.close()
    assert bench.inbox.endings == [([request(2)], None)]
    assert len(bench.pipe.released) == 1


async def test_close_writes_then_ends_then_waits_for_the_last_answers(bench: Bench) -> None:
    bench.post(1, 2)
    closing = asyncio.ensure_future(bench.connection.close())
    while not bench.pipe.ended:
        await asyncio.sleep(0)
    assert len(bench.pipe.messages) == 2
    assert bench.inbox.endings == []
    bench.pipe.incoming.put_nowait(encode_frame([Response(1), Response(2)]))
    bench.pipe.incoming.put_nowait(None)
    await closing
    assert len(bench.inbox.messages) == 2
    assert bench.inbox.endings == [([], None)]
    assert bench.pipe.released == [None]


async def test_the_accepting_side_writes_its_last_answers_after_the_peer_has_ended() -> None:
    bench = Bench(accepting=True)
    bench.pipe.gate.clear()
    bench.connection.post(Response(1))
    await bench.pipe.writing.wait()
    bench.connection.post(Response(2))
    bench.pipe.incoming.put_nowait(None)
    while not bench.connection.closed:
        await asyncio.sleep(0)
    bench.pipe.gate.set()
    await bench.running
    assert [message.id for message in bench.pipe.messages] == [1, 2]
    assert bench.inbox.endings == [([], None)]


async def test_the_accepting_side_reads_no_further_while_its_answers_are_not_taken() -> None:
    bench = Bench(accepting=True, queue_messages=2, frame_messages=1)
    bench.pipe.gate.clear()
    bench.inbox.on_message = lambda message: bench.connection.post(Response(message.id))
    for number in range(10):
        bench.pipe.incoming.put_nowait(encode_frame([request(number)]))
    await bench.pipe.writing.wait()
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(bench.inbox.messages) == 3  # one answer is being written, two wait
    bench.pipe.gate.set()
    await bench.inbox.count(10)
    await bench.connection.close()
    assert len(bench.pipe.messages) == 10


async def test_the_opening_side_always_reads() -> None:
    """Otherwise both sides could deadlock."""
    bench = Bench(accepting=False, queue_messages=1)
    bench.pipe.gate.clear()
    bench.post(1, 2)
    assert bench.connection.full
    for number in range(5):
        bench.pipe.incoming.put_nowait(encode_frame([Response(number)]))
    await bench.inbox.count(5)
    await bench.connection.close()


async def test_an_invalid_frame_ends_the_connection_with_that_reason(bench: Bench) -> None:
    bench.pipe.incoming.put_nowait(b"\xff\xff\xff")
    await bench.running
    (_unsent, error) = bench.inbox.endings[0]
    assert isinstance(error, ConnectionLost)
    assert "invalid frame" in str(error)


async def test_only_the_request_that_cannot_be_encoded_is_refused(bench: Bench) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    bench.connection.post(request(1))
    bench.connection.post(Request(2, GrainId("cart", "\ud800"), "add", b""))
    bench.connection.post(request(3))
    (rejection,) = await bench.inbox.count(1)
    assert isinstance(rejection, Rejection)
    assert (rejection.id, rejection.reason) == (2, Reason.INVALID_CALL)
    while not bench.pipe.written:
        await asyncio.sleep(0)
    assert [message.id for message in bench.pipe.messages] == [1, 3]


async def test_a_failed_write_takes_its_reason_from_the_reader() -> None:
    bench = Bench(accepting=False, close_timeout=5.0)

    async def fail(_: bytes) -> None:
        raise ConnectionLost("stream removed")

    bench.pipe.write = fail  # type: ignore[method-assign]
    bench.post(1)
    await asyncio.sleep(0)
    bench.pipe.incoming.put_nowait(None)  # the peer had ended in order
    await bench.running
    assert bench.inbox.endings == [([], None)]


async def test_cancelling_run_ends_the_connection() -> None:
    bench = Bench(accepting=True)
    await asyncio.sleep(0)
    bench.running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await bench.running
    assert isinstance(bench.inbox.endings[0][1], ConnectionLost)
    assert len(bench.pipe.released) == 1
    await bench.connection.close()
