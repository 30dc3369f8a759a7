"""Building blocks of the transport tests: receivers that keep messages, silos with only a listener, and networks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from grange.errors import HandshakeRefused
from grange.proto import handshake
from grange.proto.handshake import Hello, Role, Welcome
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.message import Message, Request, Response
from grange.security.certificate import Certificate
from grange.transport.grpc import GrpcTransport
from grange.transport.memory import MemoryTransport
from grange.transport.memory_network import MemoryNetwork
from grange.transport.options import TransportOptions
from grange.transport.provider import Connection, Listener, Transport
from grange.transport.tcp import TcpTransport
from tests.transport.pairs import Pairs

CLUSTER = "test"


def request(number: int, args: bytes = b"\x90", key: str = "ann") -> Request:
    """An ordinary request."""
    return Request(number, GrainId("cart", key), "add", args)


def collect_reports() -> list[BaseException]:
    """Collect the exceptions that grange reports to the loop's exception handler. Others go to the default handler."""
    reports: list[BaseException] = []

    def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context["message"] == "a callback given to grange.transport raised":
            reports.append(context["exception"])
        elif not _is_event_of_a_closed_loop(context):
            loop.default_exception_handler(context)

    asyncio.get_running_loop().set_exception_handler(report)
    return reports


def _is_event_of_a_closed_loop(context: dict[str, Any]) -> bool:
    """Whether gRPC's poller, which all loops share, had an event for a loop that an earlier test has closed."""
    return (
        context["message"].startswith("Exception in callback PollerCompletionQueue._handle_events(")
        and isinstance(context.get("exception"), RuntimeError)
        and str(context["exception"]) == "Event loop is closed"
    )


class Inbox:
    """A receiver that keeps all messages and lets a test wait for them. `on_message` is called with each first."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.endings: list[tuple[list[Message], Exception | None]] = []
        self.on_message: Callable[[Message], None] | None = None
        self._changed = asyncio.Event()
        self.retired: list[bool] = []
        self.answered = asyncio.Event()

    def opened(self, connection: Connection) -> None:
        """`peers.OpeningReceiver`."""

    def retire(self, *, replaced: bool) -> asyncio.Event:
        """`peers.OpeningReceiver`."""
        self.retired.append(replaced)
        return self.answered

    def receive(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if self.on_message is not None:
                self.on_message(message)
            self.messages.append(message)
            self._changed.set()

    def lost(self, unsent: Sequence[Message], error: Exception | None) -> None:
        self.endings.append((list(unsent), error))
        self.answered.set()
        self._changed.set()

    async def count(self, number: int) -> list[Message]:
        """Wait for at least this many messages; return all of them."""
        async with asyncio.timeout(20):
            while len(self.messages) < number:
                self._changed.clear()
                await self._changed.wait()
        return self.messages

    async def ended(self) -> tuple[list[Message], Exception | None]:
        """Wait for the end; return the arguments of `lost`."""
        async with asyncio.timeout(20):
            while not self.endings:
                self._changed.clear()
                await self._changed.wait()
        return self.endings[0]

    @property
    def unsent(self) -> list[int]:
        """The ids of the messages that were never sent."""
        return [message.id for message in self.endings[0][0]]


class Echo(Inbox):
    """Answers each request on the connection of that request."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection

    def receive(self, messages: Iterable[Message]) -> None:
        for message in messages:
            super().receive([message])
            if isinstance(message, Request):
                self.connection.post(Response(message.id, message.args))


class FakeSilo:
    """The listener of a silo, and the connections and messages that it accepted."""

    def __init__(self, address: SiloAddress, echo: bool) -> None:
        self.address = address
        self.echo = echo
        self.connections: list[Connection] = []
        self.inboxes: list[Inbox] = []
        self.listener: Listener | None = None
        self.on_message: Callable[[Message], None] | None = None
        self.refusal: HandshakeRefused | None = None

    def admit(self, hello: Hello, _: Certificate | None = None) -> Welcome:
        if self.refusal is not None:
            raise self.refusal
        return handshake.answer(hello, CLUSTER, self.address)

    def accept(self, connection: Connection) -> Inbox:
        inbox = Echo(connection) if self.echo else Inbox()
        inbox.on_message = self.on_message
        self.connections.append(connection)
        self.inboxes.append(inbox)
        return inbox

    @property
    def inbox(self) -> Inbox:
        """The inbox of the only connection so far."""
        (inbox,) = self.inboxes
        return inbox

    @property
    def connection(self) -> Connection:
        (connection,) = self.connections
        return connection


class Net:
    """Builds transports and silos of one kind: memory, gRPC or plain sockets, these two also with TLS.

    With TLS each transport has the certificate of a silo.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.memory = MemoryNetwork()
        self.pairs = Pairs(CLUSTER) if kind.endswith("+tls") else None
        self.transports: list[Transport] = []

    def transport(self, **options: float) -> Transport:
        chosen = TransportOptions(**options)  # type: ignore[arg-type]
        made: Transport
        if self.kind == "memory":
            made = MemoryTransport(self.memory, options=chosen)
        else:
            tls = None if self.pairs is None else self.pairs.silo()
            made = GrpcTransport(chosen, tls) if self.kind.startswith("grpc") else TcpTransport(chosen, tls)
        self.transports.append(made)
        return made

    async def silo(self, transport: Transport, *, echo: bool = False, port: int = 0) -> FakeSilo:
        silo = FakeSilo(SiloAddress("127.0.0.1", port, 1), echo)
        silo.listener = await transport.listen("127.0.0.1", port, silo.admit, silo.accept)
        silo.address = SiloAddress("127.0.0.1", silo.listener.port, 1)
        return silo

    def hello(self, cluster: str = CLUSTER, **fields: object) -> Hello:
        return Hello(cluster=cluster, role=Role.CLIENT, name="tester", **fields)  # type: ignore[arg-type]

    async def pair(self, *, echo: bool = False, **options: float) -> tuple[FakeSilo, Connection, Inbox]:
        """Make a silo and one connection to it, both with these options."""
        silo = await self.silo(self.transport(**options), echo=echo)
        inbox = Inbox()
        here = self.transport(**options)
        connection = await here.connect("127.0.0.1", silo.address.port, self.hello(), inbox)
        return silo, connection, inbox
