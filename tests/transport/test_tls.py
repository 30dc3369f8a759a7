"""Connections over TLS: what each side sees of the other, and the words for each failure, by gRPC and by sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest

from grange.errors import HandshakeRefused, SiloUnavailable
from grange.proto import handshake
from grange.proto.handshake import Hello, Role, Welcome
from grange.proto.ids import SiloAddress
from grange.security.authority import IssuedPair
from grange.security.certificate import Certificate
from grange.transport.grpc import GrpcTransport
from grange.transport.options import TransportOptions
from grange.transport.provider import Connection, Transport
from grange.transport.roads import TwoRoads
from grange.transport.tcp import TcpTransport
from grange.transport.tls import Tls
from tests.transport.net import CLUSTER, Echo, Inbox, request
from tests.transport.pairs import Pairs, StaticMaterial, key_pair

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class Stage:
    """Transports of one kind with certificates of one authority, and listeners that keep what they saw of callers."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.pairs = Pairs(CLUSTER)
        self.seen: list[Certificate | None] = []
        self.transports: list[Transport] = []
        self.port = 0

    def transport(self, tls: Tls | None) -> Transport:
        options = TransportOptions(connect_timeout=5.0)
        made: Transport = GrpcTransport(options, tls) if self.kind == "grpc" else TcpTransport(options, tls)
        self.transports.append(made)
        return made

    async def listen(self, tls: Tls | None) -> Transport:
        """Listen; `port` is the port from now on."""
        transport = self.transport(tls)
        self.port = await self.open_port(transport)
        return transport

    async def open_port(self, transport: Transport, *, further: bool = False) -> int:
        listen = transport.tls.listen if further and transport.tls is not None else transport.listen
        return (await listen("127.0.0.1", 0, self._admit, Echo)).port

    async def connect(self, tls: Tls | None, port: int = 0) -> Connection:
        return await self.connect_by(self.transport(tls), port)

    async def connect_by(self, transport: Transport, port: int = 0) -> Connection:
        """Connect and call once."""
        inbox = Inbox()
        hello = Hello(CLUSTER, Role.CLIENT, "tester")
        connection = await transport.connect("127.0.0.1", port or self.port, hello, inbox)
        connection.post(request(1))
        await inbox.count(1)
        return connection

    def _admit(self, hello: Hello, certificate: Certificate | None) -> Welcome:
        self.seen.append(certificate)
        return handshake.answer(hello, CLUSTER, SiloAddress("127.0.0.1", 1, 1))


@pytest.fixture(params=["grpc", "tcp"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    made = Stage(request.param)
    yield made
    await asyncio.gather(*(transport.close() for transport in made.transports))


async def test_the_accepting_side_sees_the_certificate(stage: Stage) -> None:
    await stage.listen(stage.pairs.silo())
    connection = await stage.connect(stage.pairs.client("web"))
    (seen,) = stage.seen
    assert seen is not None
    assert (seen.uri, len(seen.fingerprint)) == (f"spiffe://{CLUSTER}/client/web", 64)
    assert connection.certificate is None, "the opening side has checked the name, and shows no certificate"


async def test_a_port_without_tls_sees_none(stage: Stage) -> None:
    await stage.listen(None)
    await stage.connect(None)
    assert stage.seen == [None]


def _other_authority(pairs: Pairs) -> tuple[IssuedPair, bytes]:
    return Pairs(CLUSTER).authority.client("web"), pairs.authority.ca


def _expired(pairs: Pairs) -> tuple[IssuedPair, bytes]:
    uri = f"spiffe://{CLUSTER}/client/web"
    return pairs.authority.issue([uri], not_before=LONG_AGO, valid=timedelta(days=1)), b""


def _foreign_root(pairs: Pairs) -> tuple[IssuedPair, bytes]:
    return pairs.authority.client("web"), Pairs(CLUSTER).authority.ca


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_other_authority, "its authority is not in the|does not know the authority of our certificate"),
        (_expired, "our certificate has expired"),
        (
            _foreign_root,
            "certificate of the other side is not signed by an authority of ours; add its authority to `ca`",
        ),
    ],
)
async def test_a_wrong_certificate_is_refused_and_named(
    stage: Stage, make: Callable[[Pairs], tuple[IssuedPair, bytes]], words: str
) -> None:
    """S1: both sides verify, so a caller without a certificate of the cluster's authority never sends a Hello."""
    await stage.listen(stage.pairs.silo())
    pair, ca = make(stage.pairs)
    with pytest.raises(SiloUnavailable, match=f"cannot connect to 127.0.0.1:{stage.port}: .*({words})"):
        await stage.connect(stage.pairs.tls(pair, ca))
    assert stage.seen == []
    await stage.connect(stage.pairs.client())


@pytest.mark.parametrize(
    ("names", "not_before", "words"),
    [
        (["silo.test.grange"], LONG_AGO, "certificate of the other side has expired"),
        (["silo.depot.grange"], None, "certificate of the other side is of another cluster, or not that of a silo"),
        ([], None, "certificate of the other side is of another cluster, or not that of a silo"),
    ],
)
async def test_a_wrong_silo_is_refused_by_its_caller(
    stage: Stage, names: list[str], not_before: datetime | None, words: str
) -> None:
    uri = f"spiffe://{CLUSTER}/silo"
    pair = stage.pairs.authority.issue([uri], names, not_before=not_before, valid=timedelta(days=1))
    await stage.listen(stage.pairs.tls(pair))
    with pytest.raises(SiloUnavailable, match=words):
        await stage.connect(stage.pairs.client())
    assert stage.seen == []


