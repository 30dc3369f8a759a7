"""The two ports of a silo: shut while it starts, and each for its own kind of caller."""

from __future__ import annotations

import pytest

from grange.aio.tasks import Tasks
from grange.errors import HandshakeRefused
from grange.proto.faults import Faults
from grange.proto.handshake import Hello, Role
from grange.proto.ids import SiloAddress
from grange.runtime.calls.inbound import Inbound
from grange.runtime.options import RuntimeOptions
from grange.runtime.system_target import SystemTargets
from grange.silo.gated_listener import GatedListener
from grange.transport.memory import MemoryTransport
from grange.transport.memory_network import MemoryNetwork
from grange.transport.provider import Connection

HOST = "127.0.0.1"


class Nobody:
    """A receiver that expects nothing."""

    def receive(self, message: object) -> None:
        raise AssertionError(message)

    def lost(self, unsent: object, error: Exception | None) -> None:
        """The test is over."""


class Building:
    """One door on a network, and somebody who knocks."""

    def __init__(self, role: Role) -> None:
        self.network = MemoryNetwork()
        self.inside, self.outside = MemoryTransport(self.network), MemoryTransport(self.network)
        self.listener = GatedListener(role, "shop")

    async def listen(self) -> SiloAddress:
        port = await self.listener.listen(self.inside, HOST, 0)
        self.address = SiloAddress(HOST, port, 5)
        return self.address

    def open(self) -> None:
        inbound = Inbound(lambda call: None, SystemTargets(), Faults(), Tasks(), RuntimeOptions())
        self.listener.open(self.address, inbound)

    async def knock(
        self, role: Role = Role.CLIENT, cluster: str = "shop", target: SiloAddress | None = None
    ) -> Connection:
        hello = Hello(cluster, role, "me", target=target)
        return await self.outside.connect(HOST, self.address.port, hello, Nobody())


async def test_who_comes_too_early_is_told_so() -> None:
    """The port is open, because the silo's address contains it; a client knows by the code to try again."""
    building = Building(Role.CLIENT)
    await building.listen()
    with pytest.raises(HandshakeRefused, match="still starting; try again") as caught:
        await building.knock()
    assert caught.value.code == "starting"
    building.open()
    connection = await building.knock()
    assert connection.welcome.address == building.address


@pytest.mark.parametrize(
    ("mine", "other", "words"),
    [
        (Role.CLIENT, Role.SILO, r"the gateway port of .*; silos use its silo port \(port, by default 11111"),
        (Role.SILO, Role.CLIENT, r"the port of .* for other silos; clients use its gateway port .*30000"),
    ],
)
async def test_who_comes_to_the_wrong_port_is_sent_to_the_other(mine: Role, other: Role, words: str) -> None:
    building = Building(mine)
    await building.listen()
    building.open()
    with pytest.raises(HandshakeRefused, match=words) as caught:
        await building.knock(other)
    assert caught.value.code == "wrong-port"


@pytest.mark.parametrize(
    ("cluster", "generation", "code"), [("other", 5, "wrong-cluster"), ("shop", 4, "other-generation")]
)
async def test_who_looks_for_somebody_else_is_refused(cluster: str, generation: int, code: str) -> None:
    building = Building(Role.SILO)
    await building.listen()
    building.open()
    target = SiloAddress(HOST, building.address.port, generation)
    with pytest.raises(HandshakeRefused) as caught:
        await building.knock(Role.SILO, cluster, target)
    assert caught.value.code == code


async def test_a_closed_door_lets_nobody_in_and_its_guests_go() -> None:
    building = Building(Role.CLIENT)
    await building.listen()
    building.open()
    guest = await building.knock()
    await building.listener.close()
    assert guest.closed
    with pytest.raises(Exception, match="nobody listens"):
        await building.knock()
    await GatedListener(Role.CLIENT, "shop").close()
