"""Clients forge identities in every way that the wire has: each is ignored or refused, and no call runs in one (S3)."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from grange import Grain, HandshakeRefused, Identity, caller, one_way, request_context
from grange.grains.items import HIDDEN
from grange.proto.acts import ACT, Act, Action
from grange.proto.handshake import LONGEST_TOKEN, Hello, Role
from grange.proto.identity import MOST_BYTES, encode_identity
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.management import STATUS
from grange.proto.message import Encoding, Message, Reason, Rejection, Request, Response
from grange.runtime.system_target import system_id
from grange.security.certificate import Certificate
from grange.testing import TestCluster
from grange.transport.provider import Connection

WEB, BATCH = "spiffe://default/client/web", "spiffe://default/client/batch"
TLS = {"speaks_for": [WEB]}
"""The memory network reads no files."""

RAN: list[str] = []


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    """Each test begins anew."""
    RAN.clear()


def subject() -> str:
    identity = caller()
    return "none" if identity is None else identity.subject + (f" via {identity.via}" if identity.via else "")


class Vault(Grain, name="vault"):
    """Notes for whom it ran."""

    async def open(self) -> str:
        RAN.append(subject())
        return RAN[-1]

    async def pass_on(self) -> str:
        return await self.get_grain(Vault, "inner").open()

    @one_way
    async def tell(self) -> None:
        RAN.append(subject())

    async def items(self) -> AsyncGenerator[str]:
        for number in range(3):
            RAN.append(subject())
            yield f"{number}"


class Raw:
    """A client that writes any message."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.answers: dict[int, Message] = {}
        self.connection: Connection | None = None

    def receive(self, messages: Iterable[Message]) -> None:
        self.answers |= {message.id: message for message in messages}

    def lost(self, unsent: object, error: Exception | None) -> None:
        """Keep the answers."""

    def send(self, grain_id: GrainId, method: str, args: bytes = b"\x90", **fields: Any) -> int:
        assert self.connection is not None
        number = next(self.numbers)
        self.connection.post(Request(number, grain_id, method, args, timeout_ms=5000, **fields))
        return number


@asynccontextmanager
async def cluster_of(silos: int = 1, **options: Any) -> AsyncIterator[TestCluster]:
    given: dict[str, Any] = {"authenticate": {"ann-1": Identity("user:ann")}.get, "tls": TLS}
    async with TestCluster([Vault], silos=silos, **{**given, **options}) as cluster:
        yield cluster


async def connect(to: TestCluster, uri: str = BATCH, /, **hello: Any) -> Raw:
    """A raw connection to the first gateway; `hello` are fields of its greeting."""
    raw = Raw()
    transport = to.new_transport(f"raw-{len(RAN)}-{id(raw)}", Certificate(uri=uri) if uri else None)
    given: dict[str, Any] = {"cluster": "default", "role": Role.CLIENT, "name": "c", **hello}
    host, _, port = to.silos[0].gateway.rpartition(":")
    raw.connection = await transport.connect(host, int(port), Hello(**given), raw)
    return raw


FORGED: dict[str, bytes] = {
    "a user": encode_identity(Identity("user:ann")),
    "an admin": encode_identity(Identity("user:root", ("admin",))),
    "the silo": encode_identity(Identity("silo")),
    "a grain": encode_identity(Identity("grain:vault")),
    "a token": encode_identity(Identity("token:admin", ("admin",))),
    "another certificate": encode_identity(Identity(WEB)),
    "itself": encode_identity(Identity(BATCH)),
    "itself with roles": encode_identity(Identity(BATCH, ("admin",))),
    "no name": encode_identity(Identity("")),
    "noise": b"\xc1\xff\x00",
    "no array": msgspec.msgpack.encode({"subject": "silo"}),
    "no text": msgspec.msgpack.encode([b"silo", [], "", ""]),
    "an empty array": b"\x90",
    "nil": b"\xc0",
    "deeply nested": b"\x91" * 3000,
    "too large": b"\x94" + msgspec.msgpack.encode("x" * MOST_BYTES) + b"\x90\xa0\xa0",
    "a length of 4 GiB": b"\xdb\xff\xff\xff\xffsilo",
    "two": encode_identity(Identity("user:ann")) * 2,
}
"""What a client may write into the field, by its meaning."""

NOT_FOR_SPEAKERS = {name: each for name, each in FORGED.items() if name not in ("a user", "an admin")}

CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "open": ("open", {}),
    "json": ("open", {"args": b"[]", "encoding": Encoding.JSON}),
    "pass_on": ("pass_on", {}),
    "one-way": ("tell", {"one_way": True}),
    "large": ("open", {"context": msgspec.msgpack.encode({"pad": "x" * 10_000})}),
    "traced": ("open", {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}),
    "chained": ("open", {"chain": b"x" * 16}),
    "stream": ("items", {}),
    "next items": (f"{HIDDEN}next.items", {"args": msgspec.msgpack.encode([1, 1])}),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("uri", "forged"), [(BATCH, FORGED), ("", FORGED), (WEB, NOT_FOR_SPEAKERS)])
