"""Counts the connections and handshakes of one port, and decides which of them are too many. Pure.

An arrival is a connection from its first packet on; over gRPC it is a stream, because only gRPC sees its connections.
It is a handshake until its Hello is admitted. The limits are those of `TransportOptions`, in all and for each address.
Above a limit of connections the new one is refused; above a limit of handshakes the oldest one that is silent ends.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from urllib.parse import unquote

from grange.errors import HandshakeRefused
from grange.observability.counters import PortFigures
from grange.transport.options import TransportOptions

TOO_MANY = "too-many"
"""The code of a refusal by a limit. Its peer may try again after `retry_after`."""

RETRY_AFTER = 1.0
"""Seconds: handshakes that are silent have ended by then, and a client that searches has other gateways to try."""

LATE = "late"
"""Counted for a peer that sent no Hello in time."""

IDENTITY = "identity-connections"
"""Counted for a peer whose identity has too many connections."""

MOST_LINGERING = 100
"""Refused peers of a port that may stay until they can read why. Further ones are closed at once: a flood must take no
files.
"""

NETWORK_BITS = 64
"""Bits of an IPv6 address that count: a host may have every address of its network (RFC 4291, 2.5.1)."""

OnRefused = Callable[[str, str], None]
"""Told of each arrival that a limit refuses: the reason, as in the figures, and the address."""


class Arrival:
    """One accepted connection. `end` is called with the refusal if another handshake takes its place."""

    __slots__ = ("_arrivals", "_counted", "_source", "end")

    def __init__(self, arrivals: Arrivals, source: _Source, end: Callable[[HandshakeRefused], None]) -> None:
        self._arrivals = arrivals
        self._source = source
        self._counted = True
        self.end = end

    @property
    def address(self) -> str:
        """The address of the peer, as it is counted; empty if the network does not tell."""
        return self._source.address

    def greeted(self) -> None:
        """Its Hello is admitted: it is no handshake any more."""
        self._arrivals.end_handshake(self, self._source)

    def refused(self, reason: str) -> None:
        """Its handshake was refused, for no reason of this file. It stays an arrival until it is gone."""
        self._arrivals.figures.refuse(IDENTITY if reason == TOO_MANY else reason)
        self._arrivals.end_handshake(self, self._source)

    def gone(self) -> None:
        """The connection has ended. Only the first call counts."""
        if self._counted:
            self._counted = False
            self._arrivals.end_handshake(self, self._source)
            self._arrivals.end_connection(self._source)


class _Source:
    """The arrivals of one address."""

    __slots__ = ("address", "connections", "handshakes")

    def __init__(self, address: str) -> None:
        self.address = address
        self.connections = 0
        self.handshakes: dict[Arrival, None] = {}


class Arrivals:
    """The arrivals of one port. `most` is the number of connections that the process can have."""

    def __init__(self, options: TransportOptions, most: int | None = None) -> None:
        self.figures = PortFigures()
        self.on_refused: OnRefused = _ignore
        self._options = options
        self._most = options.connections if most is None else min(most, options.connections)
        self._connections = 0
        self._handshakes: dict[Arrival, None] = {}  # the oldest first
        self._sources: dict[str, _Source] = {}

    @property
    def connections(self) -> int:
        """The connections that are open, handshakes included."""
        return self._connections

    @property
    def handshakes(self) -> int:
        """The handshakes in progress."""
        return len(self._handshakes)

    def arrive(self, address: str, end: Callable[[HandshakeRefused], None]) -> Arrival:
        """Count a connection from this address. Raises HandshakeRefused if there are too many.

        `end` must end the connection soon, and must not raise.
        """
        options, source = self._options, self._sources.get(address) or _Source(address)
        if self._connections >= self._most:
            raise self._refuse("connections", f"this port has {self._connections:,} connections", address)
        if address and source.connections >= options.connections_per_address:
            raise self._refuse("address-connections", f"{address} has {source.connections:,} connections here", address)
        if len(self._handshakes) >= options.handshakes:
            self._drop(self._handshakes, "handshakes", "too many other handshakes are in progress")
        if address and len(source.handshakes) >= options.handshakes_per_address:
            self._drop(source.handshakes, "address-handshakes", "too many handshakes of this address are in progress")
        arrival = Arrival(self, source, end)
        self._sources[address] = source
        self._connections += 1
        source.connections += 1
        self._handshakes[arrival] = source.handshakes[arrival] = None
        self.figures.handshakes = len(self._handshakes)
        return arrival

    def end_handshake(self, arrival: Arrival, source: _Source) -> None:
        """An arrival is no handshake any more."""
        self._handshakes.pop(arrival, None)
        source.handshakes.pop(arrival, None)
        self.figures.handshakes = len(self._handshakes)

    def end_connection(self, source: _Source) -> None:
        """An arrival has ended."""
        self._connections -= 1
        source.connections -= 1
        if not source.connections:
            self._sources.pop(source.address, None)

    def _drop(self, handshakes: dict[Arrival, None], reason: str, text: str) -> None:
        """End the oldest of these handshakes: it has said nothing for longest."""
        oldest = next(iter(handshakes))
        oldest.greeted()
        oldest.end(self._refuse(reason, f"{text}, and this one was silent for longest", oldest.address))

    def _refuse(self, reason: str, text: str, address: str) -> HandshakeRefused:
        self.figures.refuse(reason)
        self.on_refused(reason, address)
        return HandshakeRefused(f"{text}; try again in {RETRY_AFTER:g} s", TOO_MANY, RETRY_AFTER)


def counted_address(host: str) -> str:
    """The address under which a host is counted: an IPv4 address, or the network of an IPv6 address; else empty."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, NETWORK_BITS), strict=False))


def host_of(peer: str) -> str:
    """The host in the name that gRPC gives a peer: `ipv4:10.0.0.5:4711`, `ipv6:%5B::1%5D:4711`; else empty."""
    kind, _, place = unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return ""
    return place.rpartition(":")[0].strip("[]")


def _ignore(_reason: str, _address: str) -> None:
    """Report nothing."""
