"""The transport over plain sockets: the same handshake and messages as over gRPC, with less processor time for each.

docs/wire.md describes the format. A silo and a client use it beside gRPC: see `roads.py`.
"""

from __future__ import annotations

import asyncio

from grange.errors import ConfigurationError, ConnectionLost, HandshakeRefused, SiloUnavailable
from grange.proto.codec import InvalidFrame, decode_greeting, encode_greeting
from grange.proto.handshake import Hello, Welcome
from grange.proto.ids import endpoint_of
from grange.transport.handshake import Handshake, conclude, with_limits
from grange.transport.options import TransportOptions
from grange.transport.provider import Accept, Admit, Connection, Listener, ProbeLine, Receiver
from grange.transport.refusal import refuses
from grange.transport.tcp_connection import TcpConnection
from grange.transport.tcp_keeper import Keeper
from grange.transport.tcp_listener import TcpListener
from grange.transport.tcp_socket import FrameSocket
from grange.transport.tcp_tls import TlsFrameSocket
from grange.transport.tls import Tls, TlsPorts


class TcpTransport:
    """See `provider.Transport`. Belongs to the event loop in which it was made.

    With `tls` a port takes peers with TLS, and others too unless it is required: their first byte differs.
    """

    def __init__(self, options: TransportOptions | None = None, tls: Tls | None = None) -> None:
        self._options = options if options is not None else TransportOptions()
        self._tls = tls
        self._keeper = Keeper(self._options.keepalive_time / 2)
        self._listeners: list[TcpListener] = []
        self._connections: set[TcpConnection] = set()
        self._closed = False

    @property
    def road(self) -> None:
        """See `provider.Transport`. This is the road itself."""
        return None

    @property
    def tls(self) -> TlsPorts | None:
        """See `provider.Transport`. Every port takes TLS."""
        return None if self._tls is None else TlsPorts(self._tls, self.listen)

    async def listen(self, host: str, port: int, admit: Admit, accept: Accept) -> Listener:
        """See `provider.Transport`."""
        if self._closed:
            raise ConfigurationError(f"cannot listen on {endpoint_of(host, port)}: this transport is closed")
        listener = TcpListener((host, port), self._options, (self._keeper, self._tls), admit, accept)
        self._listeners.append(listener)
        await listener.start()
        return listener

    async def connect(self, host: str, port: int, hello: Hello, receiver: Receiver) -> Connection:
        """See `provider.Transport`."""
        secure_port = None if self._tls is None else self._tls.port_of(host, port)
        if secure_port is not None:
            return await self.connect_by(self._tls, (host, secure_port), hello, receiver)
        return await self.connect_by(None, (host, port), hello, receiver)

    async def connect_by(
        self, tls: Tls | None, place: tuple[str, int], hello: Hello, receiver: Receiver
    ) -> TcpConnection:
        """Connect with TLS, or without (None). Else as `connect`."""
        target = endpoint_of(*place)
        if self._closed:
            raise SiloUnavailable(f"cannot connect to {target}: this transport is closed")
        hello = with_limits(hello, self._options)
        opened = _Opening(self._options.header_limit, self._keeper, tls)
        try:
            handshake = await self._shake_hands(opened, place, hello)
        except BaseException:
            opened.socket.abort()
            raise
        # No await from here on: a cancelled caller has either no connection, or one that this object owns.
        connection = TcpConnection(opened.socket, self._options, handshake, accepting=False)
        connection.attach(receiver)
        self._connections.add(connection)
        connection.on_released(lambda: self._connections.discard(connection))
        connection.start()
        return connection

    async def refuses(self, host: str, port: int, timeout: float) -> bool:
        """See `provider.Transport`."""
        return await refuses(host, port, timeout)

    async def probes(self, host: str, port: int, cluster: str, tls_port: int = 0) -> ProbeLine | None:
        """See `provider.Transport`. The line of gRPC answers probes, and a thread shows life on each socket."""
        return None

    async def close(self) -> None:
        """See `provider.Transport`."""
        self._closed = True
        await asyncio.gather(
            *(connection.close() for connection in list(self._connections)),
            *(listener.close() for listener in self._listeners),
        )
        await self._keeper.close()

    async def _shake_hands(self, opened: _Opening, place: tuple[str, int], hello: Hello) -> Handshake:
        target, timeout = endpoint_of(*place), self._options.connect_timeout
        try:
            async with asyncio.timeout(timeout):
                await asyncio.get_running_loop().create_connection(lambda: opened.socket, *place)
                opened.socket.write(encode_greeting(hello))
                greeting = decode_greeting(await opened.greeting, self._options.header_limit)
        except InvalidFrame as error:
            raise _other_protocol(target, str(error)) from None
        except TimeoutError:
            raise SiloUnavailable(f"no answer from {target} within {timeout} s") from None
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise SiloUnavailable(f"cannot connect to {target}: {reason}") from None
        except ConnectionLost:
            if opened.socket.refusal:
                raise SiloUnavailable(f"cannot connect to {target}: {opened.socket.refusal}") from None
            raise SiloUnavailable(f"{target} closed the connection without an answer") from None
        if isinstance(greeting, HandshakeRefused):
            raise greeting
        if not isinstance(greeting, Welcome):
            raise _other_protocol(target, "it answered Hello with Hello")
        return conclude(hello, greeting)


class _Opening:
    """The sink of a socket until the answer to Hello has come."""

    def __init__(self, limit: int, keeper: Keeper, tls: Tls | None) -> None:
        loop = asyncio.get_running_loop()
        self.greeting: asyncio.Future[bytes] = loop.create_future()
        self._keeper = keeper
        callbacks = self._opened, keeper.discard
        self.socket = (
            FrameSocket(limit, loop, *callbacks)
            if tls is None
            else TlsFrameSocket(limit, loop, callbacks, tls, accepting=False)
        )

    def _opened(self, opened: FrameSocket) -> _Opening:
        self._keeper.add(opened)
        return self

    def on_frame(self, data: bytes) -> None:
        """FrameSink: keep the answer; what follows it belongs to the connection."""
        self.socket.hold()
        if not self.greeting.done():
            self.greeting.set_result(data)

    def on_end(self) -> None:
        """FrameSink: the peer ends without an answer."""
        self.socket.abort()

    def on_invalid(self, reason: str) -> None:
        """FrameSink: the peer does not use this format."""
        self._fail(InvalidFrame(reason))

    def on_writable(self) -> None:
        """FrameSink: nothing waits to be written."""

    def on_closed(self, error: ConnectionLost) -> None:
        """FrameSink: closed before the answer."""
        self._fail(error)

    def _fail(self, error: Exception) -> None:
        if not self.greeting.done():
            self.greeting.set_exception(error)
            self.greeting.exception()  # mark it as retrieved: perhaps the caller waits no more


def _other_protocol(target: str, reason: str) -> HandshakeRefused:
    return HandshakeRefused(f"{target} does not use the protocol of grange: {reason}", code="malformed")
