"""gRPC and a faster road beside it: plain sockets to the peers that have one, gRPC to all others.

A silo whose option `road` is "tcp" listens on both; its row in the membership table names the ports of its sockets.
gRPC decides whether a peer can be reached: where the socket fails and gRPC does not, gRPC is used, and the socket is
tried again later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import msgspec

from grange.errors import HandshakeRefused, SiloUnavailable
from grange.proto.handshake import Hello
from grange.proto.ids import endpoint_of
from grange.transport.grpc import GrpcTransport
from grange.transport.options import TransportOptions
from grange.transport.provider import Accept, Admit, Connection, Listener, ProbeLine, Receiver
from grange.transport.tcp import TcpTransport
from grange.transport.tls import Tls, TlsPorts

log = logging.getLogger("grange.transport")

AVOID_FOR = 60.0
"""Seconds for which new connections to a peer use gRPC alone, after its socket could not be reached and gRPC could."""


class SocketRoad:
    """See `provider.Road`: plain sockets, to the ports that were learnt; with TLS to the peers that have it."""

    def __init__(self, transport: TcpTransport, tls: Tls | None = None) -> None:
        self._transport = transport
        self._tls = tls
        self._ports: dict[str, int] = {}
        self._avoided: dict[tuple[str, int], float] = {}

    async def listen(self, host: str, port: int, admit: Admit, accept: Accept) -> Listener:
        """See `provider.Road`."""
        return await self._transport.listen(host, port, admit, accept)

    def learn(self, ports: Mapping[str, int]) -> None:
        """See `provider.Road`."""
        self._ports = dict(ports)
        self._avoided = {road: until for road, until in self._avoided.items() if road in ports.items()}

    async def connect(self, host: str, port: int, hello: Hello, receiver: Receiver) -> Connection | str:
        """Connect by the socket of the peer whose gRPC port this is. Returns why not, if that failed; empty: no socket.

        The receiver is untouched then.
        """
        endpoint = endpoint_of(host, port)
        socket_port = self._ports.get(endpoint)
        if socket_port is None or self._now() < self._avoided.get((endpoint, socket_port), 0.0):
            return ""
        try:
            has_tls = self._tls is not None and self._tls.port_of(host, port) is not None
            place = host, socket_port
            return await self._transport.connect_by(self._tls if has_tls else None, place, hello, receiver)
        except (SiloUnavailable, HandshakeRefused) as error:
            return str(error)

    def avoid(self, host: str, port: int, reason: str) -> None:
        """gRPC reached the peer after the socket had not, for this reason: leave the socket alone for a while."""
        endpoint = endpoint_of(host, port)
        road = endpoint, self._ports.get(endpoint, 0)
        if road not in self._avoided:
            log.warning(
                "the socket of the silo at %s, port %d, cannot be reached; gRPC is used in its place, which is slower: "
                "%s; is the port open from here?",
                *road, reason, extra={"event": "road_closed"},
            )  # fmt: skip
        self._avoided[road] = self._now() + AVOID_FOR

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


class TwoRoads:
    """See `provider.Transport`: gRPC, and `road` beside it.

    An attempt by the socket takes at most half of the connect time-out, so that both together stay near it.
    """

    def __init__(self, options: TransportOptions | None = None, tls: Tls | None = None) -> None:
        options = options or TransportOptions()
        self._grpc = GrpcTransport(options, tls)
        self._tcp = TcpTransport(msgspec.structs.replace(options, connect_timeout=options.connect_timeout / 2), tls)
        self._road = SocketRoad(self._tcp, tls)

    @property
    def road(self) -> SocketRoad:
        return self._road

    @property
    def tls(self) -> TlsPorts | None:
        """See `provider.Transport`: ports of gRPC. A port of the road takes peers with and without TLS."""
        return self._grpc.tls

    async def listen(self, host: str, port: int, admit: Admit, accept: Accept) -> Listener:
        """See `provider.Transport`: a port of gRPC."""
        return await self._grpc.listen(host, port, admit, accept)

    async def connect(self, host: str, port: int, hello: Hello, receiver: Receiver) -> Connection:
        """See `provider.Transport`."""
        reached = await self._road.connect(host, port, hello, receiver)
        if not isinstance(reached, str):
            return reached
        connection = await self._grpc.connect(host, port, hello, receiver)
        if reached:
            self._road.avoid(host, port, reached)
        return connection

    async def refuses(self, host: str, port: int, timeout: float) -> bool:
        """See `provider.Transport`. gRPC decides whether a peer can be reached."""
        return await self._grpc.refuses(host, port, timeout)

    async def probes(self, host: str, port: int, cluster: str, tls_port: int = 0) -> ProbeLine | None:
        """See `provider.Transport`: by gRPC, whose threads answer while a turn blocks the loop."""
        return await self._grpc.probes(host, port, cluster, tls_port)

    async def close(self) -> None:
        """See `provider.Transport`."""
        await asyncio.gather(self._tcp.close(), self._grpc.close())