async def test_a_forged_principal_is_refused_and_nothing_runs(call: str, uri: str, forged: dict[str, bytes]) -> None:
    """S3: for each kind of call, also one whose grain is idle and that would start in its frame."""
    method, fields = CALLS[call]
    async with cluster_of() as cluster:
        await cluster.get_grain(Vault, "a").open()
        RAN.clear()
        raw = await connect(cluster, uri)
        sent = {
            raw.send(GrainId("vault", "a"), method, principal=each, **fields): name for name, each in forged.items()
        }
        await cluster.advance(1)
        assert not RAN
        for number, name in sent.items():
            answer = raw.answers[number]
            assert isinstance(answer, Rejection), name
            assert answer.reason is Reason.UNAUTHORIZED, name
        number = raw.send(GrainId("vault", "a"), "open")
        await cluster.advance(1)
        assert isinstance(raw.answers[number], Response), "the connection goes on"
        assert [uri or "none"] == RAN


CONTEXTS: list[dict[str, Any]] = [
    {key: value}
    for key in (
        "principal", "$principal", "$caller", "$acting", "grange.caller", "grange.principal", "identity", "subject",
        "$batch.caller", "via", "roles",
    )
    for value in ("silo", encode_identity(Identity("silo")), True)
]  # fmt: skip


async def test_the_request_context_sets_no_identity() -> None:
    """S3: neither by keys of users nor by those of the runtime, near and far."""
    async with cluster_of(silos=2) as cluster:
        raw = await connect(cluster)
        for number, context in enumerate(CONTEXTS):
            for method in ("open", "pass_on"):
                raw.send(GrainId("vault", f"k{number}"), method, context=msgspec.msgpack.encode(context))
        await cluster.advance(2)
        assert len(RAN) == len(raw.answers) == 2 * len(CONTEXTS)
        assert set(RAN) == {BATCH, f"{BATCH} via grain:vault"}
        for key in ("principal", "identity", "caller"):
            request_context[key] = "silo"
        assert await cluster.get_grain(Vault, "a").open() == "token:admin"


@pytest.mark.parametrize(
    ("hello", "code"),
    [
        ({"role": Role.SILO}, "wrong-certificate"),
        ({"role": Role.SILO, "address": SiloAddress("127.0.0.1", 1, 1)}, "wrong-certificate"),
        ({"cluster": "other"}, "wrong-cluster"),
        ({"cluster": "other", "token": "ann-1"}, "wrong-cluster"),
        ({"token": "ann-2"}, "unauthenticated"),
        ({"token": "ann-1" * 2000}, "malformed"),
        ({"token": "x" * LONGEST_TOKEN}, "unauthenticated"),
    ],
)
async def test_a_hello_that_lies_is_refused(hello: dict[str, Any], code: str) -> None:
    """S3, S11: of another role or cluster, with a token that is unknown or too long."""
    async with cluster_of() as cluster:
        with pytest.raises(HandshakeRefused) as caught:
            await connect(cluster, **hello)
        assert caught.value.code == code
        assert str(hello.get("token", "-none-")) not in str(caught.value)
        if code == "wrong-certificate":
            with pytest.raises(HandshakeRefused, match="this is the gateway port"):
                await connect(cluster, "", **hello)


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://other/client/web", "spiffe://DEFAULT/client/web", "spiffe://default/silo", "spiffe://default/client",
        "https://default/client/web", "silo", "user:ann",
    ],
)  # fmt: skip
async def test_a_certificate_of_another_cluster_or_role_is_refused(uri: str) -> None:
    """S3, S11: the cluster in the certificate is the one of the handshake, and the role that of the port."""
    async with cluster_of() as cluster:
        with pytest.raises(HandshakeRefused) as caught:
            await connect(cluster, uri)
        assert caught.value.code == "wrong-certificate"


async def test_names_in_a_hello_are_no_identity() -> None:
    """S3: the name and the address of a greeting are claims."""
    async with cluster_of() as cluster:
        for name in ("silo", "user:ann", "token:admin"):
            raw = await connect(cluster, "", name=name, address=cluster.silos[0].address)
            raw.send(GrainId("vault", "a"), "open")
            await cluster.advance(1)
        assert RAN == ["none"] * 3


async def test_management_acts_for_no_identity_that_a_request_names() -> None:
    """S4: a question of a client that may speak for users has the role of its connection, and names no other."""
    async with cluster_of() as cluster:
        act = msgspec.msgpack.encode(Act(Action.DRAIN, reason="forged"))
        for uri in (WEB, BATCH, ""):
            raw = await connect(cluster, uri)
            root = encode_identity(Identity("user:root", ("admin",)))
            sent = [raw.send(system_id(name), "", act, principal=root) for name in (ACT, STATUS, "no such target")]
            sent += [raw.send(system_id(name), "", act) for name in (ACT, STATUS)]
            await cluster.advance(1)
            for number in sent:
                answer = raw.answers[number]
                assert isinstance(answer, Rejection)
                assert answer.reason is Reason.UNAUTHORIZED
        assert cluster.silos[0].management.state().ready


async def test_reminders_and_observers_are_not_reached_by_clients() -> None:
    """S4: their requests come from silos only, with each identity."""
    async with cluster_of() as cluster:
        raw = await connect(cluster, WEB)
        user = encode_identity(Identity("user:ann"))
        for principal in (b"", user):
            for grain_id, method in ((GrainId("vault", "a"), "$on_reminder"), (GrainId("grange.client", "x"), "ask")):
                number = raw.send(grain_id, method, principal=principal)
                await cluster.advance(1)
                assert isinstance(raw.answers[number], Rejection), (grain_id, method)
