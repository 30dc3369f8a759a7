"""`provider.Transport` over a simulated network: one for each silo or client."""

from __future__ import annotations

import asyncio
import contextvars

from grange.errors import SiloUnavailable
from grange.proto.handshake import Hello
from grange.security.certificate import Certificate
from grange.testing.simulation.connection import SimulatedConnection
from grange.testing.simulation.loop import Process
from grange.testing.simulation.network import Answer, SimulatedListener, SimulatedNetwork
from grange.transport.handshake import answer, conclude, refusal, with_limits
from grange.transport.options import TransportOptions
from grange.transport.provider import Accept, Admit, Connection, Listener, Receiver


class SimulatedTransport:
    """The transport of one process. Its peers see `certificate`, as if TLS protected the network."""

    def __init__(
        self,
        network: SimulatedNetwork,
        process: Process,
        options: TransportOptions | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        self._network = network
        self._process = process
        self._options = options or TransportOptions()
        self._certificate = certificate
        self._opened: list[SimulatedConnection] = []
        self._listeners: list[SimulatedListener] = []

    @property
    def road(self) -> None:
        """See `provider.Transport`. There is one network."""
        return None

    @property
    def tls(self) -> None:
        """See `provider.Transport`. There is no wire to protect."""
        return None

    async def listen(self, host: str, port: int, admit: Admit, accept: Accept) -> Listener:
        """See `provider.Transport`."""
        self._check_alive()
        listener = SimulatedListener(self._network, self._process, host, port, admit, accept, self._options)
        self._network.bind(listener)
        self._listeners.append(listener)
        return listener

    async def connect(self, host: str, port: int, hello: Hello, receiver: Receiver) -> Connection:
        """See `provider.Transport`. To an unreachable or paused process it fails after the connect time-out."""
        self._check_alive()
        await asyncio.sleep(self._network.round_trip(self._process, host, port))
        self._check_alive()
        answered = self._network.answer(self._process, host, port)
        if answered is Answer.REFUSED:
            raise SiloUnavailable(f"cannot connect to {host}:{port}: no process listens there")
        listener = self._network.listener(host, port)
        if answered is Answer.NONE or listener is None or listener.process.paused:
            await asyncio.sleep(self._options.connect_timeout)
            raise SiloUnavailable(f"no answer from {host}:{port} within {self._options.connect_timeout} s")
        return contextvars.Context().run(self._shake_hands, listener, hello, receiver)

    async def refuses(self, host: str, port: int, timeout: float) -> bool:
        """See `provider.Transport`. A paused process does not refuse, nor one that is cut off, be it dead or not."""
        delay = self._network.round_trip(self._process, host, port)
        await asyncio.sleep(min(delay, timeout))
        if delay >= timeout:
            return False
        answered = self._network.answer(self._process, host, port)
        if answered is Answer.NONE:
            await asyncio.sleep(timeout - delay)
        return answered is Answer.REFUSED and self._process.alive

    async def probes(self, host: str, port: int, cluster: str, tls_port: int = 0) -> None:
        """See `provider.Transport`. A simulation has no threads; probes travel as requests."""

    async def close(self) -> None:
        """See `provider.Transport`."""
        for listener in self._listeners:
            await listener.close()
        await asyncio.gather(*(connection.close() for connection in self._opened))

    def _shake_hands(self, listener: SimulatedListener, hello: Hello, receiver: Receiver) -> Connection:
        network, here, there = self._network, self._process, listener.process
        with network.loop.within(there):
            handshake = answer(with_limits(hello, self._options), listener.admit, listener.options, self._certificate)
        conclude(handshake.hello, handshake.welcome)
        near = SimulatedConnection(network, self._options, (here, there), handshake, accepting=False)
        far = SimulatedConnection(network, listener.options, (there, here), handshake, accepting=True)
        with network.loop.within(there):
            try:
                far_receiver = listener.accept(far)
            except Exception as error:
                raise refusal(error) from None
            far.join(near, far_receiver)
        if far.closed:
            raise SiloUnavailable(f"silo {handshake.welcome.address} ended the connection at once")
        near.join(far, receiver)
        self._opened = [connection for connection in self._opened if not connection.closed]
        self._opened.append(near)
        listener.add(far)
        return near

    def _check_alive(self) -> None:
        if not self._process.alive:
            raise SiloUnavailable(f"{self._process.name} is dead")
