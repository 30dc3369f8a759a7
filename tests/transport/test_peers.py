"""One connection per peer: shared attempts, back-off, killing, closing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable

import pytest

from grange.errors import HandshakeRefused, SiloUnavailable
from grange.proto.handshake import Hello, Role
from grange.proto.ids import SiloAddress
from grange.transport.options import TransportOptions
from grange.transport.peers import MOST_RETRY_AFTER, Peers
from grange.transport.provider import Connection, Receiver, Transport
from tests.transport.net import CLUSTER, Inbox, Net, request

CLOSED_PORT = SiloAddress("127.0.0.1", 9, 1)


class Counting:
    """A transport that counts attempts and holds them while `gate` is closed."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.attempts = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.tls = inner.tls

    async def connect(self, host: str, port: int, hello: Hello, receiver: Receiver) -> Connection:
        self.attempts += 1
        await self.gate.wait()
        return await self.inner.connect(host, port, hello, receiver)


@pytest.fixture
async def here(net: Net) -> Counting:
    return Counting(net.transport())


@pytest.fixture
def inboxes() -> dict[SiloAddress, Inbox]:
    return {}


@pytest.fixture
async def peers(here: Counting, inboxes: dict[SiloAddress, Inbox]) -> AsyncIterator[Peers]:
    made = Peers(
        here,  # type: ignore[arg-type]
        lambda address: Hello(CLUSTER, Role.CLIENT, "tester", target=address),
        lambda address: inboxes.setdefault(address, Inbox()),
        TransportOptions(),
        random.Random(1),
    )
    yield made
    await made.close()


async def test_concurrent_callers_share_one_connection(net: Net, here: Counting, peers: Peers) -> None:
    silo = await net.silo(net.transport())
    assert peers.current(silo.address) is None
    here.gate.clear()
    callers = [asyncio.ensure_future(peers.get(silo.address)) for _ in range(10)]
    await asyncio.sleep(0)
    here.gate.set()
    connections = await asyncio.gather(*callers)
    assert len(set(map(id, connections))) == 1
    assert peers.current(silo.address) is connections[0]
    assert await peers.get(silo.address) is connections[0]
    assert here.attempts == 1
    assert len(silo.connections) == 1


