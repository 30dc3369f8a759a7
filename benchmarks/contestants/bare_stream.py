"""The limit of gRPC: an echo loop on one bidirectional stream with batched frames, without a runtime.

Each side drains its queue in frames of at most 64 messages, as the stream takes them. The frames are grange's own,
protobuf or packed, encoded by its codec. The difference between grange and this contestant is the cost of grange's
runtime: locating, turns, deadlines, isolation, faults.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio

from benchmarks.contestants.bare import Calls, Frame, Outgoing, answers, frames_of
from benchmarks.contestants.worker import Contestant, main

_METHOD = "/bench.Bare/Stream"
_OPTIONS = [("grpc.max_receive_message_length", 8 << 20)]


class BareStream(Contestant):
    """The contestant; `--frames packed` takes the packed frames of two granges."""

    packages = ("grpcio", "protobuf", "msgspec", "uvloop")
    choices = {"frames": ("protobuf", "packed")}

    @asynccontextmanager
    async def serve(self, storage: str | None, membership: str | None) -> AsyncIterator[str]:
        """Echo every request."""
        encode, decode = frames_of(self.chosen["frames"])
        server = grpc.aio.server(options=_OPTIONS)
        handler = grpc.stream_stream_rpc_method_handler(_answer, decode, encode)
        service = grpc.method_handlers_generic_handler("bench.Bare", {"Stream": handler})
        server.add_generic_rpc_handlers((service,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(0)

    @asynccontextmanager
    async def drive(self, address: str) -> AsyncIterator[Calls]:
        """Open the one stream."""
        encode, decode = frames_of(self.chosen["frames"])
        outgoing = Outgoing()
        calls = Calls(outgoing.put)
        async with grpc.aio.insecure_channel(address, options=_OPTIONS) as channel:
            stream: grpc.aio.StreamStreamCall[Frame, Frame] = channel.stream_stream(_METHOD, encode, decode)()

            async def write_frames() -> None:
                while True:
                    await stream.write(await outgoing.take())

            async def read_frames() -> None:
                while (frame := await stream.read()) is not grpc.aio.EOF:
                    calls.answered(frame)

            tasks = [asyncio.create_task(write_frames()), asyncio.create_task(read_frames())]
            try:
                yield calls
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
            for answer in answers(frame):
                outgoing.put(answer)
    finally:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)


if __name__ == "__main__":
    main(BareStream())
