"""The bounded send queue of one connection, for every transport."""

from __future__ import annotations

import asyncio
from collections import deque

from grange.errors import PayloadTooLarge, SiloUnavailable
from grange.proto.message import Message, Rejection, Request, Response, Status
from grange.transport.options import DEFAULT_PAYLOAD_LIMIT, TransportOptions

WORTH_A_FRAME = 32
"""Messages. A frame of this many is worth its own cost, so a writer that can write at once need not wait for more."""


def frame_size(queued: int, most: int) -> int:
    """How many of the queued messages the next frame takes, at most `most`: half of a long queue that would fit.

    A frame with a whole backlog makes the two processes take turns: the peer idles until it comes, and this side until
    its answers come. A half keeps the peer busy while this side makes the other half. Halves of a short queue are not
    worth their cost: a frame costs as much as twenty messages (ADR 0068). A queue over `most` leaves a rest anyway.
    """
    if queued < 2 * WORTH_A_FRAME or queued > most:
        return min(queued, most)
    return (queued + 1) // 2


class Outbox:
    """The messages that were posted and not yet written, in order, and the callers that wait for room.

    The connection puts and takes. The bound holds for requests if a caller awaits `ready()` and then puts without
    another await. Answers are put without waiting; they are bounded because the connection stops reading requests while
    its outbox is full.

    due: it holds enough for a frame that keeps the peer busy while this side fills the next.
    """

    __slots__ = (
        "_bytes", "_ended", "_frame_bytes", "_frame_messages", "_header_limit", "_max_bytes", "_max_messages",
        "_messages", "_payload_limit", "_waiters", "_writing", "due",
    )  # fmt: skip

    def __init__(self, options: TransportOptions, peer_limit: int) -> None:
        self._messages: deque[tuple[Message, int]] = deque()
        self._bytes = 0
        self._writing = 0  # bytes of the frame that is being written
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._ended = False
        self.due = False
        self._max_messages = options.queue_messages
        self._max_bytes = options.queue_bytes
        self._frame_messages = options.frame_messages
        self._frame_bytes = options.frame_bytes
        self._payload_limit = min(options.payload_limit, peer_limit or DEFAULT_PAYLOAD_LIMIT)
        self._header_limit = options.header_limit

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def payload_limit(self) -> int:
        """The largest payload in bytes that `put` accepts: the lower of both sides' limits."""
        return self._payload_limit

    @property
    def full(self) -> bool:
        """True while the queue has no room for another request."""
        return len(self._messages) >= self._max_messages or self._bytes >= self._max_bytes

    @property
    def unwritten(self) -> int:
        """The bytes that were put and are not yet written to the stream."""
        return self._bytes + self._writing

    def put(self, message: Message) -> bool:
        """Append a message, and return whether there is room for more: not `full`.

        Raises PayloadTooLarge when the message is over a limit.
        """
        if isinstance(message, Response):
            payload, header = len(message.payload), 0
        elif isinstance(message, Request):
            grain_id = message.grain_id
            payload = len(message.args)
            # A character has at most four bytes in UTF-8. For the exact size the text would have to be encoded.
            header = 4 * (len(grain_id.type) + len(grain_id.key) + len(message.method)) + len(message.context)
        else:
            payload, header = _control_size(message)
        if payload > self._payload_limit or header > self._header_limit:
            raise self._too_large(message, payload, header)
        messages = self._messages
        messages.append((message, payload + header))
        size = self._bytes = self._bytes + payload + header
        queued = len(messages)
        if queued >= WORTH_A_FRAME or size >= self._frame_bytes:
            self.due = True
        return queued < self._max_messages and size < self._max_bytes

    def take(self) -> list[Message]:
        """Remove and return the messages of the next frame: at least one, unless the queue is empty."""
        messages = self._messages
        batch: list[Message] = []
        size = 0
        for _ in range(frame_size(len(messages), self._frame_messages)):
            message, message_size = messages.popleft()
            batch.append(message)
            size += message_size
            if size >= self._frame_bytes:
                break
        self._bytes -= size
        self._writing = size
        self.due = len(messages) >= WORTH_A_FRAME or self._bytes >= self._frame_bytes
        if self._waiters:
            self._wake()
        return batch

    def written(self) -> None:
        """The frame that was taken has been written."""
        self._writing = 0

    async def ready(self) -> None:
        """Wait until the queue has room. Raises SiloUnavailable when the connection ends first."""
        while self.full and not self._ended:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake()  # this caller was cancelled: let the next waiter use the room
                raise
        if self._ended:
            raise SiloUnavailable("the connection ended before the request could be sent")

    def close(self) -> list[Message]:
        """Return all messages that were never written, and fail all waiters."""
        self._ended = True
        unsent = [message for message, _ in self._messages]
        self._messages.clear()
        self._bytes = self._writing = 0
        self.due = False
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
        return unsent

    def _wake(self) -> None:
        if self.full:
            return
        room = self._max_messages - len(self._messages)
        while room > 0 and self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                room -= 1

    def _too_large(self, message: Message, payload: int, header: int) -> PayloadTooLarge:
        if payload > self._payload_limit:
            size, limit, part = payload, self._payload_limit, "payload"
        else:
            size, limit, part = header, self._header_limit, "grain key, method and request context"
        return PayloadTooLarge(
            f"{type(message).__name__} {message.id}: {part} of {size:,} bytes is over the limit of "
            f"{limit:,}; send less at once, stream it, or pass a reference to stored data",
            size=size,
            limit=limit,
        )


def _control_size(message: Message) -> tuple[int, int]:
    """Payload and header bytes of the messages outside the hot path. Their texts count as payload."""
    if isinstance(message, Rejection):
        return len(message.fault) + 4 * len(message.message), 0
    return 4 * len(message.text) if isinstance(message, Status) else 0, 0
