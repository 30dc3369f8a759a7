"""S1: each RPC of each service on the ports of silos is refused to the certificates of clients and admins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor import MethodDescriptor

from grange.errors import HandshakeRefused, Unauthorized
from grange.membership.model.member import Member
from grange.membership.model.messages import Probe, encode
from grange.proto._generated.grange.v1 import silo_pb2
from grange.proto.codec import decode_greeting, encode_greeting, encode_question
from grange.proto.handshake import Hello, Role, Welcome
from grange.proto.identity import server_name
from grange.proto.management import STATUS
from grange.security.authority import IssuedPair
from grange.silo.silo import Silo
from grange.transport.grpc import GrpcTransport
from grange.transport.tls import Tls
from tests.silo.secured import CLUSTER, Secured, secured
from tests.transport.net import Inbox
from tests.transport.pairs import StaticMaterial, key_pair

HEALTH = "/grpc.health.v1.Health/"


def rpcs() -> Iterator[MethodDescriptor]:
    """Every RPC of the contract."""
    for service in silo_pb2.DESCRIPTOR.services_by_name.values():
        yield from service.methods


class Scene:
    """One silo with TLS, and callers that speak gRPC to its ports by hand."""

    def __init__(self, shop: Secured, silo: Silo, member: Member) -> None:
        self.shop = shop
        self.silo = silo
        self.member = member
        self.ports = {"silo": member.address.port, "probe": member.probe, "gateway": member.gateway}

    async def outcome(
        self, pair: IssuedPair, port: int, method: str, message: bytes, streams: tuple[bool, bool]
    ) -> str:
        """What the port answers to this message: "admitted", or the reason of the refusal."""
        credentials = grpc.ssl_channel_credentials(pair.ca, pair.key, pair.certificate)
        options = [("grpc.ssl_target_name_override", server_name(CLUSTER))]
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
            try:
                if streams == (True, True):
                    call = channel.stream_stream(method)()
                    await call.write(message)
                    answer = await call.read()
                    call.cancel()
                elif streams == (False, True):
                    stream = channel.unary_stream(method)(message)
                    answer = await stream.read()
                    stream.cancel()
                else:
                    answer = await channel.unary_unary(method)(message, timeout=20)
            except grpc.aio.AioRpcError as error:
                return error.code().name
        if not method.endswith("/Connect"):
            return "admitted"
        assert isinstance(answer, bytes)
        greeting = decode_greeting(answer, 10_000)
        return greeting.code if isinstance(greeting, HandshakeRefused) else "admitted" * isinstance(greeting, Welcome)

    async def ask(self, pair: IssuedPair, port: int, rpc: MethodDescriptor, message: bytes) -> str:
        name = f"/{rpc.containing_service.full_name}/{rpc.name}"
        return await self.outcome(pair, port, name, message, (rpc.client_streaming, rpc.server_streaming))

    def messages(self, rpc: MethodDescriptor) -> list[bytes]:
        """First messages that a silo's certificate would get through with; a new RPC needs one here."""
        me = self.member.address
        if rpc.full_name == "grange.v1.Silo.Connect":
            return [encode_greeting(Hello(CLUSTER, role, "tester", address=me)) for role in (Role.SILO, Role.CLIENT)]
        assert rpc.full_name == "grange.v1.Probe.Ask", f"a new RPC: {rpc.full_name}; give it a message here"
        return [encode_question(CLUSTER, me, encode(Probe(1, me, True)))]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with secured(tmp_path) as shop:
        silo = await shop.start(shop.table())
        async with shop.client(silo.gateway) as client:
            (member,) = client.view.active
        yield Scene(shop, silo, member)


async def test_every_rpc_of_silos_is_refused_to_clients_and_admins(scene: Scene) -> None:
    """S1, F37: by the descriptors of the services, so that no new method is missed; 100 % are refused."""
    outcomes = {}
    for role, pair in (("client", scene.shop.authority.client("web")), ("admin", scene.shop.authority.admin("ann"))):
        for port in ("silo", "probe"):
            for rpc in rpcs():
                for number, message in enumerate(scene.messages(rpc)):
                    outcome = await scene.ask(pair, scene.ports[port], rpc, message)
                    outcomes[role, port, rpc.full_name, number] = outcome
    assert len(outcomes) >= 2 * 2 * 2
    assert "admitted" not in outcomes.values()
    # INTERNAL: gRPC has ended the call to a service that the port has not before the first write.
    assert set(outcomes.values()) <= {"wrong-certificate", "PERMISSION_DENIED", "UNIMPLEMENTED", "INTERNAL"}
    assert outcomes["client", "silo", "grange.v1.Silo.Connect", 0] == "wrong-certificate"
    assert outcomes["client", "probe", "grange.v1.Probe.Ask", 0] == "PERMISSION_DENIED"


