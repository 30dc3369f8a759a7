"""Keeps one outgoing connection in use per peer, opened at first use. `runtime/calls/sender.py` calls it.

A connection that is no longer to be used, because its silo leaves or another one has replaced it, stays open until its
calls are answered.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, Protocol

from grange.aio.backoff import JITTER, Backoff
from grange.errors import ConnectionLost, GrangeError, HandshakeRefused, SiloUnavailable
from grange.observability.counters import TrafficFigures
from grange.proto.handshake import Hello
from grange.proto.ids import SiloAddress
from grange.transport.options import TransportOptions
from grange.transport.provider import Connection, Receiver, Transport

MOST_RETRY_AFTER = 10.0
"""Most seconds for which a silo that refuses is believed to need: its hint must not keep this process away."""

RENEWAL_PAUSE_MAX = 10.0
"""Longest wait, in seconds, between two attempts to replace a connection that still works."""

HelloFor = Callable[[SiloAddress], Hello]


class OpeningReceiver(Receiver, Protocol):
    """The receiver of a connection that this process opens."""

    def opened(self, connection: Connection) -> None:
        """The connection is there. Called once, before its first message."""
        ...

    def retire(self, *, replaced: bool) -> asyncio.Event:
        """Take no more requests: the silo leaves, or another connection to it is used from now on (`replaced`).

        The connection is closed when the event is set. The end of the connection sets it too.
        """
        ...


ReceiverFor = Callable[[SiloAddress], OpeningReceiver]


class _Peer:
    """The state of the connection to one address."""

    __slots__ = ("attempt", "backoff", "connection", "error", "receiver", "renewal", "retry_at", "stale", "waiting")

    def __init__(self, backoff: Backoff) -> None:
        self.backoff = backoff
        self.connection: Connection | None = None
        self.receiver: OpeningReceiver | None = None
        self.stale = False  # the connection is to be replaced
        self.renewal: asyncio.Task[None] | None = None
        self.attempt: asyncio.Task[None] | None = None
        self.waiting: asyncio.Future[Connection] | None = None
        self.retry_at = 0.0
        self.error = ""


class Peers:
    """The outgoing connections of one silo or client. `traffic` counts their messages, `renewed` the replaced ones.

    Concurrent callers share one attempt to connect; cancelling one caller does not end the attempt. After a failure
    there is no attempt for a while (100 ms, doubling to 1 s, with jitter). Callers in that time fail at once with the
    last error, so that their retry loop can choose another silo. After the loss of a connection, the next caller opens
    a new one without delay.

    A connection is replaced by a second one when its silo asks for it, and when TLS has another certificate. Until the
    second one is open the first takes all requests; if it cannot be opened, it is tried again and again (100 ms,
    doubling to 10 s), and `on_kept` is told the reason.
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
        self._round = 0  # rises when all connections are to be replaced
        self.renewed = 0
        self.on_kept: Callable[[SiloAddress, str], None] = _ignore
        self._forget = None if transport.tls is None else transport.tls.on_change(self.renew_all)

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

    def drain(self, address: SiloAddress, connection: Connection) -> None:
        """Stop using a connection, because its silo leaves, and close it when no answer is pending.

        Does nothing if another connection has replaced it.
        """
        peer = self._peers.get(address)
        if peer is not None and peer.connection is connection:
            peer.connection = None
            self._retire(address, connection, peer.receiver, replaced=False)

    def renew(self, address: SiloAddress, connection: Connection) -> None:
        """Replace a connection by another one to the same silo, because that asks for it.

        Does nothing if another connection has replaced it.
        """
        peer = self._peers.get(address)
        if peer is not None and peer.connection is connection:
            self._start_renewal(address, peer, 0.0)

    def renew_all(self, within: float) -> None:
        """Replace every connection by another one, at random times within so many seconds."""
        self._round += 1
        for address, peer in self._peers.items():
            if peer.connection is not None:
                self._start_renewal(address, peer, self._rng.uniform(0.0, within))

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
        if self._forget is not None:
            self._forget()
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
        peer.attempt = self._start(self._connect(address, peer, waiting), f"connect to {address}")
        return waiting

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        # A separate context: the connection outlives the call that needs it, whose request context must not leak.
        task = asyncio.get_running_loop().create_task(work, name=name, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _retire(
        self, address: SiloAddress, connection: Connection, receiver: OpeningReceiver | None, *, replaced: bool
    ) -> None:
        if receiver is not None and not connection.closed:
            self._draining[connection] = address
            self._start(self._close(connection, receiver.retire(replaced=replaced)), f"close {address}")

    async def _close(self, connection: Connection, answered: asyncio.Event) -> None:
        """Close a draining connection. Its loss sets `answered` too, so this never waits for ever."""
        try:
            await answered.wait()
            await connection.close()
        finally:
            self._draining.pop(connection, None)

    def _start_renewal(self, address: SiloAddress, peer: _Peer, pause: float) -> None:
        peer.stale = True
        if peer.renewal is not None:
            peer.renewal.cancel()  # it may wait for longer
        peer.renewal = self._start(self._renew(address, peer, pause), f"renew {address}")

    async def _renew(self, address: SiloAddress, peer: _Peer, pause: float) -> None:
        """Try to replace the connection until that has succeeded, or there is none to replace."""
        backoff = Backoff(self._options.backoff_first, RENEWAL_PAUSE_MAX, self._rng)
        await asyncio.sleep(pause)
        while peer.stale and peer is self._peers.get(address) and self.current(address) is not None:
            try:
                await asyncio.shield(self._attempt(address))
            except SiloUnavailable as error:
                if self.current(address) is not None and not self._closed:
                    self.on_kept(address, str(error))
                await asyncio.sleep(backoff.pause())

    async def _connect(self, address: SiloAddress, peer: _Peer, waiting: asyncio.Future[Connection]) -> None:
        receiver, begun_in = self._receiver_for(address), self._round
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
        before, receiver_before = peer.connection, peer.receiver
        peer.connection, peer.receiver, peer.stale = connection, receiver, False
        peer.attempt = peer.waiting = None
        peer.backoff.reset()
        waiting.set_result(connection)
        if before is not None and not before.closed:
            self.renewed += 1
            self._retire(address, before, receiver_before, replaced=True)
        if begun_in != self._round:  # it may have the certificate of before
            self._start_renewal(address, peer, 0.0)

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
        for task in (peer.attempt, peer.renewal):
            if task is not None:
                task.cancel()


def _ignore(_silo: SiloAddress, _reason: str) -> None:
    """Do nothing: the default of `Peers.on_kept`."""
