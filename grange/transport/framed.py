"""A connection over any stream of frames: its writer, its reader, and the order in which both end."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any, Protocol

from grange.errors import ConnectionLost
from grange.proto.codec import InvalidFrame
from grange.transport.connection import BaseConnection
from grange.transport.handshake import Handshake, report
from grange.transport.options import TransportOptions


class ByteStream(Protocol):
    """The part of a network library that `FramedConnection` uses. Every failure is raised as ConnectionLost."""

    async def read(self) -> bytes | None:
        """The next frame, or None at the orderly end."""
        ...

    async def write(self, data: bytes) -> None:
        """Write one frame; return when the stream is ready for the next."""
        ...

    async def close_writing(self) -> None:
        """Close the writing half of the stream; reading continues."""
        ...

    async def release(self, error: Exception | None) -> None:
        """Free all resources. With an error the stream is aborted, and the error is sent to the peer where possible."""
        ...


class FramedConnection(BaseConnection):
    """Moves messages as frames over a `ByteStream`. One owner awaits `run`, which does all the work.

    The writer takes what was queued while the last frame was written, half of it if it is much. So batches grow with
    the load, a single message does not wait, and both ends work at once. The accepting side stops reading while its
    queue of answers is full.
    """

    def __init__(self, stream: ByteStream, options: TransportOptions, handshake: Handshake, *, accepting: bool) -> None:
        super().__init__(options, handshake, accepting=accepting, loop=asyncio.get_running_loop())
        self._stream = stream
        self._broken: Exception | None = None
        self._wakeup: asyncio.Future[None] | None = None
        self._resumed: asyncio.Future[None] | None = None
        self._stop: asyncio.Future[None] = self._loop.create_future()

    def kill(self, error: Exception | None = None) -> None:
        self._broken = self._broken or error or ConnectionLost("the other side broke the connection")
        self._end(error)

    async def run(self, first: bytes | None = None) -> None:
        """Write the frame `first`, then move messages until the connection ends.

        When this returns or raises, `lost` has been called and all resources are free.
        """
        tasks: list[asyncio.Task[None]] = []
        error: Exception | None = ConnectionLost(f"the connection to {self._peer_name} broke")
        try:
            if first is not None:
                # The writer must not do this: it may be cancelled, and gRPC cannot end a stream during its first write.
                await self._stream.write(first)
            tasks = [self._task(self._read(), "read frames"), self._task(self._write(), "write frames")]
            error = await self._wait_for_end(*tasks)
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
                self._released.set_result(None)

    def _task(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        # A separate context: the connection outlives the call that opened it, whose request context must not leak.
        return self._loop.create_task(work, name=name, context=contextvars.Context())

    async def _wait_for_end(self, reader: asyncio.Task[None], writer: asyncio.Task[None]) -> Exception | None:
        """Wait for the end and complete it. Returns the error that broke the connection, None for an orderly end."""
        await asyncio.wait({reader, writer, self._stop}, return_when=asyncio.FIRST_COMPLETED)
        if self._stop.done():
            return None
        if reader.done():
            fault = _fault(reader)
            if fault is None and self._accepting:
                self._closing = True  # the peer sends no more requests, and waits for the last answers
                self._wake_writer()
                await self._wait_for(writer)
            return fault
        if _fault(writer) is None and not self._accepting:
            await self._stream.close_writing()
        if _fault(writer) is None and self._accepting:
            return None
        # A failed write has no reason. The reader soon raises one, or reads the orderly end of the peer.
        await self._wait_for(reader)
        return _fault(reader) if reader.done() else _fault(writer)

    async def _wait_for(self, task: asyncio.Task[None]) -> None:
        """Wait for a task until the connection is stopped, at most the close time-out."""
        await asyncio.wait({task, self._stop}, timeout=self._options.close_timeout, return_when=asyncio.FIRST_COMPLETED)

    # -- ending --

    async def _drain(self) -> None:
        self._wake_writer()
        await asyncio.shield(self._released)

    def _end_in_order(self) -> None:
        self._end(None)

    def _on_end(self) -> None:
        if not self._stop.done():
            self._stop.set_result(None)

    # -- moving --

    async def _read(self) -> None:
        decode, limit = self._frames.decode, self._options.frame_limit
        outbox = self._outbox
        while (data := await self._stream.read()) is not None:
            try:
                messages = decode(data, limit)
            except InvalidFrame as error:
                raise ConnectionLost(f"{self._peer_name} sent an invalid frame: {error}") from error
            self._deliver(messages, len(data))
            del data, messages  # they must not stay in memory while this side waits
            if self._accepting and outbox.full:
                await outbox.ready()
            while self._paused:
                self._resumed = self._loop.create_future()
                await self._resumed

    async def _write(self) -> None:
        outbox = self._outbox
        write = self._stream.write
        while True:
            while not outbox:
                if self._closing:
                    return
                self._wakeup = self._loop.create_future()
                self._writer_idle = True
                await self._wakeup
            batch = outbox.take()
            data = self._encode(batch)
            del batch  # its payloads are copied into the frame; the write may wait for the peer
            await write(data)
            del data
            self._written()

    def _wake_reader(self) -> None:
        if self._resumed is not None and not self._resumed.done():
            self._resumed.set_result(None)

    def _wake_writer(self) -> None:
        self._writer_idle = False
        wakeup, self._wakeup = self._wakeup, None
        if wakeup is not None and not wakeup.done():
            wakeup.set_result(None)


def _fault(task: asyncio.Task[None]) -> Exception | None:
    """The exception of a finished task. These tasks raise ConnectionLost only; another exception is a bug of grange."""
    error = task.exception() if task.done() and not task.cancelled() else None
    if error is None or isinstance(error, ConnectionLost):
        return error
    if not isinstance(error, Exception):
        raise error
    report(error)
    return ConnectionLost(f"grange failed to serve the connection: {error!r}")
