"""The events about certificates, one declaration each; see `catalogue.py`. Silos publish them, clients log them."""

from __future__ import annotations

from logging import ERROR, INFO, WARNING

from grange.observability.events import Event


class CertificateTaken(Event, frozen=True):
    """The files hold a new certificate, and connections use it from now on."""

    NAME, LEVEL, LOGGER = "certificate_taken", INFO, "security"
    SENTENCE = "{me} uses the certificate {fingerprint} of {uri}, which is valid until {until}"
    uri: str
    fingerprint: str
    until: str


class CertificateRefused(Event, frozen=True):
    """The files hold a certificate that cannot be used. The last good one stays in use."""

    NAME, LEVEL, LOGGER = "certificate_refused", ERROR, "security"
    SENTENCE = "{me} keeps the certificate that is valid until {until}: {problem}"
    KEY = ("problem",)
    problem: str
    until: str


class CertificateExpires(Event, frozen=True):
    """A certificate that this process needs ends soon, or has ended: its own, or an authority's above it."""

    NAME, LEVEL, LOGGER = "certificate_expires", ERROR, "security"
    SENTENCE = "{me} needs a new certificate: that of {subject} is valid until {until}, {days:.1f} days from now"
    KEY = ("fingerprint",)
    subject: str
    fingerprint: str
    until: str
    days: float


class CertificatesRevoked(Event, frozen=True):
    """The list of revoked certificates has changed. Connections with one of them are closed."""

    NAME, LEVEL, LOGGER = "certificates_revoked", WARNING, "security"
    SENTENCE = "{me} refuses {total:revoked certificate/}: {added} added to the list, {removed} removed from it"
    added: int
    removed: int
    total: int


class RevocationsRefused(Event, frozen=True):
    """The list of revoked certificates cannot be read. The last one that could be read stays in use."""

    NAME, LEVEL, LOGGER = "revocations_refused", ERROR, "security"
    SENTENCE = "{me} keeps the list of revoked certificates that it has: {problem}"
    KEY = ("problem",)
    problem: str


class ConnectionCut(Event, frozen=True):
    """A silo has cut the connection of a peer, because its certificate is revoked or has expired, or it is too old."""

    NAME, LEVEL, LOGGER = "connection_cut", WARNING, "security"
    SENTENCE = "{me} cut the connection of {peer} ({uri}): {problem}"
    KEY = ("uri", "problem")
    peer: str
    uri: str
    problem: str


class ConnectionKept(Event, frozen=True):
    """A connection is to be replaced by another one, and that cannot be opened. The old one stays in use."""

    NAME, LEVEL, LOGGER = "connection_kept", WARNING, "security"
    SENTENCE = "{me} keeps its connection to {silo}, because another one cannot be opened: {problem}"
    KEY = ("silo",)
    silo: str
    problem: str


class TlsRefused(Event, frozen=True):
    """A port of this silo refused a peer because of TLS or of its certificate."""

    NAME, LEVEL, LOGGER = "tls_refused", WARNING, "security"
    SENTENCE = "{me} refused a connection ({reason}): {problem}"
    KEY = ("reason",)
    reason: str
    problem: str
