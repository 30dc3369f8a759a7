"""Whether a port refuses connections: real sockets, and the network in memory."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from grange.proto.handshake import Hello, Welcome
from grange.security.certificate import Certificate
from grange.testing.loop import VirtualTime
from grange.transport.memory import MemoryTransport
from grange.transport.memory_network import MemoryNetwork
from grange.transport.provider import Connection, Receiver
from grange.transport.refusal import refuses

HOST = "127.0.0.1"


@pytest.fixture
def full() -> Iterator[tuple[str, int]]:
    """A port that listens, and whose backlog is full: the kernel drops further connections."""
    with socket.create_server((HOST, 0), backlog=0) as server:
        place = server.getsockname()
        waiting = []
        for _ in range(8):
            each = socket.socket()
            each.setblocking(False)
            each.connect_ex(place)
            waiting.append(each)
        yield place
        for each in waiting:
            each.close()


async def test_a_port_without_a_listener_refuses() -> None:
    with socket.socket() as held:
        held.bind((HOST, 0))  # bound, so that no other process takes it; it does not listen
        assert await refuses(*held.getsockname(), 5.0)


async def test_a_port_with_a_listener_does_not_refuse() -> None:
    with socket.create_server((HOST, 0)) as server:
        assert not await refuses(*server.getsockname(), 5.0)


async def test_a_port_that_does_not_answer_does_not_refuse(full: tuple[str, int]) -> None:
    assert not await refuses(*full, 0.2)


async def test_a_name_without_an_address_does_not_refuse() -> None:
    assert not await refuses("no-such-name.invalid", 1, 5.0)


@pytest.mark.parametrize(("host", "port"), [("x" * 64 + ".invalid", 1), ("a..b", 1), (HOST, 70_000), (HOST, -1)])
async def test_a_place_that_cannot_exist_does_not_refuse(host: str, port: int) -> None:
    """A row may say anything; the look at it must not raise an error."""
    assert not await refuses(host, port, 5.0)


async def test_a_name_refuses_only_by_all_its_addresses() -> None:
    """`localhost` may be 127.0.0.1 and ::1: a process listens on one of them."""
    with socket.create_server((HOST, 0)) as server:
        assert not await refuses("localhost", server.getsockname()[1], 5.0)


def admit(_: Hello, __: Certificate | None) -> Welcome:
    raise AssertionError("no test here shakes hands")


def accept(_: Connection) -> Receiver:
    raise AssertionError("no test here shakes hands")


async def test_a_network_in_memory_refuses_for_a_firewall_and_not_for_a_cut() -> None:
    with VirtualTime(asyncio.get_running_loop()).installed():
        network = MemoryNetwork()
        one, other = MemoryTransport(network, "one"), MemoryTransport(network, "other")
        await other.listen(HOST, 11111, admit, accept)
        assert not await one.refuses(HOST, 11111, 1.0)
        assert await one.refuses(HOST, 11112, 1.0)
        network.partition("one", "other")
        assert not await one.refuses(HOST, 11111, 1.0)
        network.heal()
        network.reject("one", "other", one_way=True)
        assert await one.refuses(HOST, 11111, 1.0)
        network.heal("one", "other")
        network.reject("other", "one", one_way=True)
        assert not await one.refuses(HOST, 11111, 1.0), "its answers are refused, so nothing arrives"
        network.heal()
        network.kill("other")
        assert await one.refuses(HOST, 11111, 1.0)


async def test_a_port_that_is_connected_to_itself_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may choose the port that is looked at as the port of the connection: TCP's simultaneous open."""
    with socket.socket() as held:
        held.bind((HOST, 0))
        place = held.getsockname()
    made = socket.socket

    def bound(*arguments: int) -> socket.socket:
        opened = made(*arguments)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(place)
        return opened

    monkeypatch.setattr("grange.transport.refusal.socket.socket", bound)
    assert await refuses(*place, 5.0)
