"""The limit: an echo loop on one bidirectional gRPC stream with batched frames, and no runtime at all.

Each side drains its queue into one frame whenever the stream is ready, which is how grange's transport writes.
What grange loses against this contestant is what its runtime costs: locating, turns, deadlines, isolation, faults.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import msgspec

from benchmarks.contestants.load import Call
from benchmarks.contestants.worker import Contestant, Target, main

_METHOD = "/bench.Bare/Stream"
_OPTIONS = [("grpc.max_receive_message_length", 64 << 20)]

Frame = list[tuple[int, bytes]]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Frame).decode
_decode_int = msgspec.msgpack.Decoder(int).decode
_decode_arguments = msgspec.msgpack.Decoder(tuple[int]).decode


class Outgoing:
    """Messages not yet written, and the event that wakes their writer."""

    def __init__(self) -> None:
        self.messages: Frame = []
        self.filled = asyncio.Event()

    def put(self, message: tuple[int, bytes]) -> None:
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


async def _answer(requests: AsyncIterator[Frame], context: grpc.aio.ServicerContext) -> None:
    outgoing = Outgoing()

    async def write() -> None:
        while True:
            await context.write(await outgoing.take())

    writer = asyncio.create_task(write())
    try:
        async for frame in requests:
            for number, payload in frame:
                outgoing.put((number, msgspec.msgpack.encode(_decode_arguments(payload)[0])))
    finally:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)


class Stream(Target):
    """The calling side: numbers, futures, one writer and one reader."""

    def __init__(self, call: grpc.aio.StreamStreamCall[Frame, Frame]) -> None:
        self.stream = call
        self.outgoing = Outgoing()
        self.pending: dict[int, asyncio.Future[bytes]] = {}
        self.last = 0

    async def write(self) -> None:
        """Write frames for ever."""
        while True:
            await self.stream.write(await self.outgoing.take())

    async def read(self) -> None:
        """Hand answers to those who wait for them, until the stream ends."""
        while (frame := await self.stream.read()) is not grpc.aio.EOF:
            for number, payload in frame:
                self.pending.pop(number).set_result(payload)

    def echo(self, caller: int) -> Call:
        """Answer a call whose argument comes back."""
        pending, put, encode = self.pending, self.outgoing.put, msgspec.msgpack.encode
        create_future = asyncio.get_running_loop().create_future

        async def call(value: int) -> int:
            self.last = number = self.last + 1
            pending[number] = future = create_future()
            put((number, encode((value,))))
            return _decode_int(await future)

        return call


class BareStream(Contestant):
    """The contestant."""

    packages = ("grpcio", "msgspec", "uvloop")

    @asynccontextmanager
    async def serve(self, storage: str | None) -> AsyncIterator[str]:
        """Echo whatever comes."""
        server = grpc.aio.server(options=_OPTIONS)
        handler = grpc.stream_stream_rpc_method_handler(_answer, _decode, _encode)
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
        async with grpc.aio.insecure_channel(address, options=_OPTIONS) as channel:
            stream = Stream(channel.stream_stream(_METHOD, _encode, _decode)())
            tasks = [asyncio.create_task(stream.write()), asyncio.create_task(stream.read())]
            try:
                yield stream
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    main(BareStream())
