"""The network between memory transports: its nodes, its listeners, and the faults that a test injects on its lines."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from grange.errors import ConfigurationError, ConnectionLost
from grange.proto.ids import endpoint_of
from grange.proto.message import Message
from grange.security.certificate import Certificate
from grange.transport.arrivals import Arrivals
from grange.transport.listening import CannotListen
from grange.transport.options import TransportOptions
from grange.transport.provider import Accept, Admit, Connection

Fate = Callable[[str, str, Message], Sequence[float]]
"""Draws the fate of one message from node to node: the extra delay in seconds of each copy that arrives.

`(0.0,)` delivers the message, `()` loses it, two entries duplicate it, different delays reorder messages.
"""


class ConnectionEnd(Protocol):
    """One end of a connection: the part that the network uses."""

    @property
    def local(self) -> str:
        """The node at this end."""
        ...

    @property
    def remote(self) -> str:
        """The node at the other end."""
        ...

    def on_repaired(self) -> None:
        """Deliver the held messages, because the line is repaired."""
        ...

    async def close(self) -> None:
        """Write the queued messages, then end both ends."""
        ...

    def kill(self, error: Exception | None = None) -> None:
        """End both ends now; queued messages are lost."""
        ...


class Node:
    """One process on the network; `alive` until it is killed or its transport closes. `number` is never used again."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.alive = True
        self.connections: dict[ConnectionEnd, None] = {}  # in order of creation, unlike a set

    def kill_connections(self, error: Exception | None) -> None:
        """Kill every connection of this process, in the order of the node names."""
        for end in sorted(self.connections, key=lambda end: (end.local, end.remote)):
            end.kill(error)


@dataclass(eq=False)
class MemoryListener:
    """One open port: its address, its node, its callbacks, and the connections accepted on it."""

    network: MemoryNetwork
    node: Node
    host: str
    port: int
    admit: Admit
    accept: Accept
    options: TransportOptions
    accepted: list[Connection] = field(default_factory=list)

    @property
    def arrivals(self) -> Arrivals:
        """See `provider.Listener`: connections in memory take nothing that must be limited."""
        return Arrivals(self.options)

    def add(self, connection: Connection) -> None:
        """Add one accepted connection, and remove those that have ended."""
        self.accepted = [other for other in self.accepted if not other.closed]
        self.accepted.append(connection)

    def answer_health(self, is_serving: Callable[[], bool], admits: Callable[[Certificate | None], bool]) -> None:
        """See `provider.Listener`: there is no standard for it here."""

    async def close(self) -> None:
        """Close the port and every connection accepted on it."""
        self.network.unbind(self)
        await asyncio.gather(*(connection.close() for connection in self.accepted))


