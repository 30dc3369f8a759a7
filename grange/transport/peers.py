"""Keeps at most one outgoing connection per peer, opened at first use. `runtime/calls/sender.py` calls it."""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections.abc import Callable
from random import Random
from typing import Protocol

from grange.aio.backoff import JITTER, Backoff
from grange.errors import ConnectionLost, GrangeError, HandshakeRefused, SiloUnavailable
from grange.observability.counters import TrafficFigures
from grange.proto.handshake import Hello
from grange.proto.ids import SiloAddress
from grange.transport.options import TransportOptions
from grange.transport.provider import Connection, Receiver, Transport

MOST_RETRY_AFTER = 10.0
"""Most seconds for which a silo that refuses is believed to need: its hint must not keep this process away."""

HelloFor = Callable[[SiloAddress], Hello]


class OpeningReceiver(Receiver, Protocol):
    """The receiver of a connection that this process opens."""

    def opened(self, connection: Connection) -> None:
        """The connection is there. Called once, before its first message."""
        ...


ReceiverFor = Callable[[SiloAddress], OpeningReceiver]


class _Peer:
    """The state of the connection to one address."""

    __slots__ = ("attempt", "backoff", "connection", "error", "retry_at", "waiting")

    def __init__(self, backoff: Backoff) -> None:
        self.backoff = backoff
        self.connection: Connection | None = None
        self.attempt: asyncio.Task[None] | None = None
        self.waiting: asyncio.Future[Connection] | None = None
        self.retry_at = 0.0
        self.error = ""


