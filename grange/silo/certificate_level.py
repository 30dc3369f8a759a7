"""The level in management that the certificate of a client gives."""

from __future__ import annotations

from grange.proto.acts import Level
from grange.proto.identity import parse_spiffe
from grange.security.certificate import Certificate


def level_of_certificate(certificate: Certificate | None) -> Level:
    """ADMIN for `spiffe://<cluster>/admin/<name>`, else NONE. The cluster was checked when the connection began."""
    if certificate is None:
        return Level.NONE
    try:
        role = parse_spiffe(certificate.uri).role
    except ValueError:
        return Level.NONE
    return Level.ADMIN if role == "admin" else Level.NONE