class MemoryNetwork:
    """Shared by all memory transports that can reach each other: one for each test cluster.

    A place is a node's name or one of its open endpoints (`host:port`). `latency` is one way, in seconds, and may be
    changed at any time. A connection over a cut line holds its messages. It is lost when the line stays cut for
    `break_after` seconds, as keepalive detects it on a real network.
    """

    def __init__(self, *, latency: float = 0.0, fate: Fate | None = None, break_after: float = 6.0) -> None:
        self.latency = latency
        self.fate = fate
        self._break_after = break_after
        self._nodes: dict[str, Node] = {}
        self._listeners: dict[tuple[str, int], MemoryListener] = {}
        self._cuts: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self._rejected: set[tuple[str, str]] = set()
        self._names = itertools.count(1)
        self._numbers = itertools.count(1)
        self._ports = itertools.count(40_000)

    # -- faults, for tests --

    def partition(self, a: str, b: str, *, one_way: bool = False) -> None:
        """Cut the line from `a` to `b`, and back unless `one_way`. New connections time out."""
        loop = asyncio.get_running_loop()
        pairs = self._pairs(a, b)
        for pair in pairs[:1] if one_way else pairs:
            if pair not in self._cuts:
                self._cuts[pair] = loop.call_later(self._break_after, self._break, pair)

    def reject(self, a: str, b: str, *, one_way: bool = False) -> None:
        """Have a firewall refuse what `a` sends to `b`, and back unless `one_way`: connections end, new ones fail."""
        pairs = self._pairs(a, b)
        for pair in pairs[:1] if one_way else pairs:
            self._rejected.add(pair)
            for end in self._between(pair):
                end.kill(ConnectionLost(f"{pair[1]} reset the connection of {pair[0]}"))

    def heal(self, a: str | None = None, b: str | None = None) -> None:
        """Repair the line between `a` and `b`, or every line. Held messages are delivered, in order."""
        pairs = [*self._cuts, *self._rejected] if a is None or b is None else self._pairs(a, b)
        for pair in pairs:
            self._rejected.discard(pair)
            timer = self._cuts.pop(pair, None)
            if timer is not None:
                timer.cancel()
                for end in self._between(pair):
                    end.on_repaired()

    def kill(self, place: str) -> None:
        """Kill the process at `place`, as SIGKILL does: its listeners vanish, its connections break."""
        node = self._node(place)
        self.detach(node)
        node.kill_connections(ConnectionLost(f"{node.name} was killed"))

    def is_cut(self, source: str, target: str) -> bool:
        """Whether messages from `source` to `target` are held."""
        return bool(self._cuts) and (source, target) in self._cuts

    def is_rejected(self, source: str, target: str) -> bool:
        """Whether a firewall refuses what `source` sends to `target`."""
        return (source, target) in self._rejected

    def number_of(self, name: str) -> int:
        """The number of the process that has this name now. Raises KeyError if there is none."""
        return self._nodes[name].number

    def has_process(self, number: int) -> bool:
        """Whether the process with this number is alive."""
        return any(node.number == number for node in self._nodes.values())

    # -- for transports --

    def attach(self, name: str | None) -> Node:
        """Add a process under the name of its transport (default: a number). The name of a dead process is free."""
        name = name if name is not None else f"node-{next(self._names)}"
        if name in self._nodes:
            raise ConfigurationError(f"the memory network has a node {name!r} already; choose another name")
        node = self._nodes[name] = Node(name, next(self._numbers))
        return node

    def detach(self, node: Node) -> None:
        """Remove a process: its listeners vanish, and it can neither listen nor connect any more."""
        node.alive = False
        if self._nodes.get(node.name) is node:
            del self._nodes[node.name]
        for address in [address for address, listener in self._listeners.items() if listener.node is node]:
            del self._listeners[address]

    def bind(self, listener: MemoryListener) -> None:
        """Open the listener's port; 0 picks a free one. Raises CannotListen when the port is in use."""
        if listener.port == 0:
            listener.port = next(port for port in self._ports if (listener.host, port) not in self._listeners)
        address = (listener.host, listener.port)
        if address in self._listeners:
            place = endpoint_of(listener.host, listener.port)
            raise CannotListen(
                f"cannot listen on {place}: the port is in use; choose another port, or 0 for a free one"
            )
        self._listeners[address] = listener

    def unbind(self, listener: MemoryListener) -> None:
        """Close the listener's port; connections accepted on it stay."""
        if self._listeners.get((listener.host, listener.port)) is listener:
            del self._listeners[listener.host, listener.port]

    def listener(self, host: str, port: int) -> MemoryListener | None:
        """The listener at this address, or at this port of all addresses."""
        return self._listeners.get((host, port)) or self._listeners.get(("0.0.0.0", port))  # noqa: S104 compared, not bound

    # -- inside --

    def _node(self, place: str) -> Node:
        node = self._nodes.get(place)
        if node is not None:
            return node
        for (host, port), listener in self._listeners.items():
            if place == endpoint_of(host, port):
                return listener.node
        known = sorted([*self._nodes, *(endpoint_of(host, port) for host, port in self._listeners)])
        raise ConfigurationError(f"the memory network has no node or endpoint {place!r}; known: {', '.join(known)}")

    def _name(self, place: str) -> str:
        """The name of the node; valid also while the node is dead, so that its lines can be cut and repaired."""
        return place if ":" not in place else self._node(place).name

    def _pairs(self, a: str, b: str) -> list[tuple[str, str]]:
        first, second = self._name(a), self._name(b)
        return [(first, second), (second, first)]

    def _between(self, pair: tuple[str, str]) -> list[ConnectionEnd]:
        node = self._nodes.get(pair[0])
        return [] if node is None else [end for end in list(node.connections) if end.remote == pair[1]]

    def _break(self, pair: tuple[str, str]) -> None:
        for end in self._between(pair):
            end.kill(ConnectionLost(f"no answer from {pair[1]} to {pair[0]}: the network between them is cut"))
