"""The transport between processes: one long-lived bidirectional gRPC stream for each connection.

The contract on the wire is `grange/proto/grange/v1/silo.proto`; docs/wire.md explains it. gRPC moves raw bytes; grange
encodes them. No type or error of gRPC leaves the `grpc*` files of this room.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars

import grpc
import grpc.aio

from grange.aio.loop_binding import running_loop
from grange.errors import ConfigurationError, HandshakeRefused, SiloUnavailable
from grange.proto.codec import InvalidFrame, decode_greeting, encode_greeting
from grange.proto.handshake import Hello, Welcome
from grange.proto.ids import endpoint_of
from grange.transport.framed import FramedConnection
from grange.transport.grpc_credentials import open_channel
from grange.transport.grpc_listener import METHOD, GrpcListener
from grange.transport.grpc_options import channel_options
from grange.transport.grpc_probe import GrpcProbeLine
from grange.transport.grpc_process import GRPC_PROCESS
from grange.transport.grpc_streams import Call, ClientStream
from grange.transport.handshake import Handshake, conclude, with_limits
from grange.transport.options import TransportOptions
from grange.transport.provider import Accept, Admit, Connection, Listener, ProbeLine, Receiver
from grange.transport.refusal import refuses
from grange.transport.tls import Tls, TlsPorts
from grange.transport.tls_contexts import client_context
from grange.transport.tls_faults import EXPIRED, NEEDS_TLS, NOT_GRPC, REFUSED, find_fault


class GrpcTransport:
    """See `provider.Transport`. It owns the tasks of the connections that it opens, and awaits them in `close`.

    With `tls` its ports and connections are protected as that says.

    Raises WrongLoop in a fork of a process that had a transport: see `grpc_process.py`; and ConfigurationError in an
    event loop with a virtual clock.
    """

    def __init__(self, options: TransportOptions | None = None, tls: Tls | None = None) -> None:
        _check_clock(running_loop())
        GRPC_PROCESS.enter()
        self._options = options if options is not None else TransportOptions()
        self._tls = tls
        self._listeners: list[GrpcListener] = []
        self._running: dict[asyncio.Task[None], FramedConnection] = {}
        self._closed = False

    @property
    def road(self) -> None:
        """See `provider.Transport`. `roads.py` adds one."""
        return None

    @property
    def tls(self) -> TlsPorts | None:
        """See `provider.Transport`."""
        return None if self._tls is None else TlsPorts(self._tls, self._listen_with_tls)

    async def listen(self, host: str, port: int, admit: Admit, accept: Accept) -> Listener:
        """See `provider.Transport`."""
        tls = self._tls if self._tls is not None and self._tls.required else None
        return await self._listen((host, port), admit, accept, tls)

    async def connect(self, host: str, port: int, hello: Hello, receiver: Receiver) -> Connection:
        """See `provider.Transport`."""
        secure_port = None if self._tls is None else self._tls.port_of(host, port)
        if secure_port is not None:
            return await self._connect(self._tls, (host, secure_port), hello, receiver)
        try:
            return await self._connect(None, (host, port), hello, receiver)
        except _NeedsTls:
            if self._tls is None:
                raise
        # A silo whose ports all use TLS, and whose row is not known here yet.
        return await self._connect(self._tls, (host, port), hello, receiver)

    async def _connect(self, tls: Tls | None, place: tuple[str, int], hello: Hello, receiver: Receiver) -> Connection:
        """Connect with TLS, or without (None). Raises `_NeedsTls` where it is needed, else as `connect`."""
        target = endpoint_of(*place)
        if self._closed:
            raise SiloUnavailable(f"cannot connect to {target}: this transport is closed")
        hello = with_limits(hello, self._options)
        channel = open_channel(*place, channel_options(self._options), tls)
        try:
            method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(METHOD)
            call = method()
            handshake = await self._shake_hands(target, call, hello)
        except grpc.aio.AioRpcError as error:
            await channel.close()
            raise await self._cannot_connect(place, error, tls) from None
        except BaseException:
            await channel.close()
            raise
        # No await from here on: a cancelled caller has either no connection, or one whose task this object owns.
        connection = FramedConnection(ClientStream(channel, call), self._options, handshake, accepting=False)
        connection.attach(receiver)
        task = asyncio.get_running_loop().create_task(
            connection.run(), name=f"connection to {target}", context=contextvars.Context()
        )
        self._running[task] = connection
        task.add_done_callback(self._running.pop)
        return connection

    async def refuses(self, host: str, port: int, timeout: float) -> bool:
        """See `provider.Transport`."""
        return await refuses(host, port, timeout)

    async def probes(self, host: str, port: int, cluster: str, tls_port: int = 0) -> ProbeLine | None:
        """See `provider.Transport`."""
        line = GrpcProbeLine((host, port), cluster, self._options, self._tls)
        line.start(tls_port)
        return line

    async def close(self) -> None:
        """See `provider.Transport`."""
        self._closed = True
        connections = list(self._running.values())
        await asyncio.gather(
            *(connection.close() for connection in connections),
            *(listener.close() for listener in self._listeners),
        )
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _shake_hands(self, target: str, call: Call, hello: Hello) -> Handshake:
        timeout = self._options.connect_timeout
        try:
            async with asyncio.timeout(timeout):
                with contextlib.suppress(asyncio.InvalidStateError):  # ended already; `read` raises the reason
                    await call.write(encode_greeting(hello))
                data = await call.read()
        except TimeoutError:
            raise SiloUnavailable(f"no answer from {target} within {timeout} s") from None
        if not isinstance(data, bytes):
            raise SiloUnavailable(f"{target} closed the connection without an answer")
        try:
            greeting = decode_greeting(data, self._options.frame_limit)
        except InvalidFrame as error:
            raise HandshakeRefused(f"{target} does not use the protocol of grange: {error}", code="malformed") from None
        if isinstance(greeting, HandshakeRefused):
            raise greeting
        if not isinstance(greeting, Welcome):
            raise HandshakeRefused(
                f"{target} does not use the protocol of grange: it answered Hello with Hello", code="malformed"
            )
        return conclude(hello, greeting)

    async def _listen(self, place: tuple[str, int], admit: Admit, accept: Accept, tls: Tls | None) -> Listener:
        if self._closed:
            raise ConfigurationError(f"cannot listen on {endpoint_of(*place)}: this transport is closed")
        listener = GrpcListener(place, self._options, admit, accept, tls)
        self._listeners.append(listener)
        await listener.start()
        return listener

    async def _listen_with_tls(self, host: str, port: int, admit: Admit, accept: Accept) -> Listener:
        return await self._listen((host, port), admit, accept, self._tls)

    async def _cannot_connect(self, place: tuple[str, int], error: grpc.aio.AioRpcError, tls: Tls | None) -> Exception:
        """The error for a failed attempt. gRPC does not tell why TLS failed, so another handshake finds out."""
        target = endpoint_of(*place)
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            return HandshakeRefused(f"{target} is a gRPC server, but not a grange silo", code="not-grange")
        # gRPC lists its attempts first; the reason of the failure comes last.
        details = error.details() or "no reason given"
        reason = details.rpartition(": ")[2].rstrip("].")
        if "ALPN" in details:
            return SiloUnavailable(f"cannot connect to {target}: {NOT_GRPC.text}")
        if any(sign in details for sign in _SIGNS_OF_TLS):
            context, name = (None, "") if tls is None else (client_context(tls.material.current), tls.name)
            if fault := await find_fault(*place, context, name, self._options.connect_timeout):
                if fault is REFUSED and tls is not None and tls.has_expired():
                    fault = EXPIRED
                kind = _NeedsTls if fault is NEEDS_TLS else SiloUnavailable
                return kind(f"cannot connect to {target}: {fault.text}")
        return SiloUnavailable(f"cannot connect to {target}: {reason}")


class _NeedsTls(SiloUnavailable):
    """The port uses TLS, and it was reached without."""


_SIGNS_OF_TLS = ("Socket closed", "Tls handshake failed", "verification check failed", "reset by peer", "EOF")
"""Parts of gRPC's reasons that may mean that TLS failed, or that the other side uses TLS and this one does not."""


def _check_clock(loop: asyncio.AbstractEventLoop | None) -> None:
    """Raise ConfigurationError if another object provides the loop's time: each wait for the network would time out."""
    if loop is not None and getattr(loop.time, "__self__", loop) is not loop:
        raise ConfigurationError(
            "this event loop has the virtual clock of a test cluster, and a real network needs real time; use the "
            "cluster's own client and silos, or TestCluster(virtual_time=False)"
        )