async def test_a_caller_without_tls_is_told_what_it_needs(stage: Stage) -> None:
    await stage.listen(stage.pairs.silo())
    with pytest.raises(
        (SiloUnavailable, HandshakeRefused), match="the port uses TLS, and this side has no certificate"
    ):
        await stage.connect(None)
    assert stage.seen == []


async def test_a_caller_with_tls_is_told_that_the_port_has_none(stage: Stage) -> None:
    await stage.listen(None)
    with pytest.raises(SiloUnavailable, match=r"the port does not use TLS|no answer|ended the handshake"):
        await stage.connect(stage.pairs.client())
    assert stage.seen == []


async def test_a_revoked_certificate_is_refused(stage: Stage) -> None:
    tls = stage.pairs.silo()
    await stage.listen(tls)
    caller = stage.pairs.client("web")
    await stage.connect(caller)
    assert stage.seen[0] is not None
    assert isinstance(tls.material, StaticMaterial)
    tls.material.revoked.add(stage.seen[0].fingerprint)
    with pytest.raises(HandshakeRefused, match="spiffe://test/client/web, is revoked") as caught:
        await stage.connect(caller)
    assert caught.value.code == "revoked-certificate"
    assert [word for word, _ in stage.pairs.refused] == ["revoked-certificate"]


async def test_a_certificate_without_a_name_is_refused(stage: Stage) -> None:
    await stage.listen(stage.pairs.silo())
    with pytest.raises(HandshakeRefused, match="certificate of the peer has no URI") as caught:
        await stage.connect(stage.pairs.tls(stage.pairs.authority.issue([], ["web.example"])))
    assert caught.value.code == "wrong-certificate"


async def test_a_new_pair_is_used_at_the_next_handshake(stage: Stage) -> None:
    """The port stays open; also a change of the authority. Open connections go on."""
    tls = stage.pairs.silo()
    await stage.listen(tls)
    before = await stage.connect(stage.pairs.client("before"))
    other = Pairs(CLUSTER)
    both = other.authority.bundle(stage.pairs.authority)
    assert isinstance(tls.material, StaticMaterial)
    tls.material.current = key_pair(other.authority.silo(), both, number=2)
    await stage.connect(other.client("after"))
    await stage.connect(stage.pairs.tls(stage.pairs.authority.client("moving"), both))
    with pytest.raises(SiloUnavailable, match="not signed by an authority of ours"):
        await stage.connect(stage.pairs.client("before"))
    tls.material.current = key_pair(other.authority.silo(), other.authority.ca, number=3)
    with pytest.raises(SiloUnavailable):
        await stage.connect(stage.pairs.tls(stage.pairs.authority.client("moving"), both))
    await stage.connect(other.client("after"))
    assert not before.closed
    assert [each and each.uri.rpartition("/")[2] for each in stage.seen] == ["before", "after", "moving", "after"]


async def test_a_caller_uses_its_new_pair_for_the_next_connection(stage: Stage) -> None:
    await stage.listen(stage.pairs.silo())
    tls = stage.pairs.client("old")
    here = stage.transport(tls)
    await stage.connect_by(here)
    assert isinstance(tls.material, StaticMaterial)
    tls.material.current = key_pair(stage.pairs.authority.client("new"), number=2)
    await stage.connect_by(here)
    assert [each and each.uri for each in stage.seen] == ["spiffe://test/client/old", "spiffe://test/client/new"]


async def test_both_kinds_of_connections_are_accepted_during_a_rollout(stage: Stage) -> None:
    server = await stage.listen(stage.pairs.silo(required=False))
    plain = stage.port
    with_tls = await stage.open_port(server, further=True)
    await stage.connect(None, plain)
    await stage.connect(stage.pairs.client(), with_tls)
    knowing = stage.transport(stage.pairs.silo(required=False))
    assert knowing.tls is not None
    knowing.tls.learn({f"127.0.0.1:{plain}": with_tls})
    await stage.connect_by(knowing, plain)
    await stage.connect(stage.pairs.silo(required=False), plain)
    assert [each is not None for each in stage.seen] == [False, True, True, False]


async def test_a_peer_whose_port_needs_tls_is_reached_during_a_rollout() -> None:
    """Its row is not known yet: the first attempt without TLS fails, and the one with it follows at once."""
    stage = Stage("grpc")
    await stage.listen(stage.pairs.silo())
    await stage.connect(stage.pairs.silo(required=False))
    assert len(stage.seen) == 1
    await asyncio.gather(*(transport.close() for transport in stage.transports))


async def test_where_tls_is_required_no_connection_is_plain() -> None:
    """Also not to a peer of which nothing was learnt, nor by the faster road."""
    pairs = Pairs(CLUSTER)
    with socket.create_server(("127.0.0.1", 0)) as grpc_port, socket.create_server(("127.0.0.1", 0)) as road_port:
        here = TwoRoads(TransportOptions(connect_timeout=0.4), pairs.silo())
        port = grpc_port.getsockname()[1]
        here.road.learn({f"127.0.0.1:{port}": road_port.getsockname()[1]})
        with pytest.raises(SiloUnavailable):
            await here.connect("127.0.0.1", port, Hello(CLUSTER, Role.SILO, "tester"), Inbox())
        for listening in (road_port, grpc_port):
            listening.setblocking(False)
            accepted, _ = listening.accept()
            with accepted:
                assert accepted.recv(1) == b"\x16", "the first byte is that of a handshake of TLS"
        await here.close()
