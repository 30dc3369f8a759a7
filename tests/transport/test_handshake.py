"""How a connection begins, on both transports."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from grange.errors import ConfigurationError, HandshakeRefused, SiloUnavailable
from grange.proto.handshake import PROTOCOL_MAX, Hello, Role, Welcome, check
from grange.proto.ids import SiloAddress
from grange.transport.handshake import answer
from grange.transport.options import TransportOptions
from grange.transport.provider import Connection
from tests.transport.net import CLUSTER, FakeSilo, Inbox, Net, collect_reports, request


@pytest.fixture
async def silo(net: Net) -> FakeSilo:
    return await net.silo(net.transport())


async def refused(net: Net, silo: FakeSilo, hello: Hello) -> HandshakeRefused:
    inbox = Inbox()
    with pytest.raises(HandshakeRefused) as caught:
        await net.transport().connect("127.0.0.1", silo.address.port, hello, inbox)
    assert silo.connections == []
    assert inbox.endings == []  # no connection was established, so none is lost
    return caught.value


async def test_both_sides_learn_the_identity_of_the_other(net: Net, silo: FakeSilo) -> None:
    here = SiloAddress("10.0.0.1", 11111, 7)
    hello = Hello(CLUSTER, Role.SILO, "silo seven", address=here, target=silo.address, manifest="abc")
    connection = await net.transport().connect("127.0.0.1", silo.address.port, hello, Inbox())
    for side in (connection, silo.connection):
        assert (side.hello.role, side.hello.name, side.hello.address) == (Role.SILO, "silo seven", here)
        assert (side.hello.target, side.hello.manifest) == (silo.address, "abc")
        assert (side.welcome.cluster, side.welcome.address) == (CLUSTER, silo.address)
        assert side.welcome.protocol == PROTOCOL_MAX
        assert not side.closed


@pytest.mark.parametrize(("here", "there", "agreed"), [(True, True, 1), (True, False, 0), (False, True, 0)])
async def test_packed_frames_need_both_sides(net: Net, here: bool, there: bool, agreed: int) -> None:
    """A side of an earlier version does not offer them."""
    silo = await net.silo(net.transport(packed_frames=there), echo=True)
    transport, inbox = net.transport(packed_frames=here), Inbox()
    connection = await transport.connect("127.0.0.1", silo.address.port, net.hello(), inbox)
    for side in (connection, silo.connection):
        assert (side.hello.packed, side.welcome.packed) == (int(here), agreed)
    connection.post(request(1))
    assert [message.id for message in await inbox.count(1)] == [1]


async def test_packed_frames_that_were_not_offered_are_refused_by_the_opening_side() -> None:
    hello = Hello(CLUSTER, Role.CLIENT, "tester", packed=1)
    welcome = Welcome(CLUSTER, SiloAddress("h", 1, 1), PROTOCOL_MAX, packed=2)
    with pytest.raises(HandshakeRefused, match="packed frames of version 2") as caught:
        check(hello, welcome)
    assert caught.value.code == "protocol-version"


async def test_a_peer_of_a_later_version_gets_the_packed_frames_of_this_one() -> None:
    hello = Hello(CLUSTER, Role.CLIENT, "tester", packed=9)
    handshake = answer(hello, lambda *_: Welcome(CLUSTER, SiloAddress("h", 1, 1), PROTOCOL_MAX), TransportOptions())
    assert handshake.welcome.packed == 1


async def test_another_cluster_is_refused_by_name(net: Net, silo: FakeSilo) -> None:
    """S11."""
    error = await refused(net, silo, net.hello(cluster="production"))
    assert error.code == "wrong-cluster"
    assert "'production'" in str(error)
    assert f"'{CLUSTER}'" in str(error)


async def test_a_protocol_from_the_future_is_refused(net: Net, silo: FakeSilo) -> None:
    error = await refused(net, silo, net.hello(protocol_min=PROTOCOL_MAX + 1, protocol_max=PROTOCOL_MAX + 2))
    assert error.code == "protocol-version"
    assert "upgrade the older side" in str(error)


async def test_an_older_generation_is_gone(net: Net, silo: FakeSilo) -> None:
    error = await refused(net, silo, net.hello(target=SiloAddress("127.0.0.1", silo.address.port, 0)))
    assert error.code == "other-generation"


async def test_a_welcome_of_another_cluster_is_refused_by_the_opening_side(net: Net, silo: FakeSilo) -> None:
    silo.admit = lambda hello, _: Welcome("elsewhere", silo.address, PROTOCOL_MAX)  # type: ignore[method-assign]
    listener = await net.transport().listen("127.0.0.1", 0, silo.admit, silo.accept)
    with pytest.raises(HandshakeRefused, match="'elsewhere'") as caught:
        await net.transport().connect("127.0.0.1", listener.port, net.hello(), Inbox())
    assert caught.value.code == "wrong-cluster"


@pytest.mark.parametrize("broken", ["admit", "accept"])
async def test_an_exception_of_the_accepting_side_refuses_one_caller_and_is_reported(net: Net, broken: str) -> None:
    reports = collect_reports()
    silo = FakeSilo(SiloAddress("127.0.0.1", 1, 1), echo=False)

    def fail(*_: object) -> Any:
        raise RuntimeError("secret of the server")

    setattr(silo, broken, fail)
    listener = await net.transport().listen("127.0.0.1", 0, silo.admit, silo.accept)
    with pytest.raises(HandshakeRefused) as caught:
        await net.transport().connect("127.0.0.1", listener.port, net.hello(), Inbox())
    assert caught.value.code == "internal"
    assert "secret" not in str(caught.value)
    assert isinstance(reports[0], RuntimeError)


async def test_connecting_to_a_closed_port_fails(net: Net) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(SiloUnavailable, match=rf"127\.0\.0\.1:{port}"):
        await net.transport().connect("127.0.0.1", port, net.hello(), Inbox())


async def test_a_port_in_use_is_named(net: Net, silo: FakeSilo) -> None:
    with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1:{silo.address.port}.*in use"):
        await net.transport().listen("127.0.0.1", silo.address.port, silo.admit, silo.accept)


async def test_one_transport_has_two_listeners(net: Net) -> None:
    transport = net.transport()
    inner, gateway = await net.silo(transport), await net.silo(transport)
    assert inner.address.port != gateway.address.port
    client = net.transport()
    for silo, number in ((inner, 1), (gateway, 2)):
        connection = await client.connect("127.0.0.1", silo.address.port, net.hello(), Inbox())
        connection.post(request(number))
        assert [message.id for message in await silo.inbox.count(1)] == [number]


async def test_cancelling_a_connect_leaves_nothing_behind(net: Net, silo: FakeSilo) -> None:
    transport = net.transport()
    inboxes = [Inbox() for _ in range(20)]
    for steps, inbox in enumerate(inboxes):
        attempt = asyncio.ensure_future(transport.connect("127.0.0.1", silo.address.port, net.hello(), inbox))
        for _ in range(steps):  # cancel it in every stage
            await asyncio.sleep(0)
        if attempt.cancel():
            with pytest.raises(asyncio.CancelledError):
                await attempt
        else:
            await attempt
    await transport.close()
    await asyncio.gather(*(inbox.ended() for inbox in silo.inboxes))  # the silo keeps no connection either


async def test_a_closed_transport_neither_connects_nor_listens(net: Net, silo: FakeSilo) -> None:
    transport = net.transport()
    await transport.close()
    with pytest.raises(SiloUnavailable):
        await transport.connect("127.0.0.1", silo.address.port, net.hello(), Inbox())
    with pytest.raises((ConfigurationError, SiloUnavailable)):
        await transport.listen("127.0.0.1", 0, silo.admit, silo.accept)


async def test_many_connections_at_once(net: Net) -> None:
    silo = await net.silo(net.transport(), echo=True)
    client = net.transport()

    async def one(number: int) -> None:
        inbox = Inbox()
        connection: Connection = await client.connect("127.0.0.1", silo.address.port, net.hello(), inbox)
        connection.post(request(number))
        assert [message.id for message in await inbox.count(1)] == [number]

    await asyncio.gather(*(one(number) for number in range(50)))
    assert len(silo.connections) == 50
