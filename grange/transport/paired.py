"""Connections with both ends in one event loop: messages move as loop callbacks instead of frames."""

from __future__ import annotations

import asyncio
import contextvars
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Self

from grange.proto.message import Message
from grange.transport.connection import BaseConnection
from grange.transport.handshake import Handshake
from grange.transport.options import TransportOptions
from grange.transport.provider import Receiver

Deliver = Callable[[list[Message], int], None]
"""Takes the messages of an arrived frame, and its bytes."""


class PairedConnection(BaseConnection):
    """One end of a pair; `join` links the two ends.

    `_in_flight` holds one callback per batch that has left this end and not arrived at the other, in order. `_held`
    counts the arrivals that a cut line holds back; they are completed when the line is repaired.
    """

    def __init__(
        self, options: TransportOptions, handshake: Handshake, *, accepting: bool, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(options, handshake, accepting=accepting, loop=loop)
        # Callbacks must not run in the context of the poster: a request context would leak across silos.
        self._context = contextvars.Context()
        self._peer: Self | None = None
        self._writer_idle = True
        self._in_flight: deque[Callable[[], None]] = deque()
        self._held = 0
        self._arrived: asyncio.Future[None] | None = None

    def join(self, peer: Self, receiver: Receiver) -> None:
        """Link this end to its peer; messages move from now on. Reports `lost` at once if this end has ended."""
        self._peer = peer
        self.attach(receiver)
        if not self._ended:
            self._on_joined()
            self._wake_writer()

    # -- writing --

    def _wake_writer(self) -> None:
        if self._writer_idle and not self._ended and self._outbox:
            self._writer_idle = False
            self._loop.call_soon(self._write, context=self._context)

    def _write(self) -> None:
        """Send one batch, if the line and the peer accept it; called by the loop."""
        self._writer_idle = True
        peer = self._peer
        if self._ended or peer is None or not self._outbox or peer._reads_nothing() or self._write_blocked():
            return
        self._send_batch(peer._deliver)
        self._written()
        if self._accepting:
            peer._wake_writer()  # there is room for answers again, so the peer's requests are read again
        self._wake_writer()
        self._check_arrived()

    def _reads_nothing(self) -> bool:
        return self._paused or (self._accepting and self.full)

    def _wake_reader(self) -> None:
        if self._peer is not None:
            self._peer._wake_writer()

    # -- arriving --

    def _on_arrival(self) -> None:
        """Complete the next arrival, or hold it while the line is cut; called by the loop when it is due."""
        if self._held or self._line_is_cut():
            self._held += 1
        else:
            self._complete_one()

    def _complete_held(self) -> None:
        """Complete all held arrivals, because the line is repaired."""
        while self._held and not self._line_is_cut():
            self._held -= 1
            self._complete_one()

    def _complete_one(self) -> None:
        if self._in_flight:
            self._in_flight.popleft()()
        self._check_arrived()

    # -- draining --

    async def _wait_until_arrived(self) -> None:
        """Wait until everything posted at this end has arrived at the other."""
        if not self._ended and self._unfinished():
            self._arrived = self._loop.create_future()
            await self._arrived

    def _check_arrived(self) -> None:
        if self._arrived is not None and not self._arrived.done() and not self._unfinished():
            self._arrived.set_result(None)

    def _unfinished(self) -> bool:
        return bool(self._outbox or self._in_flight)

    def _on_end(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)
        if not self._released.done():
            self._released.set_result(None)

    # -- implemented by each medium --

    @abstractmethod
    def _on_joined(self) -> None:
        """Register this end with the network."""

    @abstractmethod
    def _write_blocked(self) -> bool:
        """Whether messages must stay in the queue at present."""

    @abstractmethod
    def _line_is_cut(self) -> bool:
        """Whether the line to the peer is cut at present."""

    @abstractmethod
    def _send_batch(self, deliver: Deliver) -> None:
        """Take one batch from the outbox, and have `deliver` called when it arrives at the peer."""
