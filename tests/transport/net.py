"""What the transport tests are built from: receivers that keep what they get, silos that are only a door, and
networks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from grange.proto import handshake
from grange.proto.handshake import Hello, Role, Welcome
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.message import Message, Request, Response
from grange.transport.grpc import GrpcTransport
from grange.transport.memory import MemoryTransport
from grange.transport.memory_network import MemoryNetwork
from grange.transport.options import TransportOptions
from grange.transport.provider import Connection, Listener, Transport

CLUSTER = "test"


def request(number: int, args: bytes = b"\x90", key: str = "ann") -> Request:
    """A request like any other."""
    return Request(number, GrainId("cart", key), "add", args)


class Inbox:
    """A receiver that keeps everything, and lets a test wait for it. `on_message` may look at each first."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.endings: list[tuple[list[Message], Exception | None]] = []
        self.on_message: Callable[[Message], None] | None = None
        self._changed = asyncio.Event()

    def receive(self, message: Message) -> None:
        if self.on_message is not None:
            self.on_message(message)
        self.messages.append(message)
        self._changed.set()

    def lost(self, unsent: Sequence[Message], error: Exception | None) -> None:
        self.endings.append((list(unsent), error))
        self._changed.set()

    async def count(self, number: int) -> list[Message]:
        """Wait until at least that many messages are here."""
        async with asyncio.timeout(20):
            while len(self.messages) < number:
                self._changed.clear()
                await self._changed.wait()
        return self.messages

    async def ended(self) -> tuple[list[Message], Exception | None]:
        """Wait for the end; returns what `lost` was told."""
        async with asyncio.timeout(20):
            while not self.endings:
                self._changed.clear()
                await self._changed.wait()
        return self.endings[0]

    @property
    def unsent(self) -> list[int]:
        """The ids of what never left."""
        return [message.id for message in self.endings[0][0]]


class Echo(Inbox):
    """Answers each request on the connection it came by."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection

    def receive(self, message: Message) -> None:
        super().receive(message)
        if isinstance(message, Request):
            self.connection.post(Response(message.id, message.args))


class ActivationDeps:
    """One silo's door and what came through it."""

    def __init__(self, address: SiloAddress, echo: bool) -> None:
        self.address = address
        self.echo = echo
        self.connections: list[Connection] = []
        self.inboxes: list[Inbox] = []
        self.listener: Listener | None = None

    def admit(self, hello: Hello) -> Welcome:
        return handshake.answer(hello, CLUSTER, self.address)

    def accept(self, connection: Connection) -> Inbox:
        inbox = Echo(connection) if self.echo else Inbox()
        self.connections.append(connection)
        self.inboxes.append(inbox)
        return inbox

    @property
    def inbox(self) -> Inbox:
        """Of the only connection so far."""
        (inbox,) = self.inboxes
        return inbox

    @property
    def connection(self) -> Connection:
        (connection,) = self.connections
        return connection


class Net:
    """A place to build transports and silos; knows which kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.memory = MemoryNetwork()
        self.transports: list[Transport] = []

    def transport(self, **options: float) -> Transport:
        chosen = TransportOptions(**options)  # type: ignore[arg-type]
        made: Transport
        made = MemoryTransport(self.memory, options=chosen) if self.kind == "memory" else GrpcTransport(chosen)
        self.transports.append(made)
        return made

    async def site(self, transport: Transport, *, echo: bool = False, port: int = 0) -> ActivationDeps:
        site = ActivationDeps(SiloAddress("127.0.0.1", port, 1), echo)
        site.listener = await transport.listen("127.0.0.1", port, site.admit, site.accept)
        site.address = SiloAddress("127.0.0.1", site.listener.port, 1)
        return site

    def hello(self, cluster: str = CLUSTER, **fields: object) -> Hello:
        return Hello(cluster=cluster, role=Role.CLIENT, name="tester", **fields)  # type: ignore[arg-type]

    async def pair(self, *, echo: bool = False, **options: float) -> tuple[ActivationDeps, Connection, Inbox]:
        """A silo and one connection to it, both with these options."""
        site = await self.site(self.transport(**options), echo=echo)
        inbox = Inbox()
        here = self.transport(**options)
        connection = await here.connect("127.0.0.1", site.address.port, self.hello(), inbox)
        return site, connection, inbox
