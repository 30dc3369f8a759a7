"""The network between memory transports: who is where, and what is wrong with the lines today."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import msgspec

from grange.errors import ConfigurationError, ConnectionLost
from grange.proto.message import Message
from grange.transport.options import TransportOptions
from grange.transport.provider import Accept, Admit, Connection

Fate = Callable[[str, str, Message], Sequence[float]]
"""What becomes of one message from node to node: the extra delay in seconds of each copy that arrives.

`(0.0,)` is a good line, `()` loses the message, two entries duplicate it, different delays reorder.
"""


class Cable(Protocol):
    """One end of a connection, as the network sees it."""

    @property
    def local(self) -> str:
        """The node at this end."""
        ...

    @property
    def remote(self) -> str:
        """The node at the other end."""
        ...

    def resume(self) -> None:
        """The line is good again: carry on with what was held."""
        ...

    async def close(self) -> None:
        """Write what is queued, then end both ends."""
        ...

    def abort(self, error: Exception | None = None) -> None:
        """Both ends are lost, now."""
        ...


class Node:
    """One process on the network; `alive` until it is killed or its transport closes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.cables: set[Cable] = set()

    def end(self, error: Exception | None) -> None:
        """Break every connection of this process."""
        for cable in sorted(self.cables, key=lambda each: (each.local, each.remote)):
            cable.abort(error)


class Door(msgspec.Struct, eq=False):
    """One open port: where it is, whose it is, whom to ask, and the connections that came through it."""

    host: str
    port: int
    node: Node
    admit: Admit
    accept: Accept
    options: TransportOptions
    entered: list[Connection] = msgspec.field(default_factory=list)


class MemoryNetwork:
    """Shared by all memory transports that can reach each other: one for each test cluster.

    A place is a node's name or one of its open endpoints (`host:port`). `latency` is one way, in seconds, and
    may be changed at any time. A connection over a cut line holds its messages; it is lost when the line
    stays cut for `break_after` seconds, as keepalive finds it on a real network.
    """

    def __init__(self, *, latency: float = 0.0, fate: Fate | None = None, break_after: float = 6.0) -> None:
        self.latency = latency
        self.fate = fate
        self._break_after = break_after
        self._nodes: dict[str, Node] = {}
        self._doors: dict[tuple[str, int], Door] = {}
        self._cuts: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self._names = itertools.count(1)
        self._ports = itertools.count(40_000)

    # -- faults, for tests --

    def partition(self, a: str, b: str, *, one_way: bool = False) -> None:
        """Cut the line from `a` to `b`, and back unless `one_way`; connecting times out."""
        loop = asyncio.get_running_loop()
        pairs = self._pairs(a, b)
        for pair in pairs[:1] if one_way else pairs:
            if pair not in self._cuts:
                self._cuts[pair] = loop.call_later(self._break_after, self._break, pair)

    def heal(self, a: str | None = None, b: str | None = None) -> None:
        """Mend the line between `a` and `b`, or every line. What was held is delivered, in order."""
        pairs: Iterable[tuple[str, str]] = self._pairs(a, b) if a is not None and b is not None else list(self._cuts)
        for pair in pairs:
            timer = self._cuts.pop(pair, None)
            if timer is not None:
                timer.cancel()
                for cable in self._between(pair):
                    cable.resume()

    def kill(self, place: str) -> None:
        """The process at `place` is gone, as by SIGKILL: doors vanish, connections break."""
        node = self._node(place)
        self.detach(node)
        node.end(ConnectionLost(f"{node.name} was killed"))

    def is_cut(self, source: str, target: str) -> bool:
        """Whether messages from `source` to `target` are held up."""
        return bool(self._cuts) and (source, target) in self._cuts

    # -- what transports do --

    def attach(self, name: str | None) -> Node:
        """A new process, named by its transport (default: a number). It takes the place of a dead one."""
        name = name if name is not None else f"node-{next(self._names)}"
        if name in self._nodes:
            raise ConfigurationError(f"the memory network has a node {name!r} already; choose another name")
        node = self._nodes[name] = Node(name)
        return node

    def detach(self, node: Node) -> None:
        """The process leaves: its doors vanish and it can do nothing any more."""
        node.alive = False
        if self._nodes.get(node.name) is node:
            del self._nodes[node.name]
        for key in [key for key, door in self._doors.items() if door.node is node]:
            del self._doors[key]

    def open(self, door: Door) -> None:
        """Open a door; port 0 picks a free one. Raises ConfigurationError when the port is in use."""
        if door.port == 0:
            door.port = next(port for port in self._ports if (door.host, port) not in self._doors)
        if (door.host, door.port) in self._doors:
            raise ConfigurationError(
                f"cannot listen on {door.host}:{door.port}: the address is in use; choose another port"
            )
        self._doors[door.host, door.port] = door

    def shut(self, door: Door) -> None:
        """Close a door; connections that came through it stay."""
        if self._doors.get((door.host, door.port)) is door:
            del self._doors[door.host, door.port]

    def door(self, host: str, port: int) -> Door | None:
        """Who listens there."""
        return self._doors.get((host, port)) or self._doors.get(("0.0.0.0", port))

    # -- inside --

    def _node(self, place: str) -> Node:
        node = self._nodes.get(place)
        if node is not None:
            return node
        for (host, port), door in self._doors.items():
            if place == f"{host}:{port}":
                return door.node
        known = sorted([*self._nodes, *(f"{host}:{port}" for host, port in self._doors)])
        raise ConfigurationError(f"nobody is at {place!r} on the memory network; known: {', '.join(known)}")

    def _name(self, place: str) -> str:
        """The name of the node; good even while that is dead, so lines to it can be cut and mended."""
        return place if ":" not in place else self._node(place).name

    def _pairs(self, a: str, b: str) -> list[tuple[str, str]]:
        first, second = self._name(a), self._name(b)
        return [(first, second), (second, first)]

    def _between(self, pair: tuple[str, str]) -> list[Cable]:
        node = self._nodes.get(pair[0])
        return [] if node is None else [cable for cable in list(node.cables) if cable.remote == pair[1]]

    def _break(self, pair: tuple[str, str]) -> None:
        for cable in self._between(pair):
            cable.abort(ConnectionLost(f"no answer from {pair[1]} to {pair[0]}: the network between them is cut"))
