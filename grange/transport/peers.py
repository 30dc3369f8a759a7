"""At most one outgoing connection per peer, opened when first needed. Used by `runtime/calls/sender.py`."""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections.abc import Callable
from random import Random

from grange.errors import ConnectionLost, GrangeError, SiloUnavailable
from grange.proto.handshake import Hello
from grange.proto.ids import SiloAddress
from grange.transport.options import TransportOptions
from grange.transport.provider import Connection, Receiver, Transport

HelloFor = Callable[[SiloAddress], Hello]
ReceiverFor = Callable[[SiloAddress], Receiver]


class _Peer:
    """What is known of the way to one address."""

    __slots__ = ("attempt", "connection", "error", "failures", "retry_at", "waiting")

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.attempt: asyncio.Task[None] | None = None
        self.waiting: asyncio.Future[Connection] | None = None
        self.failures = 0
        self.retry_at = 0.0
        self.error = ""


class Peers:
    """The outgoing connections of one silo or client.

    Callers that need the same peer at once share one attempt; one that is cancelled leaves it to the others.
    After a failure there is no further attempt for a while (100 ms, doubling to 1 s, with jitter): callers in
    that time fail at once with the last error, so that their own loop can look for another silo. A connection
    that was lost is replaced by the first caller, without delay.
    """

    def __init__(
        self,
        transport: Transport,
        hello_for: HelloFor,
        receiver_for: ReceiverFor,
        options: TransportOptions,
        random: Random,
    ) -> None:
        self._transport = transport
        self._hello_for = hello_for
        self._receiver_for = receiver_for
        self._options = options
        self._random = random
        self._peers: dict[SiloAddress, _Peer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._retired: dict[Connection, SiloAddress] = {}
        self._closed = False

    def current(self, address: SiloAddress) -> Connection | None:
        """The live connection to `address`, if there is one: the hot path, no waiting."""
        peer = self._peers.get(address)
        if peer is None or peer.connection is None or peer.connection.closed:
            return None
        return peer.connection

    def heard_at(self, address: SiloAddress) -> float:
        """When anything last came from `address` by its live connection, in the event loop's time; -inf: there is
        none.
        """
        connection = self.current(address)
        return -math.inf if connection is None else connection.heard_at

    async def get(self, address: SiloAddress) -> Connection:
        """The connection to `address`, opened if need be. Raises SiloUnavailable, with the reason, when that
        fails.

        A refused handshake is such a reason too: the `HandshakeRefused` is the error's `__cause__`.
        """
        connection = self.current(address)
        if connection is not None:
            return connection
        waiting = self._attempt(address)
        try:
            return await asyncio.shield(waiting)
        except GrangeError as error:
            # Waiters share one outcome, but each gets an error of its own: tracebacks would grow into each
            # other.
            raise SiloUnavailable(str(error)) from error.__cause__

    def retire(self, address: SiloAddress, answered: asyncio.Event) -> None:
        """`address` said goodbye: give its connection to nobody, and close it once all it owes is `answered`."""
        peer = self._peers.get(address)
        if peer is None or peer.connection is None:
            return
        connection, peer.connection = peer.connection, None
        self._retired[connection] = address
        task = asyncio.get_running_loop().create_task(
            self._close(connection, answered), name=f"close {address}", context=contextvars.Context()
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def drop(self, address: SiloAddress) -> None:
        """`address` is dead: give up an attempt to reach it, and end its connection now (its receiver hears
        `lost`).
        """
        reason = f"silo {address} was declared dead"
        for connection in [each for each, of in self._retired.items() if of == address]:
            connection.abort(ConnectionLost(reason))
        peer = self._peers.pop(address, None)
        if peer is None:
            return
        self._give_up(peer, reason)
        if peer.connection is not None:
            peer.connection.abort(ConnectionLost(reason))

    async def close(self) -> None:
        """End every attempt, and close every connection after it has written what is queued."""
        self._closed = True
        peers = list(self._peers.values())
        self._peers.clear()
        for peer in peers:
            self._give_up(peer, "this process is closing its connections")
        tasks = list(self._tasks)
        connections = [*self._retired, *(peer.connection for peer in peers if peer.connection is not None)]
        await asyncio.gather(*(each.close() for each in connections), *tasks, return_exceptions=True)

    def _attempt(self, address: SiloAddress) -> asyncio.Future[Connection]:
        """The attempt under way, or a new one. Raises SiloUnavailable while backing off."""
        if self._closed:
            raise SiloUnavailable(f"cannot connect to {address}: this process is closing its connections")
        peer = self._peers.setdefault(address, _Peer())
        if peer.waiting is not None:
            return peer.waiting
        loop = asyncio.get_running_loop()
        if loop.time() < peer.retry_at:
            raise SiloUnavailable(peer.error)
        waiting = peer.waiting = loop.create_future()
        # A context of its own: what the connection does for years is not part of the call that happened to
        # need it.
        peer.attempt = loop.create_task(
            self._connect(address, peer, waiting), name=f"connect to {address}", context=contextvars.Context()
        )
        self._tasks.add(peer.attempt)
        peer.attempt.add_done_callback(self._tasks.discard)
        return waiting

    async def _close(self, connection: Connection, answered: asyncio.Event) -> None:
        """Its end, by whichever side, sets `answered` too."""
        try:
            await answered.wait()
            await connection.close()
        finally:
            self._retired.pop(connection, None)

    async def _connect(self, address: SiloAddress, peer: _Peer, waiting: asyncio.Future[Connection]) -> None:
        try:
            connection = await self._transport.connect(
                address.host, address.port, self._hello_for(address), self._receiver_for(address)
            )
        except Exception as error:
            self._failed(peer, waiting, address, error)
            return
        if waiting.done():  # given up while the connection was on its way in
            connection.abort()
            return
        peer.connection, peer.attempt, peer.waiting, peer.failures = connection, None, None, 0
        waiting.set_result(connection)

    def _failed(self, peer: _Peer, waiting: asyncio.Future[Connection], address: SiloAddress, error: Exception) -> None:
        if waiting.done():
            return
        # Generation 0 is a place where nobody knows yet which silo is there; the error names the place.
        peer.error = f"cannot reach silo {address}: {error}" if address.generation else str(error)
        peer.failures += 1
        limit = min(self._options.backoff_first * 2 ** min(peer.failures - 1, 30), self._options.backoff_max)
        peer.retry_at = asyncio.get_running_loop().time() + limit * self._random.uniform(0.5, 1.0)
        peer.attempt = peer.waiting = None
        unavailable = SiloUnavailable(peer.error)
        unavailable.__cause__ = error
        waiting.set_exception(unavailable)
        waiting.exception()  # seen: nobody may be waiting any more

    def _give_up(self, peer: _Peer, reason: str) -> None:
        if peer.waiting is not None and not peer.waiting.done():
            peer.waiting.set_exception(SiloUnavailable(reason))
            peer.waiting.exception()
        if peer.attempt is not None:
            peer.attempt.cancel()
