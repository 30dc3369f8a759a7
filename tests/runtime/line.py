"""A memory network with two ends: the sender and caller of a client, and silos whose answers the test scripts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import Any

from grange.aio.loop_binding import LoopBinding
from grange.grains.interface import MethodSpec
from grange.proto.faults import Faults
from grange.proto.handshake import Hello, Role, Welcome, answer
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.message import Cancel, Message, Request
from grange.proto.values import ValueCodec
from grange.runtime.calls.caller import Caller
from grange.runtime.calls.outgoing import CallerDeps
from grange.runtime.calls.sender import Sender
from grange.runtime.locator import Locator, Moved
from grange.runtime.options import RuntimeOptions
from grange.runtime.requests.deadlines import Deadlines
from grange.runtime.requests.plan import Plans
from grange.security.certificate import Certificate
from grange.transport.memory import MemoryTransport
from grange.transport.memory_network import MemoryNetwork
from grange.transport.options import TransportOptions
from grange.transport.peers import Peers
from grange.transport.provider import Connection, Receiver

Script = Callable[["Silo", Request], Message | None]
"""(silo, request) -> its answer; None: no answer yet."""


class Silo:
    """A listener on the network that records the messages it gets. `script` answers requests."""

    def __init__(self, network: MemoryNetwork, number: int, script: Script | None, options: TransportOptions) -> None:
        self.transport = MemoryTransport(network, f"silo-{number}", options)
        self.address = SiloAddress("127.0.0.1", 20_000 + number, 1)
        self.script = script
        self.requests: list[Request] = []
        self.cancelled: list[int] = []
        self.connection: Connection | None = None
        self.came = asyncio.Event()

    async def open(self) -> None:
        await self.transport.listen(self.address.host, self.address.port, self._admit, self._accept)

    def post(self, message: Message) -> None:
        """Send on the connection that carried the requests."""
        assert self.connection is not None
        self.connection.post(message)

    def receive(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if isinstance(message, Cancel):
                self.cancelled.append(message.id)
            if not isinstance(message, Request):
                continue
            self.requests.append(message)
            self.came.set()
            reply = self.script(self, message) if self.script is not None else None
            if reply is not None:
                self.post(reply)

    def lost(self, unsent: object, error: Exception | None) -> None:
        """Keep the requests for the test."""

    def _admit(self, hello: Hello, _: Certificate | None) -> Welcome:
        return answer(hello, "test", self.address)

    def _accept(self, connection: Connection) -> Receiver:
        self.connection = connection
        return self


class Line:
    """A client's sender and caller, and the silos it calls."""

    def __init__(self, locator: Locator | None = None, **options: float) -> None:
        self.network = MemoryNetwork()
        self._options = TransportOptions(**options)  # type: ignore[arg-type]
        self.transport = MemoryTransport(self.network, "client", self._options)
        self.deadlines, faults = Deadlines(), Faults()
        self.sender = Sender(self.deadlines, faults)
        self.hello = Hello("test", Role.CLIENT, "client")
        self.peers = Peers(
            self.transport, lambda _: self.hello, self.sender.receiver_for, self._options, random.Random(0)
        )
        self.sender.connect_through(self.peers)
        deps = CallerDeps(self.sender, faults, self.deadlines, RuntimeOptions(), LoopBinding("this client"))
        self.caller = Caller(deps, locator or Nowhere(), Plans(ValueCodec()), random.Random(0))
        self.silos: list[Silo] = []

    async def silo(self, script: Script | None = None) -> Silo:
        silo = Silo(self.network, len(self.silos), script, self._options)
        await silo.open()
        self.silos.append(silo)
        return silo

    async def call(self, method: MethodSpec, *args: object, key: str = "a") -> object:
        """Call a method through the caller."""
        return await self.caller.call(GrainId(method.owner, key), method, args, {})

    async def close(self) -> None:
        await self.caller.close()
        await self.peers.close()
        for silo in self.silos:
            await silo.transport.close()
        await self.transport.close()
        self.deadlines.close()


class Nowhere:
    """runtime.locator.Locator for tests that send to known silos."""

    def known(self, grain_id: GrainId, wanted: int = 0) -> SiloAddress | None:
        return None

    async def locate(self, grain_id: GrainId, context: Any = None, wanted: int = 0) -> SiloAddress:
        raise AssertionError("nothing is located here")

    def invalidate(self, grain_id: GrainId, silo: SiloAddress, hint: SiloAddress | None, absent: bool = False) -> None:
        """Do nothing: there is no cache."""

    def watch(self, moved: Moved) -> None:
        """Do nothing: there is nothing to remember."""

    changes = 0

    async def changed(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def request() -> Request:
    """A request as the caller makes it; the sender sets its id."""
    return Request(0, GrainId("cart", "a"), "add", b"\x90")