async def test_every_rpc_of_silos_is_open_to_a_silo(scene: Scene) -> None:
    """Else the test above would prove nothing."""
    pair = scene.shop.authority.silo()
    ports = {"grange.v1.Silo.Connect": "silo", "grange.v1.Probe.Ask": "probe"}
    for rpc in rpcs():
        message = scene.messages(rpc)[0]
        assert await scene.ask(pair, scene.ports[ports[rpc.full_name]], rpc, message) == "admitted"


@pytest.mark.parametrize(("method", "streams"), [("Check", (False, False)), ("Watch", (False, True))])
async def test_the_health_of_a_port_is_told_to_its_own_callers(
    scene: Scene, method: str, streams: tuple[bool, bool]
) -> None:
    """S1: the standard health service stands on the same ports."""
    authority = scene.shop.authority
    for port, friend, stranger in (
        ("silo", authority.silo(), authority.client("web")),
        ("gateway", authority.client("web"), authority.silo()),
    ):
        assert await scene.outcome(friend, scene.ports[port], HEALTH + method, b"", streams) == "admitted"
        assert await scene.outcome(stranger, scene.ports[port], HEALTH + method, b"", streams) == "PERMISSION_DENIED"


async def test_the_gateway_admits_clients_and_admins_of_its_cluster_only(scene: Scene) -> None:
    """S1, S11: a silo's certificate and one of another cluster are refused, and a Hello that contradicts it."""
    authority, gateway = scene.shop.authority, scene.ports["gateway"]
    (connect,) = [rpc for rpc in rpcs() if rpc.name == "Connect"]
    as_silo, as_client = scene.messages(connect)
    assert await scene.ask(authority.client("web"), gateway, connect, as_client) == "admitted"
    assert await scene.ask(authority.admin("ann"), gateway, connect, as_client) == "admitted"
    assert await scene.ask(authority.silo(), gateway, connect, as_client) == "wrong-certificate"
    assert await scene.ask(authority.client("web"), gateway, connect, as_silo) == "wrong-certificate"
    foreign = authority.issue(["spiffe://depot/client/web"])
    assert await scene.ask(foreign, gateway, connect, as_client) == "wrong-certificate"
    for uris in (
        [],
        ["spiffe://shop/client/a", "spiffe://shop/client/b"],
        ["https://shop/client"],
        ["spiffe://shop/robot"],
    ):
        assert await scene.ask(authority.issue(uris), gateway, connect, as_client) == "wrong-certificate"


async def test_a_refusal_names_the_certificate_and_is_counted(scene: Scene) -> None:
    """F37, S1: by its reason."""
    silo, shop = scene.silo, scene.shop
    pair = shop.authority.issue(["spiffe://depot/client/web"])
    transport = GrpcTransport(tls=Tls(StaticMaterial(key_pair(pair)), CLUSTER))
    expected = "spiffe://depot/client/web, of cluster 'depot', and this is cluster 'shop'"
    with pytest.raises(HandshakeRefused, match=expected):
        await transport.connect("127.0.0.1", scene.ports["gateway"], Hello(CLUSTER, Role.CLIENT, "tester"), Inbox())
    await transport.close()
    figures = silo._running.inspection.figures.snapshot()
    assert figures.tls.refused == {"wrong-certificate": 1}
    assert silo._running.ports.events.counts["tls_refused"] == 1


async def test_the_certificate_of_an_admin_is_a_role_in_management(scene: Scene) -> None:
    """Without a token; a client's certificate gives none."""
    shop, gateway = scene.shop, scene.silo.gateway
    async with shop.client(gateway) as admin:
        assert await admin.ask(admin.gateways[0], STATUS)
    async with shop.client(gateway, tls=shop.options(shop.authority.client("web"))) as client:
        with pytest.raises(Unauthorized):
            await client.ask(client.gateways[0], STATUS)
