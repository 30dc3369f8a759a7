"""What a silo answers about certificates: its own, the authorities that it trusts, those of its peers. Pure."""

from __future__ import annotations

import msgspec

from grange.proto.ids import SiloAddress

TRUST = "management.trust"
"""Name of a system target. It is on the wire."""


class TrustedCertificate(msgspec.Struct, frozen=True):
    """A certificate of the silo, or of an authority that it trusts. `ends` is in seconds since 1970."""

    name: str
    fingerprint: str
    ends: float


class PeerCertificate(msgspec.Struct, frozen=True):
    """The open connections that show one certificate. `ends` is in seconds since 1970, `oldest` in seconds.

    `asked`: those of them whose peer was asked for another one.
    """

    uri: str
    fingerprint: str
    ends: float
    connections: int
    oldest: float
    asked: int = 0


class Trust(msgspec.Struct, frozen=True):
    """Answer to `TRUST` (question: empty). `chain` is the silo's certificate and those above it; empty without TLS.

    `peers` are the certificates of the connections that it has accepted, those with the oldest connection first; `more`
    is the number of certificates for which the answer had no room. `revoked`: the length of its list.
    """

    address: SiloAddress
    chain: tuple[TrustedCertificate, ...] = ()
    authorities: tuple[TrustedCertificate, ...] = ()
    revoked: int = 0
    peers: tuple[PeerCertificate, ...] = ()
    more: int = 0
