"""The limit: an echo loop on one bidirectional gRPC stream with batched frames, without a runtime.

Each side drains its queue into one frame whenever the stream is ready, as grange's transport does. The frames are
grange's own, encoded by its codec. The difference between grange and this contestant is the cost of grange's runtime:
locating, turns, deadlines, isolation, faults.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import msgspec

from benchmarks.contestants.load import Call
from benchmarks.contestants.worker import Contestant, Target, main
from grange.proto.codec import decode_frame, encode_frame
from grange.proto.ids import GrainId
from grange.proto.message import Message, Request, Response

_METHOD = "/bench.Bare/Stream"
_LIMIT = 4 << 20

Frame = list[Message]
_encode_value = msgspec.msgpack.Encoder().encode
_decode_result = msgspec.msgpack.Decoder(int).decode
_decode_arguments = msgspec.msgpack.Decoder(tuple[int]).decode


class Outgoing:
    """Messages not yet written, and the event that wakes their writer."""

    def __init__(self) -> None:
        self.messages: Frame = []
        self.filled = asyncio.Event()

    def put(self, message: Message) -> None:
        """Queue one message for the next frame."""
        self.messages.append(message)
        self.filled.set()

    async def take(self) -> Frame:
        """Wait for messages and take all of them."""
        while not self.messages:
            self.filled.clear()
            await self.filled.wait()
        messages, self.messages = self.messages, []
        return messages


class Stream(Target):
    """The calling side: numbers, futures, one writer and one reader."""

    def __init__(self, call: grpc.aio.StreamStreamCall[Frame, Frame]) -> None:
        self.stream = call
        self.outgoing = Outgoing()
        self.pending: dict[int, asyncio.Future[bytes]] = {}
        self.last = 0

    async def write_frames(self) -> None:
        """Write frames until cancelled."""
        while True:
            await self.stream.write(await self.outgoing.take())

    async def read_frames(self) -> None:
        """Complete the calls that wait for answers, until the stream ends."""
        while (frame := await self.stream.read()) is not grpc.aio.EOF:
            for message in frame:
                if isinstance(message, Response):
                    self.pending.pop(message.id).set_result(message.payload)

    def echo(self, caller: int) -> Call:
        """Return a call that returns its argument."""
        pending, put, grain_id = self.pending, self.outgoing.put, GrainId("echo", f"hot-{caller}")
        create_future = asyncio.get_running_loop().create_future

        async def call(value: int) -> int:
            self.last = number = self.last + 1
            pending[number] = future = create_future()
            put(Request(number, grain_id, "echo", _encode_value((value,)), timeout_ms=30_000))
            return _decode_result(await future)

        return call


class BareStream(Contestant):
    """The contestant."""

    packages = ("grpcio", "protobuf", "msgspec", "uvloop")

    @asynccontextmanager
    async def serve(self, storage: str | None) -> AsyncIterator[str]:
        """Echo every request."""
        server = grpc.aio.server()
        handler = grpc.stream_stream_rpc_method_handler(_answer, _decode, encode_frame)
        service = grpc.method_handlers_generic_handler("bench.Bare", {"Stream": handler})
        server.add_generic_rpc_handlers((service,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(0)

    @asynccontextmanager
    async def drive(self, address: str) -> AsyncIterator[Stream]:
        """Open the one stream."""
        async with grpc.aio.insecure_channel(address) as channel:
            stream = Stream(channel.stream_stream(_METHOD, encode_frame, _decode)())
            tasks = [asyncio.create_task(stream.write_frames()), asyncio.create_task(stream.read_frames())]
            try:
                yield stream
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


async def _answer(requests: AsyncIterator[Frame], context: grpc.aio.ServicerContext[Frame, Frame]) -> None:
    outgoing = Outgoing()

    async def write_frames() -> None:
        while True:
            await context.write(await outgoing.take())

    writer = asyncio.create_task(write_frames())
    try:
        async for frame in requests:
            for request in (message for message in frame if isinstance(message, Request)):
                result = _encode_value(_decode_arguments(request.args)[0])
                outgoing.put(Response(request.id, result))
    finally:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)


def _decode(data: bytes) -> Frame:
    return decode_frame(data, _LIMIT)


if __name__ == "__main__":
    main(BareStream())
