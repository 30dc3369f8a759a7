"""The greetings on a new connection, and the checks that they match. Pure."""

from __future__ import annotations

import enum

import msgspec

from grange.errors import HandshakeRefused
from grange.proto.clients import KEY_BYTES, MOST_KEY_BYTES
from grange.proto.ids import SiloAddress

PROTOCOL_MIN = 1
PROTOCOL_MAX = 1
"""The protocol versions that this code supports. They do not follow the package version."""

PACKED = 1
"""The version of packed frames that this code reads and writes (`packed.py`)."""

LONGEST_TOKEN = 8 * 1024
"""Most characters of a token: signed ones with many claims are long."""


def check_token(token: str) -> str:
    """The token of a client, which may be one of a user. Raises ValueError, with a text that does not show it."""
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ValueError("a token consists of letters, digits and punctuation of ASCII, without blanks")
    if not 0 < len(token) <= LONGEST_TOKEN:
        raise ValueError(f"a token has 1 to {LONGEST_TOKEN:,} characters, not {len(token):,}")
    return token


class Role(enum.IntEnum):
    """The kind of process that opens a connection."""

    SILO = 0
    CLIENT = 1


class Hello(msgspec.Struct, frozen=True):
    """The greeting of the opening side. `target` is the silo it wants to reach (None: any silo at that endpoint).

    Its transport sets `payload_limit`, the largest payload it accepts, in bytes (0: the default of 4 MiB), and
    `packed`, the highest version of packed frames it reads (0: none). `token` gives a client its role in management,
    or the identity of its user (empty: none). `client_key` proves the id of a client whose observers silos may call
    (`clients.py`; empty: none). Both are secrets, so `repr` hides them.
    """

    cluster: str
    role: Role
    name: str
    address: SiloAddress | None = None
    target: SiloAddress | None = None
    protocol_min: int = PROTOCOL_MIN
    protocol_max: int = PROTOCOL_MAX
    manifest: str = ""
    payload_limit: int = 0
    packed: int = 0
    token: str = ""
    client_key: bytes = b""

    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        hidden = {name: "***" if shown[name] else "" for name in ("token", "client_key")}
        return f"Hello({', '.join(f'{name}={value!r}' for name, value in (shown | hidden).items())})"


class Welcome(msgspec.Struct, frozen=True):
    """The greeting of the accepting side: its address and the protocol version of the connection.

    Its transport sets `payload_limit`, the largest payload it accepts, in bytes (0: the default of 4 MiB), and
    `packed`, the version of packed frames that both sides write from now on (0: protobuf frames).
    """

    cluster: str
    address: SiloAddress
    protocol: int
    manifest: str = ""
    payload_limit: int = 0
    packed: int = 0


def answer(hello: Hello, cluster: str, address: SiloAddress, manifest: str = "") -> Welcome:
    """Answer a Hello as the silo `address` of `cluster`. Raises HandshakeRefused with the values of both sides."""
    if len(hello.token) > LONGEST_TOKEN:
        raise HandshakeRefused(f"a token has at most {LONGEST_TOKEN} characters", code="malformed")
    if hello.client_key and not KEY_BYTES <= len(hello.client_key) <= MOST_KEY_BYTES:
        raise HandshakeRefused(f"a client's key has {KEY_BYTES} to {MOST_KEY_BYTES} bytes", code="malformed")
    if hello.cluster != cluster:
        raise HandshakeRefused(
            f"silo {address} belongs to cluster {cluster!r}, the caller named {hello.cluster!r}; "
            "set the same cluster on both sides",
            code="wrong-cluster",
        )
    protocol = min(hello.protocol_max, PROTOCOL_MAX)
    if protocol < max(hello.protocol_min, PROTOCOL_MIN):
        raise HandshakeRefused(
            f"silo {address} supports protocol {PROTOCOL_MIN} to {PROTOCOL_MAX}, the caller "
            f"{hello.protocol_min} to {hello.protocol_max}; upgrade the older side",
            code="protocol-version",
        )
    if hello.target is not None and hello.target != address:
        raise HandshakeRefused(
            f"this is silo {address}; the caller wanted silo {hello.target}, which is gone",
            code="other-generation",
        )
    return Welcome(cluster=cluster, address=address, protocol=protocol, manifest=manifest)


def check(hello: Hello, welcome: Welcome) -> None:
    """Check a Welcome against the Hello, on the opening side. Raises HandshakeRefused if they do not match."""
    if welcome.cluster != hello.cluster:
        raise HandshakeRefused(
            f"silo {welcome.address} belongs to cluster {welcome.cluster!r}, not {hello.cluster!r}",
            code="wrong-cluster",
        )
    if not hello.protocol_min <= welcome.protocol <= hello.protocol_max:
        raise HandshakeRefused(
            f"silo {welcome.address} chose protocol {welcome.protocol}, "
            f"this side supports {hello.protocol_min} to {hello.protocol_max}; upgrade the older side",
            code="protocol-version",
        )
    if welcome.packed > hello.packed:
        raise HandshakeRefused(
            f"silo {welcome.address} chose packed frames of version {welcome.packed}, this side reads none above "
            f"{hello.packed}; upgrade this side",
            code="protocol-version",
        )
    if hello.target is not None and hello.target != welcome.address:
        raise HandshakeRefused(
            f"silo {welcome.address} answered instead of silo {hello.target}", code="other-generation"
        )
