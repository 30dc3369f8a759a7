"""Connections over TLS are replaced when there is another pair: those of peers, and the channels of probes (S8)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta

import grpc.aio
import pytest

from grange.errors import HandshakeRefused
from grange.proto.codec import decode_frame, encode_frame, encode_greeting
from grange.proto.handshake import Hello, Role
from grange.proto.ids import SiloAddress
from grange.proto.message import Response
from grange.security.material import KeyPair
from grange.security.renewal import RenewalTimes
from grange.testing.certificates import CertificateAuthority
from grange.transport.grpc import GrpcTransport
from grange.transport.grpc_credentials import open_channel
from grange.transport.grpc_listener import METHOD
from grange.transport.grpc_options import channel_options
from grange.transport.options import TransportOptions
from grange.transport.peers import Peers
from grange.transport.provider import Transport
from grange.transport.tcp import TcpTransport
from grange.transport.tls import Tls
from tests.transport.net import CLUSTER, FakeSilo, Inbox, request
from tests.transport.pairs import Pairs, StaticMaterial, key_pair

SOON = RenewalTimes(3600.0, 0.01, 0.01)
PATIENCE = 20.0


class Side:
    """One process: its material, and the transport that uses it."""

    def __init__(self, kind: str, pairs: Pairs, times: RenewalTimes = SOON) -> None:
        self.material = StaticMaterial(key_pair(pairs.authority.silo()))
        self.tls = Tls(self.material, CLUSTER, times=times)
        options = TransportOptions(connect_timeout=3.0)
        self.transport: Transport = (
            GrpcTransport(options, self.tls) if kind == "grpc" else TcpTransport(options, self.tls)
        )

    async def listen(self) -> FakeSilo:
        silo = FakeSilo(SiloAddress("127.0.0.1", 0, 1), echo=True)
        silo.listener = await self.transport.listen("127.0.0.1", 0, silo.admit, silo.accept)
        silo.address = SiloAddress("127.0.0.1", silo.listener.port, 1)
        return silo


class Stage:
    def __init__(self, kind: str) -> None:
        self.pairs = Pairs(CLUSTER)
        self.here, self.there = Side(kind, self.pairs), Side(kind, self.pairs)
        self.inboxes: list[Inbox] = []
        self.kept: list[str] = []
        self.peers = Peers(
            self.here.transport,
            lambda address: Hello(CLUSTER, Role.CLIENT, "tester", target=address),
            self._receiver,
            TransportOptions(connect_timeout=3.0),
            random.Random(1),
        )
        self.peers.on_kept = lambda _, problem: self.kept.append(problem)

    def _receiver(self, _: SiloAddress) -> Inbox:
        self.inboxes.append(Inbox())
        return self.inboxes[-1]

    async def close(self) -> None:
        await self.peers.close()
        await self.here.transport.close()
        await self.there.transport.close()


@pytest.fixture(params=["grpc", "tcp"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    made = Stage(request.param)
    yield made
    await made.close()


async def until(condition: object) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.005)  # its end comes from the network


async def test_a_new_pair_has_each_connection_replaced(stage: Stage) -> None:
    """S8: the second one shows the new certificate, and the first stays until its answers are in."""
    silo = await stage.there.listen()
    first = await stage.peers.get(silo.address)
    old = stage.here.material.current.facts.fingerprint
    stage.here.material.change(key_pair(stage.pairs.authority.silo(), number=2))
    await until(lambda: stage.peers.current(silo.address) is not first)
    shown = [connection.certificate for connection in silo.connections]
    assert [each.fingerprint for each in shown if each] == [old, stage.here.material.current.facts.fingerprint]
    assert stage.inboxes[0].retired == [True]
    assert not first.closed
    assert stage.peers.renewed == 1
    first.post(request(1))  # such as a cancel
    await stage.inboxes[0].count(1)
    stage.inboxes[0].answered.set()
    unsent, error = await stage.inboxes[0].ended()
    assert (unsent, error) == ([], None)


async def test_a_connection_that_cannot_be_replaced_stays(stage: Stage) -> None:
    """S8: a pair that the other side does not trust yet; it is tried again until it does."""
    silo = await stage.there.listen()
    first = await stage.peers.get(silo.address)
    new = CertificateAuthority(CLUSTER)
    stage.here.material.change(key_pair(new.silo(), stage.pairs.authority.bundle(new), 2))
    await until(lambda: stage.kept)
    assert stage.peers.current(silo.address) is first
    first.post(request(1))
    await stage.inboxes[0].count(1)
    there = stage.there.material
    there.change(key_pair(stage.pairs.authority.silo(), stage.pairs.authority.bundle(new), 2))
    await until(lambda: stage.peers.current(silo.address) is not first)
    assert stage.peers.renewed == 1
    assert stage.inboxes[0].retired == [True]


class CountingMaterial(StaticMaterial):
    """Counts the handshakes of a gRPC server, each of which looks at the pair in use."""

    handshakes = 0

    @property
    def current(self) -> KeyPair:
        self.handshakes += 1
        return self._current

    @current.setter
    def current(self, pair: KeyPair) -> None:
        self._current = pair


async def test_a_stream_outlives_the_age_of_its_tls_connection_and_the_next_one_needs_a_handshake() -> None:
    """S8: else a peer would open stream after stream by one handshake of TLS."""
    pairs = Pairs(CLUSTER)
    there, here = Side("grpc", pairs, RenewalTimes(0.2, 0.01, 0.01)), Side("grpc", pairs)
    there.tls.material = counting = CountingMaterial(there.material.current)
    silo = await there.listen()
    hello = encode_greeting(Hello(CLUSTER, Role.CLIENT, "tester"))
    async with open_channel(*_place(silo), channel_options(TransportOptions()), here.tls) as channel:
        first = channel.stream_stream(METHOD)()
        await first.write(hello)
        await first.read()
        before = counting.handshakes
        async with asyncio.timeout(PATIENCE):
            while counting.handshakes == before:
                other = channel.stream_stream(METHOD)()
                await other.write(hello)
                await other.read()
                other.cancel()
                await asyncio.sleep(0.05)  # the age of a connection is gRPC's own
        await first.write(encode_frame([request(1)]))
        assert decode_frame(await first.read(), 1000) == [Response(1, b"\x90")]
        first.cancel()
    await here.transport.close()
    await there.transport.close()


async def test_a_certificate_that_has_expired_since_the_handshake_is_refused() -> None:
    """S8: a further stream of a TLS connection has no handshake that would find it."""
    pairs = Pairs(CLUSTER)
    tls, expired = pairs.silo(), pairs.authority.silo(timedelta(seconds=-1))
    with pytest.raises(HandshakeRefused, match="has expired") as caught:
        tls.certificate_of(expired.certificate)
    assert caught.value.code == "expired"
    assert pairs.refused[-1][0] == "expired"


async def test_a_probe_channel_is_replaced_once_the_other_has_connected() -> None:
    """S8: no probe fails, also if the new pair is not trusted there yet."""
    pairs = Pairs(CLUSTER)
    there, here = Side("grpc", pairs), Side("grpc", pairs)
    answering = await there.transport.probes("127.0.0.1", 0, CLUSTER)
    asking = await here.transport.probes("127.0.0.1", 0, CLUSTER)
    assert answering is not None
    assert asking is not None
    silo = SiloAddress("127.0.0.1", 1, 7)
    answering.serve(silo, lambda question: question)
    channels = asking._channels  # type: ignore[attr-defined]

    async def ask() -> grpc.aio.Channel:
        assert await asking.ask(silo, answering.port, b"q", PATIENCE, answering.tls_port) == b"q"
        return channels.get(silo, answering.port, answering.tls_port)

    first = await ask()
    new = CertificateAuthority(CLUSTER)
    both = pairs.authority.bundle(new)
    here.material.change(key_pair(new.silo(), both, 2))
    for _ in range(20):
        assert await ask() is first
    there.material.change(key_pair(pairs.authority.silo(), both, 2))
    async with asyncio.timeout(PATIENCE):
        while await ask() is first:
            await asyncio.sleep(0.01)  # the other channel connects by itself
    await asyncio.gather(asking.close(), answering.close(), here.transport.close(), there.transport.close())


def _place(silo: FakeSilo) -> tuple[str, int]:
    return silo.address.host, silo.address.port
