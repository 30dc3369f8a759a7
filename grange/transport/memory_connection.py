"""One end of a connection in memory."""

from __future__ import annotations

import asyncio
import contextvars
import copy
from collections import deque

from grange.errors import ConnectionLost, SiloUnavailable
from grange.proto.handshake import Hello, Welcome
from grange.proto.message import Message
from grange.transport.greeting import Greeting, report
from grange.transport.memory_network import Fate, MemoryNetwork, Node
from grange.transport.options import TransportOptions
from grange.transport.outbox import Outbox
from grange.transport.provider import Receiver


class MemoryConnection:
    """Queues messages and hands them to its peer from the loop: batches as frames would be, copies as
    decoding makes.

    Made in pairs by `MemoryTransport.connect`. `accepting` marks the end that stops reading while its answers
    queue up.
    """

    def __init__(
        self, network: MemoryNetwork, options: TransportOptions, nodes: tuple[Node, Node], greeting: Greeting,
        accepting: bool,
    ) -> None:  # fmt: skip
        self._network = network
        self._options = options
        self._node, self._peer_node = nodes
        self._greeting = greeting
        self._accepting = accepting
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        # Callbacks must not run in the context of whoever posted: a request context would leak across silos.
        self._context = contextvars.Context()
        peer_limit = greeting.hello.payload_limit if accepting else greeting.welcome.payload_limit
        self._outbox = Outbox(options, peer_limit)
        self._peer: MemoryConnection | None = None
        self._receiver: Receiver | None = None
        self._scheduled = False
        self._closing = False
        self._ended = False
        self._flying: deque[list[Message]] = deque()
        self._late = 0
        self._held = 0
        self._idle: asyncio.Future[None] | None = None
        self._over: asyncio.Future[Exception | None] = self._loop.create_future()

    def join(self, peer: MemoryConnection, receiver: Receiver) -> None:
        """Plug both in; from here on messages flow. Tells `lost` at once if the connection was ended already."""
        self._peer = peer
        self._receiver = receiver
        if self._over.done():
            self._tell(self._over.result())
            return
        self._node.cables.add(self)
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
    def heard_at(self) -> float:
        return self._heard_at

    @property
    def payload_limit(self) -> int:
        return self._outbox.payload_limit

    @property
    def local(self) -> str:
        return self._node.name

    @property
    def remote(self) -> str:
        return self._peer_node.name

    def post(self, message: Message) -> None:
        if self._closing or self._ended:
            raise SiloUnavailable(f"the connection to {self.remote} is closed")
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
                if self._peer is not None and not self._accepting:
                    self._peer._closing = True  # it has heard our end of stream, and may finish its answers
                    await self._peer._drained()
        except TimeoutError:
            pass  # what is left is reported as unsent
        finally:
            self._end_both(None, None)

    def abort(self, error: Exception | None = None) -> None:
        self._end_both(error, error or ConnectionLost(f"{self.local} broke the connection"))

    def resume(self) -> None:
        """The line is mended: land what was held, then write on."""
        self._loop.call_soon(self._resume, context=self._context)

    # -- writing --

    def _schedule(self) -> None:
        if not self._scheduled and not self._ended and self._outbox:
            self._scheduled = True
            self._loop.call_soon(self._write, context=self._context)

    def _write(self) -> None:
        self._scheduled = False
        peer = self._peer
        if self._ended or peer is None or not self._outbox or self._stopped_by(peer):
            return
        batch = [copy.copy(message) for message in self._outbox.take()]
        if self._network.fate is not None:
            batch = self._apply(self._network.fate, batch)
        if self._network.latency > 0 or self._flying:
            self._flying.append(batch)
            self._loop.call_later(self._network.latency, self._land, context=self._context)
        else:
            peer._deliver(batch)
        if self._accepting:
            peer._schedule()  # there is room for answers again, so requests are read again
        self._schedule()
        self._settle()

    def _stopped_by(self, peer: MemoryConnection) -> bool:
        return self._network.is_cut(self.local, self.remote) or (peer._accepting and peer.full)

    def _apply(self, fate: Fate, batch: list[Message]) -> list[Message]:
        """Ask what becomes of each message; returns those that arrive in order, and sends the late ones
        apart.
        """
        punctual: list[Message] = []
        for message in batch:
            for delay in fate(self.local, self.remote, message):
                if delay <= 0:
                    punctual.append(copy.copy(message))
                    continue
                self._late += 1
                self._loop.call_later(
                    self._network.latency + delay, self._land_late, copy.copy(message), context=self._context
                )
        return punctual

    def _land(self) -> None:
        if self._ended or self._peer is None:
            return
        if self._held or self._network.is_cut(self.local, self.remote):
            self._held += 1
            return
        self._peer._deliver(self._flying.popleft())
        self._settle()

    def _land_late(self, message: Message) -> None:
        self._late -= 1
        if self._ended or self._peer is None:
            return
        if self._network.is_cut(self.local, self.remote):
            self._flying.appendleft([message])
            self._held += 1
            return
        self._peer._deliver([message])
        self._settle()

    def _resume(self) -> None:
        while self._held and not self._ended and self._peer is not None:
            if self._network.is_cut(self.local, self.remote):
                return
            self._held -= 1
            self._peer._deliver(self._flying.popleft())
        self._schedule()
        self._settle()

    # -- reading --

    def _deliver(self, batch: list[Message]) -> None:
        receiver = self._receiver
        self._heard_at = self._loop.time()
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
        if not self._ended and (self._outbox or self._flying or self._late):
            self._idle = self._loop.create_future()
            await self._idle

    def _settle(self) -> None:
        if self._idle is not None and not (self._outbox or self._flying or self._late or self._idle.done()):
            self._idle.set_result(None)

    def _end_both(self, error: Exception | None, peer_error: Exception | None) -> None:
        peer = self._peer
        self._end(error)
        if peer is not None:
            peer._end(peer_error)

    def _end(self, error: Exception | None) -> None:
        if self._ended:
            return
        self._ended = True
        self._node.cables.discard(self)
        self._flying.clear()
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
        self._over.set_result(error)
        self._tell(error)

    def _tell(self, error: Exception | None) -> None:
        if self._receiver is None:
            return
        try:
            self._receiver.lost(self._outbox.end(), error)
        except Exception as fault:
            report(fault)