async def test_a_cancelled_waiter_leaves_the_attempt_to_others(net: Net, here: Counting, peers: Peers) -> None:
    silo = await net.silo(net.transport())
    here.gate.clear()
    first, second = (asyncio.ensure_future(peers.get(silo.address)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    assert first.cancelled()
    here.gate.set()
    assert not (await second).closed
    assert here.attempts == 1


async def test_after_a_failure_callers_fail_at_once_until_the_back_off_ends(
    net: Net, here: Counting, peers: Peers
) -> None:
    loop = asyncio.get_running_loop()
    for failure in range(1, 7):
        with pytest.raises(SiloUnavailable, match=r"127\.0\.0\.1:9@1"):
            await peers.get(CLOSED_PORT)
        assert here.attempts == failure
        with pytest.raises(SiloUnavailable, match=r"127\.0\.0\.1:9@1"):
            await peers.get(CLOSED_PORT)
        assert here.attempts == failure
        peer = peers._peers[CLOSED_PORT]
        limit = min(0.1 * 2 ** (failure - 1), 1.0)
        assert 0 < peer.retry_at - loop.time() <= limit
        peer.retry_at = loop.time()  # skip the pause


async def test_a_success_ends_the_back_off(net: Net, here: Counting, peers: Peers) -> None:
    """The first failure after a success waits no longer than the first failure of all."""
    loop = asyncio.get_running_loop()
    silo = await net.silo(net.transport())
    port = silo.address.port
    assert silo.listener is not None
    await silo.listener.close()
    pauses: list[float] = []
    for _ in range(4):
        with pytest.raises(SiloUnavailable):
            await peers.get(silo.address)
        peer = peers._peers[silo.address]
        pauses.append(peer.retry_at - loop.time())
        peer.retry_at = 0.0
    assert pauses[-1] > 2 * TransportOptions().backoff_first
    again = await net.silo(net.transport(), port=port)
    connection = await peers.get(again.address)
    await connection.close()
    assert peers.current(again.address) is None
    connection = await peers.get(again.address)
    assert not connection.closed
    assert again.listener is not None
    await again.listener.close()
    async with asyncio.timeout(10):
        while not connection.closed:  # its end arrives from the network
            await asyncio.sleep(0.001)
    with pytest.raises(SiloUnavailable):
        await peers.get(silo.address)
    assert peers._peers[silo.address].retry_at - loop.time() <= TransportOptions().backoff_first


async def test_a_refused_handshake_is_the_cause_of_being_unavailable(net: Net, peers: Peers) -> None:
    silo = await net.silo(net.transport())
    older = SiloAddress(silo.address.host, silo.address.port, 0)
    with pytest.raises(SiloUnavailable, match="which is gone") as caught:
        await peers.get(older)
    assert isinstance(caught.value.__cause__, HandshakeRefused)
    assert caught.value.__cause__.code == "other-generation"


async def test_killing_the_connection_to_a_dead_silo_ends_it_at_once(
    net: Net, peers: Peers, inboxes: dict[SiloAddress, Inbox]
) -> None:
    silo = await net.silo(net.transport())
    connection = await peers.get(silo.address)
    connection.post(request(1))
    peers.kill(silo.address)
    assert connection.closed
    assert inboxes[silo.address].unsent == [1]
    assert "declared dead" in str(inboxes[silo.address].endings[0][1])
    assert peers.current(silo.address) is None
    peers.kill(silo.address)  # a second kill does nothing


async def test_a_kill_while_connecting_fails_the_waiters(net: Net, here: Counting, peers: Peers) -> None:
    silo = await net.silo(net.transport())
    here.gate.clear()
    need = asyncio.ensure_future(peers.get(silo.address))
    await asyncio.sleep(0)
    peers.kill(silo.address)
    with pytest.raises(SiloUnavailable, match="declared dead"):
        await need
    here.gate.set()
    assert not (await peers.get(silo.address)).closed


async def test_close_cancels_attempts_and_writes_the_queues(net: Net, here: Counting, peers: Peers) -> None:
    silo, other = await net.silo(net.transport()), await net.silo(net.transport())
    (await peers.get(silo.address)).post(request(1))
    here.gate.clear()
    need = asyncio.ensure_future(peers.get(other.address))
    await asyncio.sleep(0)
    await peers.close()
    with pytest.raises(SiloUnavailable, match="closing"):
        await need
    with pytest.raises(SiloUnavailable, match="closing"):
        await peers.get(silo.address)
    assert [message.id for message in await silo.inbox.count(1)] == [1]
    assert other.connections == []


async def test_a_silo_with_too_many_connections_is_left_alone_as_long_as_it_asks(
    net: Net, here: Counting, peers: Peers
) -> None:
    """But not for longer than a few seconds: a refusal must not keep callers away."""
    silo = await net.silo(net.transport())
    silo.refusal = HandshakeRefused("too many", "too-many", retry_after=3600.0)
    with pytest.raises(SiloUnavailable, match="too many"):
        await peers.get(silo.address)
    loop = asyncio.get_running_loop()
    waits = peers._peers[silo.address].retry_at - loop.time()
    assert 2.0 < waits <= MOST_RETRY_AFTER
    with pytest.raises(SiloUnavailable, match="too many"):
        await peers.get(silo.address)
    assert here.attempts == 1


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)  # what is waited for comes from the network


class Renewing:
    """One connection, and the peers that replace it."""

    def __init__(self, here: Counting) -> None:
        self.here = here
        self.inboxes: list[Inbox] = []
        self.kept: list[str] = []
        self.peers = Peers(
            here,  # type: ignore[arg-type]
            lambda address: Hello(CLUSTER, Role.CLIENT, "tester", target=address),
            self._receiver,
            TransportOptions(),
            random.Random(1),
        )
        self.peers.on_kept = lambda _, problem: self.kept.append(problem)

    def _receiver(self, _: SiloAddress) -> Inbox:
        self.inboxes.append(Inbox())
        return self.inboxes[-1]


@pytest.fixture
async def renewing(here: Counting) -> AsyncIterator[Renewing]:
    made = Renewing(here)
    yield made
    await made.peers.close()


async def test_the_first_connection_takes_requests_until_the_second_is_open(net: Net, renewing: Renewing) -> None:
    """S8: it stays open until its calls are answered."""
    silo, peers = await net.silo(net.transport()), renewing.peers
    first = await peers.get(silo.address)
    renewing.here.gate.clear()
    peers.renew(silo.address, first)
    await until(lambda: renewing.here.attempts == 2)
    assert await peers.get(silo.address) is first
    assert renewing.inboxes[0].retired == []
    renewing.here.gate.set()
    await until(lambda: peers.current(silo.address) is not first)
    assert renewing.inboxes[0].retired == [True]
    assert peers.connected == 1
    assert not first.closed
    renewing.inboxes[0].answered.set()
    await renewing.inboxes[0].ended()
    peers.renew(silo.address, first)  # a goodbye that comes late
    peers.drain(silo.address, first)
    current = peers.current(silo.address)
    assert current is not None
    assert not current.closed
    assert renewing.here.attempts == 2


async def test_a_second_connection_that_fails_is_tried_again_and_the_first_stays(net: Net, renewing: Renewing) -> None:
    silo, peers = await net.silo(net.transport()), renewing.peers
    first = await peers.get(silo.address)
    refuse = HandshakeRefused("not now", code="refused")
    inner, renewing.here.inner = renewing.here.inner, Refusing(refuse)  # type: ignore[assignment]
    peers.renew(silo.address, first)
    await until(lambda: len(renewing.kept) == 2)
    assert renewing.kept[0] == "cannot reach silo " + f"{silo.address}: not now"
    assert peers.current(silo.address) is first
    renewing.here.inner = inner
    await until(lambda: peers.current(silo.address) is not first)
    assert peers.renewed == 1


class Refusing:
    def __init__(self, error: Exception) -> None:
        self.error = error

    async def connect(self, *_: object) -> Connection:
        raise self.error


async def test_a_first_connection_that_is_lost_meanwhile_leaves_its_callers_to_the_second(
    net: Net, renewing: Renewing
) -> None:
    silo, peers = await net.silo(net.transport()), renewing.peers
    first = await peers.get(silo.address)
    renewing.here.gate.clear()
    peers.renew(silo.address, first)
    await until(lambda: renewing.here.attempts == 2)
    first.kill()
    caller = asyncio.ensure_future(peers.get(silo.address))
    await asyncio.sleep(0)
    renewing.here.gate.set()
    assert await caller is peers.current(silo.address)
    assert renewing.here.attempts == 2
    assert renewing.inboxes[0].retired == []
    assert peers.renewed == 0


async def test_a_silo_that_leaves_while_its_second_connection_is_opened_is_drained(
    net: Net, renewing: Renewing
) -> None:
    silo, peers = await net.silo(net.transport()), renewing.peers
    first = await peers.get(silo.address)
    renewing.here.gate.clear()
    peers.renew(silo.address, first)
    await until(lambda: renewing.here.attempts == 2)
    peers.drain(silo.address, first)
    assert peers.current(silo.address) is None
    assert renewing.inboxes[0].retired == [False]
    renewing.inboxes[0].answered.set()
    await renewing.inboxes[0].ended()
    renewing.here.gate.set()
    assert await peers.get(silo.address) is not first


async def test_a_death_ends_both_connections(net: Net, renewing: Renewing) -> None:
    silo, peers = await net.silo(net.transport()), renewing.peers
    first = await peers.get(silo.address)
    peers.renew(silo.address, first)
    await until(lambda: peers.current(silo.address) is not first)
    second = peers.current(silo.address)
    assert second is not None
    renewing.here.gate.clear()
    peers.renew(silo.address, second)
    await until(lambda: renewing.here.attempts == 3)
    peers.kill(silo.address)
    assert first.closed
    assert second.closed
    renewing.here.gate.set()
    assert peers.current(silo.address) is None


async def test_a_change_while_connecting_replaces_that_connection_too(net: Net, renewing: Renewing) -> None:
    """S8: it may have the certificate of before."""
    silo, peers = await net.silo(net.transport()), renewing.peers
    renewing.here.gate.clear()
    caller = asyncio.ensure_future(peers.get(silo.address))
    await until(lambda: renewing.here.attempts == 1)
    peers.renew_all(0.0)
    renewing.here.gate.set()
    first = await caller
    await until(lambda: peers.current(silo.address) is not first)
    assert peers.renewed == 1
