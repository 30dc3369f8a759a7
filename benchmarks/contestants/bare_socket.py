"""The limit of a plain socket: an echo loop with frames, each behind its length, without a runtime.

Messages that are put in one step of the event loop leave together at its end, at most 32 or 256 KiB in a frame. The
frames are those of grange, packed ones by default. Nothing is bounded here, and nothing closes a silent connection, as
a road for calls must do.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

from benchmarks.contestants.bare import FRAME_BYTES, Calls, Frame, answers, frames_of, size_of
from benchmarks.contestants.worker import Contestant, main
from grange.proto.message import Message

_FLUSH_AT = 32
_LENGTH = struct.Struct(">I")


class Framed(asyncio.Protocol):
    """One end of the socket."""

    def __init__(self, frames: str, received: Callable[["Framed", Frame], None]) -> None:
        self.received = received
        self.encode, self.decode = frames_of(frames)
        self.loop = asyncio.get_running_loop()
        self.queue: Frame = []
        self.size = 0
        self.buffer = bytearray()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: keep the transport. That of uvloop is no subclass of those of asyncio."""
        self.transport = cast("asyncio.Transport", transport)

    def put(self, message: Message) -> None:
        """Queue one message; it leaves at the end of this step of the loop, or at once with a full frame."""
        self.queue.append(message)
        self.size += size_of(message)
        if len(self.queue) == _FLUSH_AT or self.size >= FRAME_BYTES:
            self.flush()
        elif len(self.queue) == 1:
            self.loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what is queued as one frame."""
        if self.queue and self.transport is not None:
            data = self.encode(self.queue)
            self.queue, self.size = [], 0
            self.transport.write(_LENGTH.pack(len(data)) + data)

    def data_received(self, data: bytes) -> None:
        """asyncio: take the complete frames."""
        self.buffer += data
        start, buffer = 0, self.buffer
        while len(buffer) - start >= _LENGTH.size:
            end = start + _LENGTH.size + _LENGTH.unpack_from(buffer, start)[0]
            if len(buffer) < end:
                break
            self.received(self, self.decode(bytes(memoryview(buffer)[start + _LENGTH.size : end])))
            start = end
        del buffer[:start]


class BareSocket(Contestant):
    """The contestant."""

    packages = ("msgspec", "uvloop")
    choices = {"frames": ("packed", "protobuf")}

    @asynccontextmanager
    async def serve(self, storage: str | None, membership: str | None) -> AsyncIterator[str]:
        """Echo every request."""
        loop, frames = asyncio.get_running_loop(), self.chosen["frames"]
        server = await loop.create_server(lambda: Framed(frames, _answer), "127.0.0.1", 0)
        async with server:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    @asynccontextmanager
    async def drive(self, address: str) -> AsyncIterator[Calls]:
        """Open the one connection."""
        host, _, port = address.rpartition(":")
        loop, frames = asyncio.get_running_loop(), self.chosen["frames"]
        transport, framed = await loop.create_connection(
            lambda: Framed(frames, lambda _, frame: calls.answered(frame)), host, int(port)
        )
        calls = Calls(framed.put)
        try:
            yield calls
        finally:
            transport.close()


def _answer(framed: Framed, frame: Frame) -> None:
    for answer in answers(frame):
        framed.put(answer)


if __name__ == "__main__":
    main(BareSocket())
