"""Identities: the origin of a call, as requests carry it, and the names of the processes in certificates. Pure."""

from __future__ import annotations

import msgspec

MOST_BYTES = 4 * 1024
"""Most bytes of an encoded identity: each call carries it."""

ROOM = 512
"""Of them, those that are kept free in the identity of a user for `Identity.via`, which each speaker replaces."""

MOST_URI = 400
"""Most characters of a name in a certificate: it is `Identity.via` of the users for whom the program speaks."""

SCHEME = "spiffe://"
"""The scheme of the names in certificates."""

ROLES = ("silo", "client", "admin")
"""The roles of processes. Those of clients and admins have a name: `spiffe://shop/client/web`."""

SILO = "silo"
"""The subject of code of a silo beside its grains."""

GRAIN = "grain:"
"""The beginning of the subjects of grains."""

TOKEN = "token:"  # noqa: S105
"""The beginning of the subjects of management tokens."""

USER = "user:"
"""The beginning of the subjects of the dashboard's users; `authenticate=` may give such subjects, too."""

OURS = (GRAIN, TOKEN, SCHEME)
"""The beginnings of subjects that only the runtime gives: neither `authenticate=` nor a client may name them."""


class Identity(msgspec.Struct, frozen=True, array_like=True):
    """The origin of a call. `caller()` returns it, rules and policies decide by it.

    `subject` is one name: `spiffe://shop/client/web` of a certificate, `token:admin` of a management token, the name
    that `authenticate=` gave, `grain:cart` for timers and reminders, or `silo` for code of a silo outside of grains.
    `roles` are words such as `customer`; `viewer`, `operator` and `admin` are those of management. `tenant` is a word
    of the application. `via` is the process or grain that makes the call for the subject, if it is another:
    `spiffe://shop/client/web` for a user behind a web server, `grain:cart` for a call that a cart makes.
    """

    subject: str
    roles: tuple[str, ...] = ()
    tenant: str = ""
    via: str = ""

    def __str__(self) -> str:
        return f"{self.subject} via {self.via}" if self.via else self.subject


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Identity).decode


def encode_identity(identity: Identity) -> bytes:
    """The principal of a call: its identity as bytes. Raises ValueError for one that is too large."""
    data = _encode(identity)
    if len(data) > MOST_BYTES:
        raise ValueError(f"an identity has at most {MOST_BYTES:,} bytes, not {len(data):,}: {identity.subject:.100}")
    return data


def decode_identity(principal: bytes) -> Identity | None:
    """The identity of a principal; None for an empty one. Raises ValueError for bytes that are none."""
    if not principal:
        return None
    if len(principal) > MOST_BYTES:
        raise ValueError(f"an identity of {len(principal):,} bytes is over the limit of {MOST_BYTES:,}")
    try:
        return _decode(principal)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"these {len(principal):,} bytes are no identity: {error}") from None


def grain_principal(grain_type: str) -> bytes:
    """The principal of what the grains of this type do for no caller: their timers, reminders, jobs and hooks."""
    return _encode(Identity(GRAIN + grain_type))


def spoken_by(principal: bytes, speaker: str) -> bytes:
    """The principal of a call that `speaker` makes for the subject of this one. Raises ValueError."""
    identity = decode_identity(principal)
    if identity is None:
        return b""
    return encode_identity(msgspec.structs.replace(identity, via="" if identity.subject == speaker else speaker))


def check_user(identity: Identity) -> Identity:
    """The identity of a user, given by code outside of the runtime.

    Raises ValueError for a name of the runtime, and for one that leaves no room for those who speak for the user.
    """
    subject = identity.subject
    if not subject or subject == SILO or subject.startswith(OURS):
        raise ValueError(f"{subject!r:.100} is no name for a user: it is empty, or one that only grange gives")
    if (size := len(_encode(msgspec.structs.replace(identity, via="")))) > MOST_BYTES - ROOM:
        raise ValueError(
            f"the identity of a user has at most {MOST_BYTES - ROOM:,} bytes, not {size:,}: {subject:.100}"
        )
    return identity


class SpiffeId(msgspec.Struct, frozen=True):
    """The name of a process in its certificate: a URI of the form of SPIFFE, `spiffe://<cluster>/<role>[/<name>]`.

    `role` is one of `ROLES`. `name` is empty for a silo.
    """

    cluster: str
    role: str
    name: str = ""

    def __str__(self) -> str:
        return f"{SCHEME}{self.cluster}/{self.role}" + (f"/{self.name}" if self.name else "")


def parse_spiffe(text: str) -> SpiffeId:
    """The parts of such a name. Raises ValueError, which says what the name lacks."""
    cluster, _, path = text.removeprefix(SCHEME).partition("/")
    role, _, name = path.partition("/")
    if len(text) > MOST_URI:
        raise ValueError(f"{text!r:.100}… has more than {MOST_URI} characters")
    if not text.startswith(SCHEME) or not cluster:
        raise ValueError(f"{text!r:.200} is no name of the form {SCHEME}<cluster>/silo")
    if role not in ROLES:
        raise ValueError(f"{text!r:.200} names no role; its path begins with one of {', '.join(ROLES)}")
    if role == "silo" and name:
        raise ValueError(f"{text!r:.200} has more than a silo's name has: {SCHEME}{cluster}/silo")
    if role != "silo" and (not name or "/" in name):
        raise ValueError(f"{text!r:.200} needs one name after its role: {SCHEME}{cluster}/{role}/<name>")
    return SpiffeId(cluster, role, name)


def server_name(cluster: str) -> str:
    """The DNS name in the certificates of all silos of a cluster; it is checked in place of their addresses."""
    return f"silo.{cluster.lower()}.grange"
