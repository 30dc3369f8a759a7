"""Which certificates a port admits. Pure."""

from __future__ import annotations

from collections.abc import Collection

from grange.errors import HandshakeRefused
from grange.proto.identity import SpiffeId, parse_spiffe
from grange.security.certificate import Certificate

WRONG_CERTIFICATE = "wrong-certificate"
"""The code of a refusal because of the certificate of the peer."""


def admitted(certificate: Certificate, cluster: str, roles: Collection[str]) -> SpiffeId:
    """The name in the certificate of a peer, if its cluster and its role are those that the port is for.

    Raises HandshakeRefused, which names the certificate and what the port expects.
    """
    try:
        found = parse_spiffe(certificate.uri)
    except ValueError as error:
        raise HandshakeRefused(f"the certificate of the caller: {error}", code=WRONG_CERTIFICATE) from None
    if found.cluster != cluster:
        raise HandshakeRefused(
            f"the certificate of the caller is {found}, of cluster {found.cluster!r}, and this is cluster {cluster!r}; "
            "use a certificate of this cluster",
            code=WRONG_CERTIFICATE,
        )
    if found.role not in roles:
        raise HandshakeRefused(
            f"the certificate of the caller is {found}, and this port is for {' and '.join(sorted(roles))} "
            "certificates only; use the other port of the silo, or another certificate",
            code=WRONG_CERTIFICATE,
        )
    return found
