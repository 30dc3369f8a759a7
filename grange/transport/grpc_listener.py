"""A listener of the gRPC transport: a server with one method, and the connections accepted on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc
import grpc.aio

from grange.aio.uninterrupted import uninterrupted
from grange.errors import HandshakeRefused
from grange.proto.codec import InvalidFrame, decode_greeting, encode_greeting
from grange.proto.handshake import Hello
from grange.security.certificate import Certificate
from grange.transport.arrivals import LATE, MOST_LINGERING, Arrival, Arrivals, counted_address, host_of
from grange.transport.framed import FramedConnection
from grange.transport.grpc_credentials import certificate_of, open_port
from grange.transport.grpc_health import GrpcHealth
from grange.transport.grpc_options import server_options
from grange.transport.grpc_streams import Context, ServerStream, frame_or_end
from grange.transport.handshake import answer, refusal
from grange.transport.listening import cannot_listen
from grange.transport.options import TransportOptions
from grange.transport.provider import Accept, Admit, Receiver
from grange.transport.tls import Tls

SERVICE = "grange.v1.Silo"
METHOD = f"/{SERVICE}/Connect"


class GrpcListener:
    """See `provider.Listener`."""

    def __init__(
        self, place: tuple[str, int], options: TransportOptions, admit: Admit, accept: Accept, tls: Tls | None = None
    ) -> None:
        self._place = place
        self._options = options
        self._tls = tls
        self._admit = admit
        self._accept = accept
        self._connections: set[FramedConnection] = set()
        self._port = 0
        self.arrivals = Arrivals(options)
        self._lingering = 0
        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(self._connect)
        handlers = [grpc.method_handlers_generic_handler(SERVICE, {"Connect": method})]
        self._health = GrpcHealth(self._certificate_of, SERVICE)
        settings = server_options(options, 0.0 if tls is None else tls.times.reauthenticate_after)
        self._server = grpc.aio.server(handlers=[*handlers, self._health.handler], options=settings)

    @property
    def port(self) -> int:
        return self._port

    def answer_health(self, is_serving: Callable[[], bool], admits: Callable[[Certificate | None], bool]) -> None:
        """See `provider.Listener`."""
        self._health.is_serving, self._health.admits = is_serving, admits

    async def start(self) -> None:
        """Open the port. Raises CannotListen."""
        try:
            self._port = open_port(self._server, self._place, self._tls)
        except RuntimeError:
            raise cannot_listen(*self._place) from None
        await uninterrupted(self._server.start())  # gRPC logs errors when its start is cancelled

    async def close(self) -> None:
        """Close the port and every connection accepted on it, after these have written their queues."""
        self._health.close()
        await asyncio.gather(
            self._server.stop(self._options.close_timeout),
            *(connection.close() for connection in list(self._connections)),
        )

    async def _connect(self, _requests: object, context: Context) -> None:
        """Serve one connection from its first frame to its end; gRPC calls this."""
        pending = _PendingHello(self._options.connect_timeout)
        try:
            arrival = self.arrivals.arrive(counted_address(host_of(context.peer())), pending.end)
        except HandshakeRefused as refused:
            await self._refuse_at_once(refused, pending, context)
            return
        try:
            await self._serve(arrival, pending, context)
        finally:
            arrival.gone()

    async def _refuse_at_once(self, refused: HandshakeRefused, pending: _PendingHello, context: Context) -> None:
        """Refuse a stream that is one too many. gRPC tells the peer only after its write, so that is awaited."""
        if self._lingering < MOST_LINGERING:
            self._lingering += 1
            try:
                async with pending.timeout:
                    await context.read()
            except TimeoutError:
                return
            finally:
                self._lingering -= 1
        await context.write(encode_greeting(refused))

    async def _serve(self, arrival: Arrival, pending: _PendingHello, context: Context) -> None:
        try:
            hello = await self._hello(pending, context)  # first: gRPC tells the peer no refusal before its write
            certificate = self._certificate_of(context)
            handshake = answer(hello, self._admit, self._options, certificate, arrival.address)
            connection = FramedConnection(ServerStream(context), self._options, handshake, accepting=True)
            connection.attach(self._receiver(connection))
        except HandshakeRefused as refused:
            if pending.refused is None:
                arrival.refused(LATE if pending.expired else refused.code)
            await context.write(encode_greeting(refused))
            return
        arrival.greeted()
        self._connections.add(connection)
        try:
            await connection.run(encode_greeting(handshake.welcome))
        finally:
            self._connections.discard(connection)

    def _certificate_of(self, context: Context) -> Certificate | None:
        return None if self._tls is None else certificate_of(context.auth_context(), self._tls)

    async def _hello(self, pending: _PendingHello, context: Context) -> Hello:
        try:
            async with pending.timeout:
                data = frame_or_end(await context.read())
            greeting = decode_greeting(data or b"", self._options.header_limit)
        except TimeoutError:
            raise pending.refused or HandshakeRefused("no Hello came in time", code="malformed") from None
        except InvalidFrame as error:
            raise HandshakeRefused(str(error), code="malformed") from None
        if not isinstance(greeting, Hello):
            raise HandshakeRefused("the first frame must hold a Hello", code="malformed")
        return greeting

    def _receiver(self, connection: FramedConnection) -> Receiver:
        try:
            return self._accept(connection)
        except Exception as error:
            raise refusal(error) from None


class _PendingHello:
    """The wait for the Hello of one connection, which another handshake may end: see `Arrivals`."""

    def __init__(self, seconds: float) -> None:
        self.timeout = asyncio.timeout(seconds)
        self.refused: HandshakeRefused | None = None

    def end(self, refused: HandshakeRefused) -> None:
        """Wait no longer."""
        self.refused = refused
        if not self.timeout.expired():
            self.timeout.reschedule(asyncio.get_running_loop().time())

    @property
    def expired(self) -> bool:
        """Whether no Hello came in time."""
        return self.timeout.expired()
