"""One end of a simulated connection. Each end learns what happened to the other only when that could reach it."""

from __future__ import annotations

import asyncio
import contextvars
import copy
from collections import deque
from enum import Enum

from grange.errors import ConnectionLost, SiloUnavailable
from grange.proto.handshake import Hello, Welcome
from grange.proto.message import Message
from grange.testing.simulation.loop import Process
from grange.testing.simulation.network import SimulatedNetwork
from grange.transport.greeting import Greeting, report
from grange.transport.options import TransportOptions
from grange.transport.outbox import Outbox
from grange.transport.provider import Receiver


class Mark(Enum):
    """What else travels in the stream, in order with the messages."""

    NO_MORE = "the opening side has sent everything"
    END = "the stream has ended in order"
    RESET = "the stream was broken off"


Piece = list[Message] | Mark
"""What arrives at once."""


class SimulatedConnection:
    """`provider.Connection` between two processes; made in pairs by `SimulatedTransport.connect`."""

    def __init__(
        self, network: SimulatedNetwork, options: TransportOptions, ends: tuple[Process, Process], greeting: Greeting,
        accepting: bool,
    ) -> None:  # fmt: skip
        self.process, self.far = ends
        self._network = network
        self._options = options
        self._greeting = greeting
        self._accepting = accepting
        self._loop = network.loop
        # Callbacks must not run in the context of whoever posted: a request context would leak across silos.
        self._context = contextvars.Context()
        peer_limit = greeting.hello.payload_limit if accepting else greeting.welcome.payload_limit
        self._outbox = Outbox(options, peer_limit)
        self._peer: SimulatedConnection | None = None
        self._receiver: Receiver | None = None
        self._scheduled = False
        self._closing = False
        self._ended = False
        self._flying: deque[Piece] = deque()
        self._held = 0
        self._lands = 0.0
        self._idle: asyncio.Future[None] | None = None
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._heard_at = self._loop.time()

    def join(self, peer: SimulatedConnection, receiver: Receiver) -> None:
        """Plug both in; from here on messages flow. Tells `lost` at once if the connection was ended already."""
        self._peer = peer
        self._receiver = receiver
        if self._ended:
            self._tell(None)
            return
        self._network.plug(self)
        self._schedule()

    # -- the contract (provider.Connection) --

    @property
    def hello(self) -> Hello:
        return self._greeting.hello

    @property
    def welcome(self) -> Welcome:
        return self._greeting.welcome

    @property
    def closed(self) -> bool:
        return self._closing or self._ended

    @property
    def full(self) -> bool:
        return self._outbox.full

    @property
    def payload_limit(self) -> int:
        return self._outbox.payload_limit

    @property
    def heard_at(self) -> float:
        return self._heard_at

    def post(self, message: Message) -> None:
        if self._closing or self._ended:
            raise SiloUnavailable(f"the connection to {self.far.name} is closed")
        self._outbox.put(message)
        self._schedule()

    async def ready(self) -> None:
        await self._outbox.ready()

    async def close(self) -> None:
        if self._closing or self._ended:
            await asyncio.shield(self._over)
            return
        self._closing = True
        try:
            async with asyncio.timeout(self._options.close_timeout):
                await self._drained()
                if not self._accepting and not self._ended:
                    self._send(Mark.NO_MORE)
                    await asyncio.shield(self._over)
        except TimeoutError:
            pass  # what is left is reported as unsent
        finally:
            if not self._ended:
                self._send(Mark.END)
                self._end(None)

    def abort(self, error: Exception | None = None) -> None:
        if not self._ended:
            self._send(Mark.RESET)
            self._end(error)

    # -- what the network does --

    def resume(self) -> None:
        if self._peer is not None:
            self._network.later(self.far, self.process, self._peer._land_held)

    def lose(self, error: Exception) -> None:
        self._end(error)

    # -- writing --

    def _schedule(self) -> None:
        if not self._scheduled and not self._ended and self._outbox:
            self._scheduled = True
            with self._loop.within(self.process):
                self._loop.call_soon(self._write, context=self._context)

    def _write(self) -> None:
        self._scheduled = False
        peer = self._peer
        if self._ended or peer is None or not self._outbox or (peer._accepting and peer.full):
            return
        batch: list[Message] = []
        for message in self._outbox.take():
            copies = self._network.copies(self.process, self.far, message)
            batch.extend(copy.copy(message) for _ in range(copies))
        self._send(batch)
        if self._accepting:
            peer._schedule()  # there is room for answers again, so requests are read again
        self._schedule()

    def _send(self, piece: Piece) -> None:
        """Behind everything that flies already, for streams are ordered."""
        if self._peer is None:
            return
        self._flying.append(piece)
        self._lands = max(self._lands, self._loop.time() + self._network.delay(self.process, self.far))
        with self._loop.within(self.far):
            self._loop.call_at(self._lands, self._land, context=self._context)

    # -- arriving: in the far process --

    def _land(self) -> None:
        if self._held or self._network.is_cut(self.process, self.far):
            self._held += 1
        else:
            self._land_one()

    def _land_held(self) -> None:
        while self._held and not self._network.is_cut(self.process, self.far):
            self._held -= 1
            self._land_one()

    def _land_one(self) -> None:
        piece = self._flying.popleft() if self._flying else None
        if piece is not None and self._peer is not None:
            self._peer._arrive(piece)
        self._settle()

    def _arrive(self, piece: Piece) -> None:
        if self._ended:
            return
        if piece is Mark.RESET:
            self._end(ConnectionLost(f"{self.far.name} broke the connection"))
        elif piece is Mark.END:
            self._end(None)
        elif piece is Mark.NO_MORE:
            self._closing = True  # it has heard the end of the stream, and may finish its answers
            self._answer_the_end()
        else:
            self._deliver(piece)

    def _deliver(self, batch: list[Message]) -> None:
        self._heard_at = self._loop.time()
        receiver = self._receiver
        for message in batch:
            if self._ended or receiver is None:
                return
            try:
                receiver.receive(message)
            except Exception as error:
                report(error)

    # -- ending --

    async def _drained(self) -> None:
        """Wait until everything posted at this end has arrived at the other."""
        if not self._ended and (self._outbox or self._flying):
            self._idle = self._loop.create_future()
            await self._idle

    def _settle(self) -> None:
        if not (self._outbox or self._flying) and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
        if self._closing and self._accepting and not self._ended:
            self._answer_the_end()

    def _answer_the_end(self) -> None:
        if not self._outbox and not self._flying and self._idle is None:
            self._send(Mark.END)
            self._end(None)

    def _end(self, error: Exception | None) -> None:
        if self._ended:
            return
        self._ended = True
        self._network.unplug(self)
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
        if not self._over.done():
            self._over.set_result(None)
        self._tell(error)

    def _tell(self, error: Exception | None) -> None:
        if self._receiver is None:
            return
        try:
            self._receiver.lost(self._outbox.end(), error)
        except Exception as fault:
            report(fault)
