"""The facts of a certificate that count for grange."""

from __future__ import annotations

import msgspec


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate of a peer, or our own.

    `uri` is the name in its URI SAN, `names` are its DNS SANs. `fingerprint` is the SHA-256 of the whole certificate
    in lower case hexadecimal, `serial` its number in hexadecimal, `issuer` the name of its issuer for people. It is
    valid from `not_before` to `not_after`, in seconds since 1970.
    """

    uri: str
    names: tuple[str, ...] = ()
    fingerprint: str = ""
    serial: str = ""
    issuer: str = ""
    not_before: float = 0.0
    not_after: float = 0.0
