"""`provider.Transport` over a simulated network. One for each silo or client."""

from __future__ import annotations

import asyncio
import contextvars

from grange.errors import SiloUnavailable
from grange.proto.handshake import Hello
from grange.testing.simulation.connection import SimulatedConnection
from grange.testing.simulation.loop import Process
from grange.testing.simulation.network import GatedListener, SimulatedNetwork
from grange.transport.greeting import ask, conclude, refusal, reply
from grange.transport.options import TransportOptions
from grange.transport.provider import Accept, Admit, Connection, Listener, Receiver


class SimulatedTransport:
    """The network card of one process."""

    def __init__(self, network: SimulatedNetwork, process: Process, options: TransportOptions | None = None) -> None:
        self._network = network
        self._process = process
        self._options = options or TransportOptions()
        self._opened: list[SimulatedConnection] = []
        self._doors: list[SimulatedListener] = []

    async def listen(self, host: str, port: int, admit: Admit, accept: Accept) -> Listener:
        """See `provider.Transport`."""
        self._must_be_alive()
        door = GatedListener(host, port, self._process, admit, accept, self._options)
        self._network.open(door)
        listener = SimulatedListener(self._network, door)
        self._doors.append(listener)
        return listener

    async def connect(self, host: str, port: int, hello: Hello, receiver: Receiver) -> Connection:
        """See `provider.Transport`. Where nothing gets through it takes the whole connect time-out to fail."""
        self._must_be_alive()
        door = self._network.door(host, port)
        there = door.process if door is not None else self._process
        await asyncio.sleep(self._network.delay(self._process, there) + self._network.delay(there, self._process))
        self._must_be_alive()
        door = self._network.door(host, port)
        if door is not None and not self._reaches(door.process):
            await asyncio.sleep(self._options.connect_timeout)
            raise SiloUnavailable(f"no answer from {host}:{port} within {self._options.connect_timeout} s")
        if door is None:
            raise SiloUnavailable(f"cannot connect to {host}:{port}: nobody listens there")
        return contextvars.Context().run(self._shake_hands, door, hello, receiver)

    async def probes(self, host: str, port: int, cluster: str) -> None:
        """See `provider.Transport`. A simulation has no threads; probes travel as requests."""

    async def close(self) -> None:
        """See `provider.Transport`."""
        for listener in self._doors:
            await listener.close()
        await asyncio.gather(*(connection.close() for connection in self._opened))

    def _reaches(self, other: Process) -> bool:
        cut = self._network.is_cut(self._process, other) or self._network.is_cut(other, self._process)
        return not cut and not other.paused

    def _shake_hands(self, door: GatedListener, hello: Hello, receiver: Receiver) -> Connection:
        network, here, there = self._network, self._process, door.process
        with network.loop.within(there):
            greeting = reply(ask(hello, self._options), door.admit, door.options)
        conclude(greeting.hello, greeting.welcome)
        near = SimulatedConnection(network, self._options, (here, there), greeting, accepting=False)
        far = SimulatedConnection(network, door.options, (there, here), greeting, accepting=True)
        with network.loop.within(there):
            try:
                far_receiver = door.accept(far)
            except Exception as error:
                raise refusal(error) from None
            far.join(near, far_receiver)
        if far.closed:
            raise SiloUnavailable(f"silo {greeting.welcome.address} ended the connection at once")
        near.join(far, receiver)
        self._opened = [each for each in self._opened if not each.closed]
        self._opened.append(near)
        door.entered = [each for each in door.entered if not (isinstance(each, SimulatedConnection) and each.closed)]
        door.entered.append(far)
        return near

    def _must_be_alive(self) -> None:
        if not self._process.alive:
            raise SiloUnavailable(f"{self._process.name} is dead")


class SimulatedListener:
    """An open door."""

    def __init__(self, network: SimulatedNetwork, door: GatedListener) -> None:
        self._network = network
        self._door = door

    @property
    def port(self) -> int:
        return self._door.port

    async def close(self) -> None:
        """Close the door and every connection that came through it."""
        self._network.shut(self._door)
        entered = [each for each in self._door.entered if isinstance(each, SimulatedConnection)]
        await asyncio.gather(*(connection.close() for connection in entered))
