"""A listener for plain sockets, and the handshake of its side."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

from grange.errors import ConnectionLost, HandshakeRefused
from grange.proto.codec import InvalidFrame, decode_greeting, encode_greeting
from grange.proto.handshake import Hello
from grange.security.certificate import Certificate
from grange.transport.arrivals import LATE, MOST_LINGERING, Arrival, Arrivals, counted_address
from grange.transport.handshake import answer, refusal
from grange.transport.listening import cannot_listen, most_connections
from grange.transport.options import TransportOptions
from grange.transport.provider import Accept, Admit
from grange.transport.tcp_connection import TcpConnection
from grange.transport.tcp_keeper import Keeper
from grange.transport.tcp_socket import FrameSocket
from grange.transport.tcp_tls import TlsFrameSocket
from grange.transport.tls import Tls

BACKLOG = 1024
"""Connections that the system completes before this process accepts them: all clients of a silo that has restarted."""


class TcpListener:
    """See `provider.Listener`."""

    def __init__(
        self,
        place: tuple[str, int],
        options: TransportOptions,
        shared: tuple[Keeper, Tls | None],
        admit: Admit,
        accept: Accept,
    ) -> None:
        """`shared` is what all sockets of the transport share."""
        self.options = options
        self.admit = admit
        self.accept = accept
        self.arrivals = Arrivals(options, most_connections(options.connections))
        self.greeting: set[FrameSocket] = set()
        self.connections: set[TcpConnection] = set()
        self.arrived: dict[FrameSocket, Arrival] = {}
        self._place = place
        self._keeper, self.tls = shared
        self._server: asyncio.Server | None = None
        self._port = 0

    @property
    def port(self) -> int:
        return self._port

    async def start(self) -> None:
        """Open the port. Raises CannotListen."""
        loop = asyncio.get_running_loop()
        host, port = self._place
        try:
            family, kind, protocol, _, address = (
                await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            )[0]
            opened = socket.socket(family, kind, protocol)
        except (OSError, UnicodeError):
            raise cannot_listen(host, port) from None
        try:
            with contextlib.suppress(OSError, AttributeError):  # a port whose last connections time out may be opened
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(address)
            self._port = opened.getsockname()[1]
            self._server = await loop.create_server(self._make_socket, sock=opened, backlog=BACKLOG)
        except OSError:
            opened.close()
            raise cannot_listen(host, port) from None
        except BaseException:
            opened.close()
            raise

    def answer_health(self, is_serving: Callable[[], bool], admits: Callable[[Certificate | None], bool]) -> None:
        """See `provider.Listener`: there is no standard for it here."""

    async def close(self) -> None:
        """Close the port and every connection accepted on it, after these have written their queues."""
        if self._server is not None:
            self._server.close()
        for greeting in list(self.greeting):
            greeting.abort()
        await asyncio.gather(*(connection.close() for connection in list(self.connections)))

    def _make_socket(self) -> FrameSocket:
        limit, loop = self.options.header_limit, asyncio.get_running_loop()
        if self.tls is None:
            return FrameSocket(limit, loop, self._opened, self._closed)
        return TlsFrameSocket(limit, loop, (self._opened, self._closed), self.tls, accepting=True)

    def _opened(self, opened: FrameSocket) -> _Greeting:
        self._keeper.add(opened)
        greeting = _Greeting(self, opened)
        greeting.begin()
        return greeting

    def _closed(self, closed: FrameSocket) -> None:
        self._keeper.discard(closed)
        if (arrival := self.arrived.pop(closed, None)) is not None:
            arrival.gone()


class _Greeting:
    """The sink of an accepted socket until its handshake is over, and of a refused one to its end."""

    def __init__(self, listener: TcpListener, opened: FrameSocket) -> None:
        self._listener = listener
        self._socket = opened
        self._refused = False
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(listener.options.connect_timeout, self._refuse_late)

    def begin(self) -> None:
        """Count the socket, or refuse it because there are too many."""
        listener, opened = self._listener, self._socket
        listener.greeting.add(opened)
        try:
            arrival = listener.arrivals.arrive(counted_address(opened.peer_host), self._drop)
        except HandshakeRefused as refused:
            lingering = len(listener.greeting) - listener.arrivals.handshakes
            if lingering > MOST_LINGERING or not self._socket.is_ready:
                self._drop(refused)
            else:
                self._refuse(refused)
        else:
            listener.arrived[opened] = arrival

    def on_frame(self, data: bytes) -> None:
        """FrameSink: the Hello."""
        listener = self._listener
        arrival = listener.arrived[self._socket]
        try:
            handshake = answer(
                self._hello(data), listener.admit, listener.options, self._certificate(), arrival.address
            )
            connection = TcpConnection(self._socket, listener.options, handshake, accepting=True)
            try:
                connection.attach(listener.accept(connection))
            except Exception as error:
                raise refusal(error) from None
        except HandshakeRefused as refused:
            arrival.refused(refused.code)
            self._refuse(refused)
            return
        arrival.greeted()
        self._timer.cancel()
        listener.greeting.discard(self._socket)
        listener.connections.add(connection)
        connection.on_released(lambda: listener.connections.discard(connection))
        self._socket.write(encode_greeting(handshake.welcome))
        connection.start()

    def on_end(self) -> None:
        """FrameSink: the peer ends before it has begun."""
        self._socket.abort()

    def on_invalid(self, reason: str) -> None:
        """FrameSink: refuse."""
        self._listener.arrived[self._socket].refused("malformed")
        self._refuse(HandshakeRefused(reason, code="malformed"))

    def on_writable(self) -> None:
        """FrameSink: nothing waits to be written."""

    def on_closed(self, error: ConnectionLost) -> None:
        """FrameSink: forget the socket."""
        self._timer.cancel()
        self._listener.greeting.discard(self._socket)

    def _certificate(self) -> Certificate | None:
        """The certificate of the peer. Raises HandshakeRefused for one that is not admitted."""
        shown, tls = self._socket.certificate, self._listener.tls
        return None if shown is None or tls is None else tls.certificate_of(shown)

    def _hello(self, data: bytes) -> Hello:
        try:
            greeting = decode_greeting(data, self._listener.options.header_limit)
        except InvalidFrame as error:
            raise HandshakeRefused(str(error), code="malformed") from None
        if not isinstance(greeting, Hello):
            raise HandshakeRefused("the first frame must hold a Hello", code="malformed")
        return greeting

    def _refuse(self, refused: HandshakeRefused) -> None:
        """Send the refusal, and let the peer close the socket."""
        self._refused = True
        self._socket.sink = self
        self._socket.write(encode_greeting(refused))
        self._socket.ignore_rest()

    def _refuse_late(self) -> None:
        if self._refused:
            self._socket.abort()
            return
        self._listener.arrived[self._socket].refused(LATE)
        self._drop(HandshakeRefused("no Hello came in time", code="malformed"))

    def _drop(self, refused: HandshakeRefused) -> None:
        """Send the refusal, unless the handshake of TLS has yet to come, and close the socket at once."""
        self._refused = True
        if self._socket.is_ready:
            self._socket.write(encode_greeting(refused))
        self._socket.abort()