class Peers:
    """The outgoing connections of one silo or client. `traffic` counts their messages.

    Concurrent callers share one attempt to connect; cancelling one caller does not end the attempt. After a failure
    there is no attempt for a while (100 ms, doubling to 1 s, with jitter). Callers in that time fail at once with the
    last error, so that their retry loop can choose another silo. After the loss of a connection, the next caller opens
    a new one without delay.
    """

    def __init__(
        self,
        transport: Transport,
        hello_for: HelloFor,
        receiver_for: ReceiverFor,
        options: TransportOptions,
        rng: Random,
    ) -> None:
        self._transport = transport
        self._hello_for = hello_for
        self._receiver_for = receiver_for
        self._options = options
        self._rng = rng
        self.traffic = TrafficFigures()
        self._peers: dict[SiloAddress, _Peer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining: dict[Connection, SiloAddress] = {}
        self._closed = False

    def current(self, address: SiloAddress) -> Connection | None:
        """The live connection to `address`, or None. The hot path: it does not wait."""
        peer = self._peers.get(address)
        if peer is None or peer.connection is None or peer.connection.closed:
            return None
        return peer.connection

    @property
    def connected(self) -> int:
        """The number of open connections."""
        return sum(peer.connection is not None and not peer.connection.closed for peer in self._peers.values())

    def last_received(self, address: SiloAddress) -> float:
        """Loop time of the last frame on the live connection to `address`; -inf without a connection."""
        connection = self.current(address)
        return -math.inf if connection is None else connection.last_received

    async def get(self, address: SiloAddress) -> Connection:
        """Return the connection to `address`; open one if there is none.

        Raises SiloUnavailable, with the reason, when that fails. After a refused handshake the `HandshakeRefused` is
        its `__cause__`.
        """
        connection = self.current(address)
        if connection is not None:
            return connection
        waiting = self._attempt(address)
        try:
            return await asyncio.shield(waiting)
        except GrangeError as error:
            # Waiters share one outcome, but each raises its own error: a shared one would collect all tracebacks.
            raise SiloUnavailable(str(error)) from error.__cause__

    def drain(self, address: SiloAddress, answered: asyncio.Event) -> None:
        """Stop using the connection to a leaving silo, and close it when `answered` is set (no answer is pending)."""
        peer = self._peers.get(address)
        if peer is None or peer.connection is None:
            return
        connection, peer.connection = peer.connection, None
        self._draining[connection] = address
        task = asyncio.get_running_loop().create_task(
            self._close(connection, answered), name=f"close {address}", context=contextvars.Context()
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def kill(self, address: SiloAddress) -> None:
        """Kill the connections to a dead silo, and cancel an attempt to connect. Calls `lost` on their receivers."""
        reason = f"silo {address} was declared dead"
        for connection in [connection for connection, silo in self._draining.items() if silo == address]:
            connection.kill(ConnectionLost(reason))
        peer = self._peers.pop(address, None)
        if peer is None:
            return
        self._cancel(peer, reason)
        if peer.connection is not None:
            peer.connection.kill(ConnectionLost(reason))

    async def close(self) -> None:
        """Cancel every attempt, and close every connection after it has written its queue."""
        self._closed = True
        peers = list(self._peers.values())
        self._peers.clear()
        for peer in peers:
            self._cancel(peer, "this process is closing its connections")
        tasks = list(self._tasks)
        connections = [*self._draining, *(peer.connection for peer in peers if peer.connection is not None)]
        await asyncio.gather(*(connection.close() for connection in connections), *tasks, return_exceptions=True)

    def _attempt(self, address: SiloAddress) -> asyncio.Future[Connection]:
        """Return the running attempt, or start one. Raises SiloUnavailable during a back-off."""
        if self._closed:
            raise SiloUnavailable(f"cannot connect to {address}: this process is closing its connections")
        peer = self._peers.get(address)
        if peer is None:
            options = self._options
            # `backoff_first` is the upper bound of the first pause: a returning silo is found in the promised time.
            backoff = Backoff(options.backoff_first / JITTER, options.backoff_max, self._rng)
            peer = self._peers[address] = _Peer(backoff)
        if peer.waiting is not None:
            return peer.waiting
        loop = asyncio.get_running_loop()
        if loop.time() < peer.retry_at:
            raise SiloUnavailable(peer.error)
        waiting = peer.waiting = loop.create_future()
        # A separate context: the connection outlives the call that needs it, whose request context must not leak.
        peer.attempt = loop.create_task(
            self._connect(address, peer, waiting), name=f"connect to {address}", context=contextvars.Context()
        )
        self._tasks.add(peer.attempt)
        peer.attempt.add_done_callback(self._tasks.discard)
        return waiting

    async def _close(self, connection: Connection, answered: asyncio.Event) -> None:
        """Close a draining connection. Its loss sets `answered` too, so this never waits for ever."""
        try:
            await answered.wait()
            await connection.close()
        finally:
            self._draining.pop(connection, None)

    async def _connect(self, address: SiloAddress, peer: _Peer, waiting: asyncio.Future[Connection]) -> None:
        receiver = self._receiver_for(address)
        try:
            connection = await self._transport.connect(address.host, address.port, self._hello_for(address), receiver)
        except Exception as error:
            self._failed(peer, waiting, address, error)
            return
        if waiting.done():  # the attempt was cancelled while the handshake completed
            connection.kill()
            return
        connection.count(self.traffic)
        receiver.opened(connection)  # no await since it connected, so no message has arrived
        peer.connection, peer.attempt, peer.waiting = connection, None, None
        peer.backoff.reset()
        waiting.set_result(connection)

    def _failed(self, peer: _Peer, waiting: asyncio.Future[Connection], address: SiloAddress, error: Exception) -> None:
        if waiting.done():
            return
        # Generation 0 means that the silo at this endpoint is not known yet; the error already names the endpoint.
        peer.error = f"cannot reach silo {address}: {error}" if address.generation else str(error)
        hint = min(error.retry_after, MOST_RETRY_AFTER) if isinstance(error, HandshakeRefused) else 0.0
        peer.retry_at = asyncio.get_running_loop().time() + max(peer.backoff.pause(), hint)
        peer.attempt = peer.waiting = None
        unavailable = SiloUnavailable(peer.error)
        unavailable.__cause__ = error
        waiting.set_exception(unavailable)
        waiting.exception()  # mark it as retrieved: perhaps no caller waits any more

    def _cancel(self, peer: _Peer, reason: str) -> None:
        if peer.waiting is not None and not peer.waiting.done():
            peer.waiting.set_exception(SiloUnavailable(reason))
            peer.waiting.exception()
        if peer.attempt is not None:
            peer.attempt.cancel()
