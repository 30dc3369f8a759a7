"""A connection over any stream of frames: queue, writer, reader and the order in which it all ends."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any, Protocol

from grange.errors import ConnectionLost, SiloUnavailable
from grange.proto.codec import InvalidFrame, decode_frame, encode_frame
from grange.proto.handshake import Hello, Welcome
from grange.proto.message import Message, Reason, Rejection, Request
from grange.transport.greeting import Greeting, report
from grange.transport.options import TransportOptions
from grange.transport.outbox import Outbox
from grange.transport.provider import Receiver


class ByteStream(Protocol):
    """What a `FramedConnection` needs from a network library. Every failure is raised as ConnectionLost."""

    async def read(self) -> bytes | None:
        """The next frame, or None at the orderly end."""
        ...

    async def write(self, data: bytes) -> None:
        """Hand one frame over; returns when the stream is ready for another."""
        ...

    async def end(self) -> None:
        """Say that nothing more will be written; reading goes on."""
        ...

    async def release(self, error: Exception | None) -> None:
        """Free everything. With an error the end is a break, and the peer is told so where that is possible."""
        ...


class FramedConnection:
    """See `provider.Connection`. `run` does the work and has one owner, who awaits it.

    The writer takes whatever has queued up while the last frame was on its way, so batches grow with the load
    and a lone message never waits. The accepting side reads no further while its answers are not taken.
    """

    def __init__(self, stream: ByteStream, options: TransportOptions, greeting: Greeting, *, accepting: bool) -> None:
        self._stream = stream
        self._options = options
        self._greeting = greeting
        self._accepting = accepting
        self._peer_name = greeting.hello.name if accepting else str(greeting.welcome.address)
        peer_limit = greeting.hello.payload_limit if accepting else greeting.welcome.payload_limit
        self._outbox = Outbox(options, peer_limit)
        self._receiver: Receiver | None = None
        self._closing = False
        self._ended = False
        self._broken: Exception | None = None
        self._given: Exception | None = None
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._heard_at = loop.time()
        self._wakeup: asyncio.Future[None] | None = None
        self._stop: asyncio.Future[None] = loop.create_future()
        self._over: asyncio.Future[None] = loop.create_future()

    # -- the contract (provider.Connection) --

    @property
    def hello(self) -> Hello:
        return self._greeting.hello

    @property
    def welcome(self) -> Welcome:
        return self._greeting.welcome

    @property
    def closed(self) -> bool:
        return self._closing

    @property
    def full(self) -> bool:
        return self._outbox.full

    @property
    def heard_at(self) -> float:
        return self._heard_at

    @property
    def payload_limit(self) -> int:
        return self._outbox.payload_limit

    def post(self, message: Message) -> None:
        if self._closing:
            raise SiloUnavailable(f"the connection to {self._peer_name} is closed")
        self._outbox.put(message)
        if self._wakeup is not None:
            self._wake()

    async def ready(self) -> None:
        await self._outbox.ready()

    async def close(self) -> None:
        self._closing = True
        self._wake()
        try:
            async with asyncio.timeout(self._options.close_timeout):
                await asyncio.shield(self._over)
        except TimeoutError:
            self._halt(None)
            await asyncio.shield(self._over)
        finally:
            self._halt(None)

    def abort(self, error: Exception | None = None) -> None:
        self._broken = self._broken or error or ConnectionLost("the other side broke the connection")
        self._halt(error)

    # -- life --

    def report_to(self, receiver: Receiver) -> None:
        """Say who receives. Comes before `run`, and tells `lost` at once if the connection was ended already."""
        self._receiver = receiver
        if self._stop.done():
            self._end(self._given)

    async def run(self, first: bytes | None = None) -> None:
        """Write the frame `first`, then move messages until the connection ends.

        `lost` was told and everything is free when this returns, whichever way it returns.
        """
        tasks: list[asyncio.Task[None]] = []
        error: Exception | None = ConnectionLost(f"the connection to {self._peer_name} broke")
        try:
            if first is not None:
                # Not by the writer, which may be cancelled: gRPC cannot end a stream amid its first write.
                await self._stream.write(first)
            tasks = [self._task(self._read(), "read frames"), self._task(self._write(), "write frames")]
            error = await self._until_over(*tasks)
        except ConnectionLost as fault:
            error = fault
        finally:
            self._broken = self._broken or error
            self._end(error)
            for task in tasks:
                task.cancel()
            try:
                await asyncio.gather(*tasks, return_exceptions=True)
                await self._stream.release(self._broken)
            finally:
                self._over.set_result(None)

    def _task(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        # Messages of years must not run in the context of the call that happened to open the connection.
        return self._loop.create_task(work, name=name, context=contextvars.Context())

    async def _until_over(self, reader: asyncio.Task[None], writer: asyncio.Task[None]) -> Exception | None:
        """Wait for the end and see it through. Returns what broke the connection, None for an orderly end."""
        await asyncio.wait({reader, writer, self._stop}, return_when=asyncio.FIRST_COMPLETED)
        if self._stop.done():
            return None
        if reader.done():
            fault = _fault(reader)
            if fault is None and self._accepting:
                self._closing = True  # the peer has nothing to ask any more, and waits for the last answers
                self._wake()
                await self._patiently(writer)
            return fault
        if _fault(writer) is None and not self._accepting:
            await self._stream.end()
        if _fault(writer) is None and self._accepting:
            return None
        # A failed write says little; the reader is about to learn why, or that the peer ended in good order.
        await self._patiently(reader)
        return _fault(reader) if reader.done() else _fault(writer)

    async def _patiently(self, task: asyncio.Task[None]) -> None:
        await asyncio.wait({task, self._stop}, timeout=self._options.close_timeout, return_when=asyncio.FIRST_COMPLETED)

    def _halt(self, error: Exception | None) -> None:
        self._end(error)
        if not self._stop.done():
            self._given = error
            self._stop.set_result(None)

    def _end(self, error: Exception | None) -> None:
        self._closing = True
        if self._ended or self._receiver is None:
            return
        self._ended = True
        unsent = self._outbox.end()
        try:
            self._receiver.lost(unsent, error)
        except Exception as fault:
            report(fault)

    # -- moving --

    async def _read(self) -> None:
        assert self._receiver is not None
        limit = self._options.frame_limit
        outbox = self._outbox
        receive = self._receiver.receive
        now = self._loop.time
        while (data := await self._stream.read()) is not None:
            self._heard_at = now()
            try:
                messages = decode_frame(data, limit)
            except InvalidFrame as error:
                raise ConnectionLost(f"{self._peer_name} sent an invalid frame: {error}") from error
            for message in messages:
                try:
                    receive(message)
                except Exception as error:
                    report(error)
            if self._accepting and outbox.full:
                await outbox.ready()

    async def _write(self) -> None:
        outbox = self._outbox
        write = self._stream.write
        while True:
            while not outbox:
                if self._closing:
                    return
                self._wakeup = self._loop.create_future()
                await self._wakeup
            batch = outbox.take()
            try:
                data = encode_frame(batch)
            except (ValueError, TypeError):
                data = self._encode_what_can_be(batch)
            await write(data)

    def _wake(self) -> None:
        wakeup, self._wakeup = self._wakeup, None
        if wakeup is not None and not wakeup.done():
            wakeup.set_result(None)

    def _encode_what_can_be(self, batch: list[Message]) -> bytes:
        """One bad message must not take its neighbours along: a bad request is refused on the spot."""
        good: list[Message] = []
        for message in batch:
            try:
                encode_frame([message])
                good.append(message)
            except (ValueError, TypeError) as error:
                report(error)
                if isinstance(message, Request) and self._receiver is not None:
                    self._receiver.receive(Rejection(message.id, Reason.INVALID_CALL, f"cannot be sent: {error}"))
        return encode_frame(good)


def _fault(task: asyncio.Task[None]) -> Exception | None:
    """What a finished task raised. Tasks here raise ConnectionLost only; anything else is our own mistake."""
    error = task.exception() if task.done() and not task.cancelled() else None
    if error is None or isinstance(error, ConnectionLost):
        return error
    if not isinstance(error, Exception):
        raise error
    report(error)
    return ConnectionLost(f"grange failed to serve the connection: {error!r}")
