"""What the bare loops share: the frames, a queue that is cut into frames, and the calls that wait for answers."""

import asyncio
import importlib
from collections.abc import Callable
from typing import Any

import msgspec

from benchmarks.contestants.load import Call
from benchmarks.contestants.worker import Target
from grange.proto.ids import GrainId
from grange.proto.message import Message, Request, Response

LIMIT = 4 << 20
FRAME_MESSAGES = 64
FRAME_BYTES = 256 << 10

Frame = list[Message]
Encode = Callable[[Frame], bytes]
Decode = Callable[[bytes], Frame]
_encode_value = msgspec.msgpack.Encoder().encode
_decode_value = msgspec.msgpack.Decoder().decode


def frames_of(name: str) -> tuple[Encode, Decode]:
    """Return the functions of grange that write and read frames: `protobuf` or `packed`."""
    module: Any = importlib.import_module({"protobuf": "grange.proto.codec", "packed": "grange.proto.packed"}[name])
    return module.encode_frame, lambda data: module.decode_frame(data, LIMIT)


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
        """Wait for messages and take the next frame of them; both ends work at once only if a frame is not all."""
        while not self.messages:
            self.filled.clear()
            await self.filled.wait()
        return self.cut()

    def cut(self) -> Frame:
        """Take the messages of the next frame."""
        count = size = 0
        for message in self.messages[:FRAME_MESSAGES]:
            count += 1
            size += size_of(message)
            if size >= FRAME_BYTES:
                break
        frame = self.messages[:count]
        del self.messages[:count]
        return frame


class Calls(Target):
    """The calling side: numbers, futures, and how a request is put on the way."""

    def __init__(self, put: Callable[[Message], None]) -> None:
        self.put = put
        self.pending: dict[int, asyncio.Future[bytes]] = {}
        self.last = 0

    def answered(self, frame: Frame) -> None:
        """Complete the calls that wait for these answers."""
        for message in frame:
            if isinstance(message, Response):
                self.pending.pop(message.id).set_result(message.payload)

    def echo(self, caller: int) -> Call:
        """Return a call that returns its argument."""
        pending, put, grain_id = self.pending, self.put, GrainId("echo", f"hot-{caller}")
        create_future = asyncio.get_running_loop().create_future

        async def call(value: int | bytes) -> int | bytes:
            self.last = number = self.last + 1
            pending[number] = future = create_future()
            put(Request(number, grain_id, "echo", _encode_value((value,)), timeout_ms=30_000))
            return _decode_value(await future)

        return call


def size_of(message: Message) -> int:
    """Return the bytes of the arguments or of the result."""
    return len(message.args if isinstance(message, Request) else getattr(message, "payload", b""))


def answers(frame: Frame) -> Frame:
    """Return the answer to each request of a frame: its argument, decoded and encoded again."""
    requests = (message for message in frame if isinstance(message, Request))
    return [Response(one.id, _encode_value(_decode_value(one.args)[0])) for one in requests]
