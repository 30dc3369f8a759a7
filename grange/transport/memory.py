"""The transport of a single process: the same promises as gRPC over a network that is a plain object.

Clusters in a test use it, and a silo that runs alone. Time is the running loop's, so it works in virtual
time.
"""

from __future__ import annotations

import asyncio

from grange.errors import SiloUnavailable
from grange.proto.handshake import Hello
from grange.transport.greeting import ask, conclude, refusal, reply
from grange.transport.memory_connection import MemoryConnection
from grange.transport.memory_network import Door, MemoryNetwork
from grange.transport.options import TransportOptions
from grange.transport.provider import Accept, Admit, Connection, Listener, ProbeLine, Receiver


class MemoryTransport:
    """One process on a `MemoryNetwork`, known there as `name` (default: a number)."""

    def __init__(
        self, network: MemoryNetwork, name: str | None = None, options: TransportOptions | None = None
    ) -> None:
        self._network = network
        self._options = options if options is not None else TransportOptions()
        self._node = network.attach(name)

    @property
    def name(self) -> str:
        """What `MemoryNetwork.partition` and `kill` call this process."""
        return self._node.name

    async def listen(self, host: str, port: int, admit: Admit, accept: Accept) -> Listener:
        """See `provider.Transport`."""
        self._must_be_alive()
        door = Door(host, port, self._node, admit, accept, self._options)
        self._network.open(door)
        return MemoryListener(self._network, door)

    async def connect(self, host: str, port: int, hello: Hello, receiver: Receiver) -> Connection:
        """See `provider.Transport`. Over a cut line it takes the whole connect time-out to fail, as over a
        real one.
        """
        self._must_be_alive()
        await asyncio.sleep(2 * self._network.latency)  # there and back; from here on nothing waits
        door = self._network.door(host, port)
        self._must_be_alive()
        if door is not None and self._is_cut(door.node.name):
            await asyncio.sleep(self._options.connect_timeout)
            raise SiloUnavailable(f"no answer from {host}:{port} within {self._options.connect_timeout} s")
        if door is None:
            raise SiloUnavailable(f"cannot connect to {host}:{port}: nobody listens there")
        return self._shake_hands(door, hello, receiver)

    async def probes(self, host: str, port: int, cluster: str) -> ProbeLine | None:
        """See `provider.Transport`. Virtual time has no threads; probes travel as requests."""
        return None

    async def close(self) -> None:
        """See `provider.Transport`. The node leaves the network; its name may be used again."""
        self._network.detach(self._node)
        try:
            await asyncio.gather(*(cable.close() for cable in list(self._node.cables)))
        finally:
            self._node.end(None)

    def _shake_hands(self, door: Door, hello: Hello, receiver: Receiver) -> Connection:
        here, there = self._node, door.node
        greeting = reply(ask(hello, self._options), door.admit, door.options)
        conclude(greeting.hello, greeting.welcome)
        near = MemoryConnection(self._network, self._options, (here, there), greeting, accepting=False)
        far = MemoryConnection(self._network, door.options, (there, here), greeting, accepting=True)
        try:
            far_receiver = door.accept(far)
        except Exception as error:
            raise refusal(error) from None
        far.join(near, far_receiver)
        if far.closed:
            raise SiloUnavailable(f"silo {greeting.welcome.address} ended the connection at once")
        near.join(far, receiver)
        door.entered = [each for each in door.entered if not each.closed]
        door.entered.append(far)
        return near

    def _is_cut(self, other: str) -> bool:
        return self._network.is_cut(self.name, other) or self._network.is_cut(other, self.name)

    def _must_be_alive(self) -> None:
        if not self._node.alive:
            raise SiloUnavailable(f"{self.name} has left the memory network")


class MemoryListener:
    """An open door on the memory network."""

    def __init__(self, network: MemoryNetwork, door: Door) -> None:
        self._network = network
        self._door = door

    @property
    def port(self) -> int:
        return self._door.port

    async def close(self) -> None:
        """Close the door and every connection that came through it."""
        self._network.shut(self._door)
        await asyncio.gather(*(connection.close() for connection in self._door.entered))
