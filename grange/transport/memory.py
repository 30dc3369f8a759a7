"""The transport within one process, over a network in memory, with the same promises as the gRPC transport.

Test clusters use it, and a silo that runs alone. It takes the time from the running loop, so it works in virtual time.
"""

from __future__ import annotations

import asyncio

from grange.errors import SiloUnavailable
from grange.proto.handshake import Hello
from grange.proto.ids import endpoint_of
from grange.security.certificate import Certificate
from grange.transport.handshake import answer, conclude, refusal, with_limits
from grange.transport.memory_connection import MemoryConnection
from grange.transport.memory_network import MemoryListener, MemoryNetwork
from grange.transport.options import TransportOptions
from grange.transport.provider import Accept, Admit, Connection, Listener, ProbeLine, Receiver


class MemoryTransport:
    """One process on a `MemoryNetwork`, known there as `name` (default: a number).

    Its peers see `certificate`, as if TLS protected the network.
    """

    def __init__(
        self,
        network: MemoryNetwork,
        name: str | None = None,
        options: TransportOptions | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        self._network = network
        self._options = options if options is not None else TransportOptions()
        self._node = network.attach(name)
        self._certificate = certificate

    @property
    def name(self) -> str:
        """The name of this process, as `MemoryNetwork.partition` and `kill` take it."""
        return self._node.name

    @property
    def road(self) -> None:
        """See `provider.Transport`. Memory is fast."""
        return None

    @property
    def tls(self) -> None:
        """See `provider.Transport`. There is no wire to protect."""
        return None

    async def listen(self, host: str, port: int, admit: Admit, accept: Accept) -> Listener:
        """See `provider.Transport`."""
        self._check_alive()
        listener = MemoryListener(self._network, self._node, host, port, admit, accept, self._options)
        self._network.bind(listener)
        return listener

    async def connect(self, host: str, port: int, hello: Hello, receiver: Receiver) -> Connection:
        """See `provider.Transport`. Over a cut line it fails after the whole connect time-out, as on a real network."""
        self._check_alive()
        await asyncio.sleep(2 * self._network.latency)  # the round trip; no await follows it
        listener = self._network.listener(host, port)
        self._check_alive()
        if listener is None or self._network.is_rejected(self.name, listener.node.name):
            raise SiloUnavailable(f"cannot connect to {endpoint_of(host, port)}: no process listens there")
        if self._is_silent(listener.node.name):
            await asyncio.sleep(self._options.connect_timeout)
            raise SiloUnavailable(f"no answer from {endpoint_of(host, port)} within {self._options.connect_timeout} s")
        return self._shake_hands(listener, hello, receiver)

    async def refuses(self, host: str, port: int, timeout: float) -> bool:
        """See `provider.Transport`."""
        await asyncio.sleep(2 * self._network.latency)
        listener = self._network.listener(host, port)
        if listener is None or self._network.is_rejected(self.name, listener.node.name):
            return True
        if self._is_silent(listener.node.name):
            await asyncio.sleep(timeout)
        return False

    async def probes(self, host: str, port: int, cluster: str, tls_port: int = 0) -> ProbeLine | None:
        """See `provider.Transport`. Virtual time has no threads; probes travel as requests."""
        return None

    async def close(self) -> None:
        """See `provider.Transport`. The node leaves the network; its name may be used again."""
        self._network.detach(self._node)
        try:
            await asyncio.gather(*(connection.close() for connection in list(self._node.connections)))
        finally:
            self._node.kill_connections(None)

    def _shake_hands(self, listener: MemoryListener, hello: Hello, receiver: Receiver) -> Connection:
        here, there = self._node, listener.node
        handshake = answer(with_limits(hello, self._options), listener.admit, listener.options, self._certificate)
        conclude(handshake.hello, handshake.welcome)
        near = MemoryConnection(self._network, self._options, (here, there), handshake, accepting=False)
        far = MemoryConnection(self._network, listener.options, (there, here), handshake, accepting=True)
        try:
            far_receiver = listener.accept(far)
        except Exception as error:
            raise refusal(error) from None
        far.join(near, far_receiver)
        if far.closed:
            raise SiloUnavailable(f"silo {handshake.welcome.address} ended the connection at once")
        near.join(far, receiver)
        listener.add(far)
        return near

    def _is_silent(self, other: str) -> bool:
        """Whether no packet of `other` says that it takes or refuses a connection."""
        network, me = self._network, self.name
        return network.is_cut(me, other) or network.is_cut(other, me) or network.is_rejected(other, me)

    def _check_alive(self) -> None:
        if not self._node.alive:
            raise SiloUnavailable(f"{self.name} has left the memory network")
