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
from grange.transport.grpc_listener import METHOD, GrpcListener
from grange.transport.grpc_options import channel_options
from grange.transport.grpc_probe import GrpcProbeLine
from grange.transport.grpc_process import GRPC_PROCESS
from grange.transport.grpc_streams import Call, ClientStream
from grange.transport.handshake import Handshake, conclude, with_limits
from grange.transport.options import TransportOptions
from grange.transport.provider import Accept, Admit, Connection, Listener, ProbeLine, Receiver


class GrpcTransport:
    """See `provider.Transport`. It owns the tasks of the connections that it opens, and awaits them in `close`.

    Raises WrongLoop in a fork of a process that had a transport: see `grpc_process.py`; and ConfigurationError in an
    event loop with a virtual clock.
    """

    def __init__(self, options: TransportOptions | None = None) -> None:
        _check_clock(running_loop())
        GRPC_PROCESS.enter()
        self._options = options if options is not None else TransportOptions()
        self._listeners: list[GrpcListener] = []
        self._running: dict[asyncio.Task[None], FramedConnection] = {}
        self._closed = False

    @property
    def road(self) -> None:
        """See `provider.Transport`. `roads.py` adds one."""
        return None

    async def listen(self, host: str, port: int, admit: Admit, accept: Accept) -> Listener:
        """See `provider.Transport`."""
        if self._closed:
            raise ConfigurationError(f"cannot listen on {endpoint_of(host, port)}: this transport is closed")
        listener = GrpcListener((host, port), self._options, admit, accept)
        self._listeners.append(listener)
        await listener.start()
        return listener

    async def connect(self, host: str, port: int, hello: Hello, receiver: Receiver) -> Connection:
        """See `provider.Transport`."""
        target = endpoint_of(host, port)
        if self._closed:
            raise SiloUnavailable(f"cannot connect to {target}: this transport is closed")
        hello = with_limits(hello, self._options)
        channel = grpc.aio.insecure_channel(target, options=channel_options(self._options))
        try:
            method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(METHOD)
            call = method()
            handshake = await self._shake_hands(target, call, hello)
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

    async def probes(self, host: str, port: int, cluster: str) -> ProbeLine | None:
        """See `provider.Transport`."""
        line = GrpcProbeLine((host, port), cluster, self._options)
        line.start()
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
        except grpc.aio.AioRpcError as error:
            raise _cannot_connect(target, error) from None
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


def _check_clock(loop: asyncio.AbstractEventLoop | None) -> None:
    """Raise ConfigurationError if another object provides the loop's time: each wait for the network would time out."""
    if loop is not None and getattr(loop.time, "__self__", loop) is not loop:
        raise ConfigurationError(
            "this event loop has the virtual clock of a test cluster, and a real network needs real time; use the "
            "cluster's own client and silos, or TestCluster(virtual_time=False)"
        )


def _cannot_connect(target: str, error: grpc.aio.AioRpcError) -> Exception:
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        return HandshakeRefused(f"{target} is a gRPC server, but not a grange silo", code="not-grange")
    # gRPC lists its attempts first; the reason of the failure comes last.
    reason = (error.details() or "no reason given").rpartition(": ")[2].rstrip("]")
    return SiloUnavailable(f"cannot connect to {target}: {reason}")
