"""What a silo says of the peers that connect to it, without the silo."""

from __future__ import annotations

from collections.abc import Iterable

from grange.proto.acts import Asker
from grange.proto.handshake import Hello, Role, Welcome
from grange.proto.handshake import answer as welcome
from grange.proto.ids import SiloAddress
from grange.proto.message import Message
from grange.security.certificate import Certificate
from grange.silo.identities import Identities
from grange.transport.memory import MemoryTransport
from grange.transport.memory_network import MemoryNetwork
from grange.transport.provider import Connection, Receiver

HERE = SiloAddress("127.0.0.1", 1, 1)


class Peer:
    """Reads nothing."""

    def receive(self, messages: Iterable[Message]) -> None:
        raise AssertionError("no message is sent")

    def lost(self, unsent: object, error: Exception | None) -> None:
        """Do nothing."""


async def asker_of(identities: Identities, hello: Hello, certificate: Certificate | None = None) -> Asker:
    """The peer of a connection with this Hello, as a listener finds it. Raises HandshakeRefused."""
    network, found = MemoryNetwork(), list[Asker]()

    def admit(hello: Hello, shown: Certificate | None) -> Welcome:
        identities.admit(hello, shown)
        return welcome(hello, hello.cluster, HERE)

    def accept(connection: Connection) -> Receiver:
        found.append(identities.asker_of(connection))
        return Peer()

    here, there = MemoryTransport(network), MemoryTransport(network, certificate=certificate)
    try:
        await here.listen(HERE.host, HERE.port, admit, accept)
        await there.connect(HERE.host, HERE.port, hello, Peer())
    finally:
        await there.close()
        await here.close()
    return found[0]


def client(token: str = "", cluster: str = "shop") -> Hello:
    """The Hello of a client."""
    return Hello(cluster, Role.CLIENT, "c", token=token)
