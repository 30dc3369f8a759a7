"""gRPC's client and server streams as `framed.ByteStream`. Errors of gRPC become ConnectionLost here."""

from __future__ import annotations

import asyncio
from typing import TypeAlias

import grpc
import grpc.aio

from grange.errors import ConnectionLost
from grange.proto.codec import InvalidFrame

Call: TypeAlias = "grpc.aio.StreamStreamCall[bytes, bytes]"
Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"


class ClientStream:
    """The opening side's stream, and its own channel."""

    def __init__(self, channel: grpc.aio.Channel, call: Call) -> None:
        self._channel = channel
        self._call = call

    async def read(self) -> bytes | None:
        try:
            data = await self._call.read()
        except asyncio.CancelledError:
            raise _cancelled_or_lost("the connection was cancelled") from None
        except grpc.aio.AioRpcError as error:
            raise ConnectionLost(f"the connection broke: {error.details()}") from None
        return frame_or_end(data)

    async def write(self, data: bytes) -> None:
        try:
            await self._call.write(data)
        except asyncio.CancelledError:
            raise _cancelled_or_lost("the connection was cancelled") from None
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            raise ConnectionLost(f"the connection broke while writing: {error}") from None

    async def close_writing(self) -> None:
        await self._call.done_writing()

    async def release(self, error: Exception | None) -> None:
        self._call.cancel()
        await self._channel.close()


class ServerStream:
    """The accepting side's stream. gRPC ends it when the method returns."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def read(self) -> bytes | None:
        try:
            data = await self._context.read()
        except asyncio.CancelledError:
            raise _cancelled_or_lost("the peer broke the connection") from None
        except Exception as error:  # the server of gRPC raises internal types here
            raise ConnectionLost(f"the connection broke: {error}") from None
        return frame_or_end(data)

    async def write(self, data: bytes) -> None:
        try:
            await self._context.write(data)
        except asyncio.CancelledError:
            raise _cancelled_or_lost("the peer broke the connection") from None
        except Exception as error:
            raise ConnectionLost(f"the connection broke while writing: {error}") from None

    async def close_writing(self) -> None:
        """Nothing to do: the return of the method closes the stream."""

    async def release(self, error: Exception | None) -> None:
        if error is not None:
            invalid = isinstance(error.__cause__, InvalidFrame)
            self._context.set_code(grpc.StatusCode.INVALID_ARGUMENT if invalid else grpc.StatusCode.ABORTED)
            self._context.set_details(str(error))


def frame_or_end(data: object) -> bytes | None:
    """Convert the result of a gRPC read: bytes stay, the marker for the end of the stream becomes None."""
    return data if isinstance(data, bytes) else None


def _cancelled_or_lost(loss: str) -> BaseException:
    """Return CancelledError if this task was cancelled, else ConnectionLost: gRPC raises CancelledError for both."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        return asyncio.CancelledError()
    return ConnectionLost(loss)
