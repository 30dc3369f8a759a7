"""Frames on one socket: any cut of the bytes, limits before memory, and frames that are held."""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.errors import ConnectionLost
from grange.transport.tcp_socket import ALIVE, END, PING, PORTION, PORTION_FRAMES, FrameSocket

LIMIT = 1000


class Wire:
    """The part of a transport of asyncio that a `FrameSocket` uses, around one end of a real socket pair."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.far.setblocking(False)
        self.reading = True
        self.closing = False
        self.written = b""

    def get_extra_info(self, _name: str) -> socket.socket:
        return self.near

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == 0

    def is_closing(self) -> bool:
        return self.closing

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write(self, data: bytes) -> None:
        self.written += bytes(data)

    def abort(self) -> None:
        self.closing = True


class Sink:
    """Keeps what arrives; holds the socket after the frames named in `hold_after`."""

    def __init__(self) -> None:
        self.arrived: list[bytes | str] = []
        self.hold_after: set[bytes] = set()
        self.socket: FrameSocket | None = None

    def on_frame(self, data: bytes) -> None:
        self.arrived.append(data)
        if data in self.hold_after and self.socket is not None:
            self.socket.hold()

    def on_end(self) -> None:
        self.arrived.append("end")

    def on_invalid(self, reason: str) -> None:
        self.arrived.append(reason)

    def on_writable(self) -> None:
        self.arrived.append("writable")

    def on_closed(self, error: ConnectionLost) -> None:
        self.arrived.append("closed")


class Bench:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.wire, self.sink = Wire(), Sink()
        self.socket = FrameSocket(LIMIT, loop, lambda _: self.sink, lambda _: None)
        self.sink.socket = self.socket
        self.socket.connection_made(self.wire)  # type: ignore[arg-type]

    @property
    def kept(self) -> int:
        return len(self.socket._buffer)

    def close(self) -> None:
        self.socket.connection_lost(None)
        self.wire.near.close()
        self.wire.far.close()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def bench(loop: asyncio.AbstractEventLoop) -> Iterator[Bench]:
    made = Bench(loop)
    yield made
    made.close()


def framed(*frames: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(data)) + data for data in frames)


def mark(length: int) -> bytes:
    return struct.pack(">I", length)


@given(st.lists(st.binary(max_size=LIMIT), max_size=8), st.lists(st.integers(0, 10_000), max_size=12))
def test_frames_arrive_whole_however_their_bytes_are_cut(frames: list[bytes], cuts: list[int]) -> None:
    loop = asyncio.new_event_loop()
    bench = Bench(loop)
    data = framed(*frames) + mark(END)
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    for start, stop in itertools.pairwise(places):
        bench.socket.data_received(data[start:stop])
    assert bench.sink.arrived == [*frames, "end"]
    assert bench.kept == 0
    bench.close()
    loop.close()


def test_a_frame_over_the_limit_is_refused_before_a_byte_of_it_is_kept(bench: Bench) -> None:
    bench.socket.data_received(framed(b"good") + mark(LIMIT + 1) + bytes(LIMIT))
    assert bench.sink.arrived == [b"good", "a frame of 1,001 bytes is over the limit of 1,000"]
    bench.socket.data_received(bytes(10 * LIMIT))
    assert bench.kept == 0
    assert len(bench.sink.arrived) == 2


def test_the_longest_frame_is_kept_until_it_is_whole_and_not_longer(bench: Bench) -> None:
    data = framed(bytes(LIMIT))
    for number in range(len(data) - 1):
        bench.socket.data_received(data[number : number + 1])
    assert bench.sink.arrived == []
    bench.socket.data_received(data[-1:])
    assert bench.sink.arrived == [bytes(LIMIT)]
    assert bench.kept == 0


def test_a_held_socket_delivers_nothing_and_is_not_read(bench: Bench) -> None:
    bench.sink.hold_after = {b"2"}
    bench.socket.data_received(framed(b"1", b"2", b"3") + mark(END))
    assert bench.sink.arrived == [b"1", b"2"]
    assert not bench.wire.reading
    bench.socket.data_received(framed(b"4"))  # read before the hold took effect
    bench.socket.proceed()
    assert bench.sink.arrived == [b"1", b"2", b"3", "end", b"4"]
    assert bench.wire.reading


def test_the_end_of_the_stream_comes_after_frames_that_are_held(bench: Bench) -> None:
    bench.sink.hold_after = {b"1"}
    bench.socket.data_received(framed(b"1", b"2"))
    assert bench.socket.eof_received()
    assert not bench.wire.closing
    bench.socket.proceed()
    assert bench.sink.arrived == [b"1", b"2"]
    assert bench.wire.closing


def test_the_loop_does_other_work_between_portions(loop: asyncio.AbstractEventLoop, bench: Bench) -> None:
    frame = bytes(LIMIT)
    number = 3 * PORTION // LIMIT
    bench.socket.data_received(framed(*[frame] * number))
    delivered = []
    while not bench.wire.reading:
        delivered.append(len(bench.sink.arrived))
        loop.call_soon(loop.stop)
        loop.run_forever()
    assert [count * LIMIT // PORTION for count in delivered] == [1, 2]
    assert len(bench.sink.arrived) == number


@pytest.mark.parametrize("shortest", [framed(b""), mark(PING), mark(ALIVE), mark(END)])
def test_the_shortest_frames_and_marks_are_taken_in_portions_too(
    loop: asyncio.AbstractEventLoop, bench: Bench, shortest: bytes
) -> None:
    bench.socket.data_received(shortest * (3 * PORTION_FRAMES) + framed(b"last"))
    for _ in range(3):
        assert bench.sink.arrived[-1:] != [b"last"]
        loop.call_soon(loop.stop)
        loop.run_forever()
    assert bench.sink.arrived[-1] == b"last"
    assert bench.wire.reading


def test_a_hold_outlasts_the_end_of_a_portion(loop: asyncio.AbstractEventLoop, bench: Bench) -> None:
    frame = bytes(LIMIT)
    bench.socket.data_received(framed(*[frame] * (2 * PORTION // LIMIT)))
    before = len(bench.sink.arrived)
    bench.socket.hold()
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert len(bench.sink.arrived) == before
    bench.socket.proceed()
    assert len(bench.sink.arrived) > before


def test_life_is_shown_only_between_whole_frames(bench: Bench) -> None:
    """Another thread calls this; half a frame must not be cut by a mark."""
    bench.socket.show_life()
    assert bench.wire.far.recv(100) == mark(ALIVE)
    bench.socket.pause_writing()
    bench.socket.show_life()
    with pytest.raises(BlockingIOError):
        bench.wire.far.recv(100)
    bench.socket.resume_writing()
    bench.socket.show_life()
    assert bench.wire.far.recv(100) == mark(ALIVE)
    assert bench.sink.arrived == ["writable"]


def test_what_the_system_does_not_take_is_written_by_the_loop(bench: Bench) -> None:
    bench.socket.limit = 2**30
    data = bytes(2**24)
    bench.socket.write(data)
    received = bytearray()
    while True:
        try:
            received += bench.wire.far.recv(2**20)
        except BlockingIOError:
            break
    assert bytes(received) + bench.wire.written == framed(data)


def test_the_rest_of_a_sign_of_life_comes_before_what_follows(bench: Bench) -> None:
    """The system may take a part of it only, and the other thread does not wait."""

    class Narrow:
        """Takes two bytes at once."""

        def __init__(self, own: socket.socket) -> None:
            self.own = own

        def send(self, data: bytes) -> int:
            return self.own.send(data[:2])

        def close(self) -> None:
            self.own.close()

    whole = bench.socket._socket
    assert whole is not None
    bench.socket._socket = Narrow(whole)  # type: ignore[assignment]
    bench.socket.show_life()
    bench.socket.show_life()  # none while a part is owed
    bench.socket._socket = whole
    bench.socket.write(b"next")
    assert bench.wire.far.recv(100) == mark(ALIVE) + framed(b"next")


def test_a_peer_is_alive_that_was_not_read_or_has_read(bench: Bench) -> None:
    """Its signs of life wait in the system while the socket is held; and what it reads, it must be alive to read."""
    bench.socket.heard = -1000.0
    bench.socket.hold()
    assert bench.socket.heard == -1000.0
    bench.socket.proceed()
    assert bench.socket.heard >= 0
    bench.socket.heard = -1000.0
    bench.socket.pause_writing()
    bench.socket.resume_writing()
    assert bench.socket.heard >= 0


def test_a_ping_is_not_answered_while_data_waits(bench: Bench) -> None:
    """A peer that does not read could fill the memory of this side with answers."""
    bench.socket.pause_writing()
    bench.socket.data_received(mark(PING))
    with pytest.raises(BlockingIOError):
        bench.wire.far.recv(100)
    assert bench.wire.written == b""


def test_nothing_is_written_after_an_abort(bench: Bench) -> None:
    bench.socket.abort()
    bench.socket.write(b"late")
    with pytest.raises(BlockingIOError):
        bench.wire.far.recv(100)
