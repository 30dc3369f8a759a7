"""The core of every connection, independent of the medium: it queues, delivers in order, and ends exactly once.

`framed.py` adds a stream of frames (gRPC), `tcp_connection.py` a plain socket, and `paired.py` two ends in one process
(the memory network and the simulation).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import chain

from grange.errors import SiloUnavailable
from grange.observability.counters import TrafficFigures
from grange.proto.handshake import Hello, Welcome
from grange.proto.message import Message, Reason, Rejection, Request
from grange.security.certificate import Certificate
from grange.transport.handshake import Handshake, report
from grange.transport.options import TransportOptions
from grange.transport.outbox import Outbox
from grange.transport.provider import Receiver


class BaseConnection(ABC):
    """Implements `provider.Connection`; a medium implements the methods of the last section.

    `_closing` is set when nothing more may be posted, `_ended` when the connection has ended, `_released` when all
    resources are free. The medium sets `_writer_idle` when its writer waits for the next message.
    """

    def __init__(
        self, options: TransportOptions, handshake: Handshake, *, accepting: bool, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._options = options
        self._handshake = handshake
        self._accepting = accepting
        self._loop = loop
        self._peer_name = handshake.peer_name(accepting)
        self._frames = handshake.frames
        self._outbox = Outbox(options, handshake.peer_payload_limit(accepting))
        self._receiver: Receiver | None = None
        self._arriving: list[Message] = []  # the frame that the receiver is taking
        self._writer_idle = False
        self._closing = False
        self._ended = False
        self._error: Exception | None = None
        self._last_received = loop.time()
        self._released: asyncio.Future[None] = loop.create_future()
        self._paused = False
        self._on_written: Callable[[], None] | None = None
        self._traffic = TrafficFigures()

    def attach(self, receiver: Receiver) -> None:
        """Set the receiver. Called once, before messages move; reports `lost` at once if the connection has ended."""
        self._receiver = receiver
        if self._ended:
            self._report_end()

    # -- provider.Connection --

    @property
    def hello(self) -> Hello:
        return self._handshake.hello

    @property
    def welcome(self) -> Welcome:
        return self._handshake.welcome

    @property
    def certificate(self) -> Certificate | None:
        return self._handshake.certificate

    @property
    def remote_address(self) -> str:
        return self._handshake.address

    @property
    def closed(self) -> bool:
        return self._closing

    @property
    def full(self) -> bool:
        return self._outbox.full

    @property
    def last_received(self) -> float:
        return self._last_received

    @property
    def payload_limit(self) -> int:
        return self._outbox.payload_limit

    @property
    def unwritten(self) -> int:
        return self._outbox.unwritten

    def count(self, traffic: TrafficFigures) -> None:
        self._traffic = traffic

    def watch(self, on_written: Callable[[], None]) -> None:
        self._on_written = on_written

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self._wake_reader()

    def post(self, message: Message) -> bool:
        if self._closing:
            raise SiloUnavailable(f"the connection to {self._peer_name} is closed")
        has_room = self._outbox.put(message)
        if self._writer_idle:
            self._wake_writer()
        return has_room

    async def ready(self) -> None:
        await self._outbox.ready()

    async def close(self) -> None:
        """Implements `provider.Connection.close`.

        Only the first caller drains, and its cancellation ends the connection at once. A later caller waits for the
        end; its cancellation ends only its own wait.
        """
        if not self._closing:
            self._closing = True
            try:
                async with asyncio.timeout(self._options.close_timeout):
                    await self._drain()
            except TimeoutError:
                pass  # `_end_in_order` reports the rest of the queue as unsent
            finally:
                self._end_in_order()
        await asyncio.shield(self._released)

    @abstractmethod
    def kill(self, error: Exception | None = None) -> None: ...

    # -- called by the medium --

    def _deliver(self, messages: list[Message], size: int) -> None:
        """Hand an arrived frame of `size` bytes to the receiver. Empties the list if the connection ends meanwhile."""
        self._last_received = self._loop.time()
        traffic = self._traffic
        traffic.messages_received += len(messages)
        traffic.bytes_received += size
        receiver = self._receiver
        if receiver is None or self._ended:
            return
        self._arriving = messages
        left = iter(messages)
        for message in left:  # once, unless the receiver raises: it takes the others, too
            try:
                receiver.receive(chain((message,), left))
            except Exception as error:
                report(error)
        self._arriving = []

    def _encode(self, batch: list[Message]) -> bytes:
        """The frame of a batch, without its messages that cannot be encoded. Requests among those are rejected."""
        try:
            frame = self._frames.encode(batch)
        except (ValueError, TypeError):
            batch = [message for message in batch if self._can_be_encoded(message)]
            frame = self._frames.encode(batch)
        traffic = self._traffic
        traffic.messages_sent += len(batch)
        traffic.bytes_sent += len(frame)
        return frame

    def _can_be_encoded(self, message: Message) -> bool:
        try:
            self._frames.encode([message])
        except (ValueError, TypeError) as error:
            report(error)
            if isinstance(message, Request) and self._receiver is not None:
                self._receiver.receive([Rejection(message.id, Reason.INVALID_CALL, f"cannot be sent: {error}")])
            return False
        return True

    def _written(self) -> None:
        """Report that a frame has been written."""
        self._outbox.written()
        if self._on_written is not None:
            self._on_written()

    def _end(self, error: Exception | None) -> None:
        """End the connection and report `lost`. Only the first call has an effect."""
        if self._ended:
            return
        self._closing = self._ended = True
        self._error = error
        self._arriving.clear()  # the receiver gets no more of a frame that it is taking
        self._on_end()
        self._report_end()

    def _report_end(self) -> None:
        if self._receiver is None:
            return  # `attach` reports it
        try:
            self._receiver.lost(self._outbox.close(), self._error)
        except Exception as fault:
            report(fault)

    # -- implemented by each medium --

    @abstractmethod
    def _wake_writer(self) -> None:
        """Start the idle writer, because a message was queued."""

    @abstractmethod
    def _wake_reader(self) -> None:
        """Continue to take frames from the peer, because `resume` was called."""

    @abstractmethod
    async def _drain(self) -> None:
        """Return when everything queued has been written and the peer has sent its last answers."""

    @abstractmethod
    def _end_in_order(self) -> None:
        """End the connection without an error, if it has not ended, and notify the peer."""

    @abstractmethod
    def _on_end(self) -> None:
        """Stop moving messages: the connection has ended. Called once."""
