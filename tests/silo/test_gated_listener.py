"""The two ports of a silo refuse connections during its start, and each accepts one role of caller."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from grange.aio.tasks import Tasks
from grange.errors import HandshakeRefused
from grange.observability.events import Events
from grange.proto.acts import Asker, Level
from grange.proto.faults import Faults
from grange.proto.handshake import Hello, Role
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.message import Message
from grange.runtime.activations.catalog import Target
from grange.runtime.calls.admission import Admission
from grange.runtime.calls.inbound import Inbound
from grange.runtime.calls.wire_call import WireCall
from grange.runtime.options import RuntimeOptions
from grange.runtime.system_target import SystemTargets
from grange.silo.gated_listener import GatedListener
from grange.silo.identities import Identities, Tokens
from grange.transport.memory import MemoryTransport
from grange.transport.memory_network import MemoryNetwork
from grange.transport.provider import Connection

HOST = "127.0.0.1"


class NoMessages:
    """A receiver that expects no message."""

    def receive(self, messages: Iterable[Message]) -> None:
        raise AssertionError(list(messages))

    def lost(self, unsent: object, error: Exception | None) -> None:
        """The test is over."""


class NoGrains:
    """The entry of a silo without grains."""

    def direct(self) -> Mapping[GrainId, Target]:
        return {}

    def deliver(self, call: WireCall) -> None:
        raise AssertionError(call)


class ListenerNet:
    """A network with one listener and one transport that connects to it."""

    def __init__(self, role: Role) -> None:
        self.network = MemoryNetwork()
        self.server, self.client = MemoryTransport(self.network), MemoryTransport(self.network)
        self.listener = GatedListener(role, "shop")

    async def listen(self) -> SiloAddress:
        port = await self.listener.listen(self.server, HOST, 0)
        self.address = SiloAddress(HOST, port, 5)
        return self.address

    def admit(self) -> None:
        targets = SystemTargets(lambda peer: Asker(peer.hello.name, Level.NONE))
        inbound = Inbound(NoGrains(), targets, Faults(), Tasks(), Admission(RuntimeOptions()))
        self.listener.admit(self.address, inbound, Identities(Tokens(), Events()).admit)

    async def connect(
        self, role: Role = Role.CLIENT, cluster: str = "shop", target: SiloAddress | None = None
    ) -> Connection:
        hello = Hello(cluster, role, "me", target=target)
        return await self.client.connect(HOST, self.address.port, hello, NoMessages())


async def test_a_connection_during_the_start_is_refused_as_starting() -> None:
    """The port is open, because the silo's address contains it. At the code "starting" a client tries again."""
    net = ListenerNet(Role.CLIENT)
    await net.listen()
    with pytest.raises(HandshakeRefused, match="still starting; try again") as caught:
        await net.connect()
    assert caught.value.code == "starting"
    net.admit()
    connection = await net.connect()
    assert connection.welcome.address == net.address


@pytest.mark.parametrize(
    ("mine", "other", "words"),
    [
        (Role.CLIENT, Role.SILO, r"the gateway port of .*; silos use its silo port \(port, by default 11111"),
        (Role.SILO, Role.CLIENT, r"the port of .* for other silos; clients use its gateway port .*30000"),
    ],
)
async def test_a_connection_to_the_wrong_port_is_refused_with_the_right_one(
    mine: Role, other: Role, words: str
) -> None:
    net = ListenerNet(mine)
    await net.listen()
    net.admit()
    with pytest.raises(HandshakeRefused, match=words) as caught:
        await net.connect(other)
    assert caught.value.code == "wrong-port"


@pytest.mark.parametrize(
    ("cluster", "generation", "code"), [("other", 5, "wrong-cluster"), ("shop", 4, "other-generation")]
)
async def test_a_connection_for_another_cluster_or_generation_is_refused(
    cluster: str, generation: int, code: str
) -> None:
    net = ListenerNet(Role.SILO)
    await net.listen()
    net.admit()
    target = SiloAddress(HOST, net.address.port, generation)
    with pytest.raises(HandshakeRefused) as caught:
        await net.connect(Role.SILO, cluster, target)
    assert caught.value.code == code


async def test_a_closed_listener_accepts_no_connection_and_closes_the_open_ones() -> None:
    net = ListenerNet(Role.CLIENT)
    await net.listen()
    net.admit()
    connection = await net.connect()
    await net.listener.close()
    assert connection.closed
    with pytest.raises(Exception, match="no process listens"):
        await net.connect()
    await GatedListener(Role.CLIENT, "shop").close()
