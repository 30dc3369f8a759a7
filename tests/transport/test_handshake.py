"""How a connection begins, on both transports."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from grange.errors import ConfigurationError, HandshakeRefused, SiloUnavailable
from grange.proto.handshake import PROTOCOL_MAX, Hello, Role, Welcome
from grange.proto.ids import SiloAddress
from grange.transport.provider import Connection
from tests.transport.net import CLUSTER, ActivationDeps, Inbox, Net, request


@pytest.fixture
async def site(net: Net) -> ActivationDeps:
    return await net.site(net.transport())


async def refused(net: Net, site: ActivationDeps, hello: Hello) -> HandshakeRefused:
    inbox = Inbox()
    with pytest.raises(HandshakeRefused) as caught:
        await net.transport().connect("127.0.0.1", site.address.port, hello, inbox)
    assert site.connections == []
    assert inbox.endings == []  # there never was a connection to lose
    return caught.value


async def test_both_sides_learn_who_the_other_is(net: Net, site: ActivationDeps) -> None:
    here = SiloAddress("10.0.0.1", 11111, 7)
    hello = Hello(CLUSTER, Role.SILO, "silo seven", address=here, target=site.address, manifest="abc")
    connection = await net.transport().connect("127.0.0.1", site.address.port, hello, Inbox())
    for side in (connection, site.connection):
        assert (side.hello.role, side.hello.name, side.hello.address) == (Role.SILO, "silo seven", here)
        assert (side.hello.target, side.hello.manifest) == (site.address, "abc")
        assert (side.welcome.cluster, side.welcome.address) == (CLUSTER, site.address)
        assert side.welcome.protocol == PROTOCOL_MAX
        assert not side.closed


async def test_another_cluster_is_refused_by_name(net: Net, site: ActivationDeps) -> None:
    error = await refused(net, site, net.hello(cluster="production"))
    assert error.code == "wrong-cluster"
    assert "'production'" in str(error)
    assert f"'{CLUSTER}'" in str(error)


async def test_a_protocol_from_the_future_is_refused(net: Net, site: ActivationDeps) -> None:
    error = await refused(net, site, net.hello(protocol_min=PROTOCOL_MAX + 1, protocol_max=PROTOCOL_MAX + 2))
    assert error.code == "protocol-version"
    assert "upgrade the older side" in str(error)


async def test_an_older_generation_is_gone(net: Net, site: ActivationDeps) -> None:
    error = await refused(net, site, net.hello(target=SiloAddress("127.0.0.1", site.address.port, 0)))
    assert error.code == "other-generation"


async def test_a_welcome_that_does_not_fit_is_refused_by_the_opening_side(net: Net, site: ActivationDeps) -> None:
    site.admit = lambda hello: Welcome("elsewhere", site.address, PROTOCOL_MAX)  # type: ignore[method-assign]
    door = await net.transport().listen("127.0.0.1", 0, site.admit, site.accept)
    with pytest.raises(HandshakeRefused, match="'elsewhere'") as caught:
        await net.transport().connect("127.0.0.1", door.port, net.hello(), Inbox())
    assert caught.value.code == "wrong-cluster"


@pytest.mark.parametrize("broken", ["admit", "accept"])
async def test_a_fault_of_the_accepting_side_refuses_one_caller_and_is_reported(net: Net, broken: str) -> None:
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reports.append(context))
    site = ActivationDeps(SiloAddress("127.0.0.1", 1, 1), echo=False)

    def fail(_: object) -> Any:
        raise RuntimeError("secret of the server")

    setattr(site, broken, fail)
    door = await net.transport().listen("127.0.0.1", 0, site.admit, site.accept)
    with pytest.raises(HandshakeRefused) as caught:
        await net.transport().connect("127.0.0.1", door.port, net.hello(), Inbox())
    assert caught.value.code == "internal"
    assert "secret" not in str(caught.value)
    assert isinstance(reports[0]["exception"], RuntimeError)


async def test_nobody_listens(net: Net) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(SiloUnavailable, match=rf"127\.0\.0\.1:{port}"):
        await net.transport().connect("127.0.0.1", port, net.hello(), Inbox())


async def test_a_port_in_use_is_named(net: Net, site: ActivationDeps) -> None:
    with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1:{site.address.port}.*in use"):
        await net.transport().listen("127.0.0.1", site.address.port, site.admit, site.accept)


async def test_one_transport_has_two_doors(net: Net) -> None:
    transport = net.transport()
    silo, gateway = await net.site(transport), await net.site(transport)
    assert silo.address.port != gateway.address.port
    client = net.transport()
    for site, number in ((silo, 1), (gateway, 2)):
        connection = await client.connect("127.0.0.1", site.address.port, net.hello(), Inbox())
        connection.post(request(number))
        assert [message.id for message in await site.inbox.count(1)] == [number]


async def test_cancelling_a_connect_leaves_nothing_behind(net: Net, site: ActivationDeps) -> None:
    transport = net.transport()
    inboxes = [Inbox() for _ in range(20)]
    for steps, inbox in enumerate(inboxes):
        attempt = asyncio.ensure_future(transport.connect("127.0.0.1", site.address.port, net.hello(), inbox))
        for _ in range(steps):  # cancel it at every stage that it goes through
            await asyncio.sleep(0)
        if attempt.cancel():
            with pytest.raises(asyncio.CancelledError):
                await attempt
        else:
            await attempt
    await transport.close()
    await asyncio.gather(*(inbox.ended() for inbox in site.inboxes))  # the silo keeps none of them either


async def test_a_closed_transport_connects_and_listens_no_more(net: Net, site: ActivationDeps) -> None:
    transport = net.transport()
    await transport.close()
    with pytest.raises(SiloUnavailable):
        await transport.connect("127.0.0.1", site.address.port, net.hello(), Inbox())
    with pytest.raises((ConfigurationError, SiloUnavailable)):
        await transport.listen("127.0.0.1", 0, site.admit, site.accept)


async def test_many_connections_at_once(net: Net) -> None:
    site = await net.site(net.transport(), echo=True)
    client = net.transport()

    async def one(number: int) -> None:
        inbox = Inbox()
        connection: Connection = await client.connect("127.0.0.1", site.address.port, net.hello(), inbox)
        connection.post(request(number))
        assert [message.id for message in await inbox.count(1)] == [number]

    await asyncio.gather(*(one(number) for number in range(50)))
    assert len(site.connections) == 50
