"""Two simulated processes with a connection between them, for tests of the simulated network."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from grange.errors import SiloUnavailable
from grange.proto.handshake import Hello, Role, Welcome
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.message import Message, Request
from grange.runtime.system_target import system_id
from grange.testing.simulation.loop import Process, SimulatedLoop
from grange.testing.simulation.network import SimulatedNetwork
from grange.testing.simulation.transport import SimulatedTransport
from grange.transport.provider import Connection

SILO = SiloAddress("127.0.0.1", 11, 1)
HELLO = Hello("default", Role.SILO, "a", SiloAddress("127.0.0.1", 12, 1), target=SILO)


@dataclass
class RecordingReceiver:
    """A receiver that records the messages, and the time and process in which they arrive."""

    loop: SimulatedLoop
    received: list[int] = field(default_factory=list)
    processes: set[str] = field(default_factory=set)
    lost_at: float | None = None
    losses: int = 0
    unsent: Sequence[Message] = ()
    error: Exception | None = None
    on_message: Callable[[Message], None] = lambda message: None

    def receive(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.on_message(message)
            self.received.append(message.id)
            self.processes.add(self.loop.process.name)

    def lost(self, unsent: Sequence[Message], error: Exception | None) -> None:
        self.losses += 1  # an error raised here would only be logged
        self.lost_at, self.unsent, self.error = self.loop.time(), unsent, error


@dataclass
class Pair:
    """Two processes and a connection from `a` to `b`."""

    loop: SimulatedLoop
    network: SimulatedNetwork
    a: Process
    b: Process
    near: Connection
    far: Connection
    at_a: RecordingReceiver
    at_b: RecordingReceiver

    def post(self, *numbers: int, system: bool = False) -> None:
        grain_id = system_id("probe") if system else GrainId("cart", "ann")
        with self.loop.within(self.a):
            for number in numbers:
                self.near.post(Request(number, grain_id, "ask", b""))

    def post_back(self, number: int) -> None:
        with self.loop.within(self.b):
            self.far.post(Request(number, GrainId("cart", "ann"), "ask", b""))

    def end_of_b(self) -> None:
        self.b.alive = False
        self.network.on_process_end(self.b)

    async def refuses(self, timeout: float = 0.5, port: int = 1) -> tuple[bool, float]:
        """Whether `b` refuses a connection of `a`, and how long that took."""
        began = self.loop.time()
        return await SimulatedTransport(self.network, self.a).refuses("h", port, timeout), self.loop.time() - began

    async def connects(self) -> tuple[bool, float]:
        """Whether `a` can connect to `b`, and how long that took."""
        began = self.loop.time()
        try:
            await SimulatedTransport(self.network, self.a).connect("h", 1, HELLO, RecordingReceiver(self.loop))
        except SiloUnavailable:
            return False, self.loop.time() - began
        return True, self.loop.time() - began


def with_pair(test: Callable[[Pair], Awaitable[None]], seed: int = 1) -> None:
    loop = SimulatedLoop(random.Random(seed))
    network = SimulatedNetwork(loop, random.Random(seed), lambda source, target, message: None)
    a, b = Process("a"), Process("b")
    at_a, at_b = RecordingReceiver(loop), RecordingReceiver(loop)
    accepted: list[Connection] = []

    def accept(connection: Connection) -> RecordingReceiver:
        accepted.append(connection)
        return at_b if len(accepted) == 1 else RecordingReceiver(loop)

    async def main() -> None:
        listener = await SimulatedTransport(network, b).listen(
            "h", 1, lambda hello, _: Welcome("default", SILO, 1), accept
        )
        near = await SimulatedTransport(network, a).connect("h", 1, HELLO, at_a)
        await test(Pair(loop, network, a, b, near, accepted[0], at_a, at_b))
        await listener.close()
        assert max(at_a.losses, at_b.losses) <= 1

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
