"""The metrics of certificates, TLS, the audit and secrets; see `metrics.py`. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from grange.observability.metric import at, by_name, counter, gauge
from grange.observability.snapshot import Snapshot


def _secret_reads(figures: Snapshot) -> Iterator[tuple[tuple[str, ...], int]]:
    for outcome, counts in (("ok", figures.secrets.read), ("failed", figures.secrets.failed)):
        for source, count in counts.items():
            yield (source, outcome), count


def _certificates(figures: Snapshot) -> list[tuple[tuple[str, ...], float]]:
    """Nothing without TLS."""
    ends = figures.certificate
    if not ends.ends:
        return []
    return [(("own",), ends.ends - figures.time), (("authority",), ends.authority_ends - figures.time)]


SECURITY = (
    gauge("certificate_expiry_seconds", "Time until this silo's certificate ends, and the first authority above it. "
           "Below 0: it has ended.", "certificate", _certificates),
    counter("certificates_taken", "New certificates that were used.", "", at("certificate.taken")),
    counter("certificates_refused", "New contents of the files that could not be used.", "",
             at("certificate.refused")),
    gauge("certificates_revoked", "Certificates in the list of revoked ones.", "", at("certificate.revoked")),
    gauge("plain_connections", "Open connections without TLS that this silo has accepted although it has TLS, by kind "
           "of peer. TLS may be required when it is 0.", "peer", by_name("tls.plain")),
    counter("plain_connections_accepted", "All of them since the start.", "peer", by_name("tls.accepted_plain")),
    counter("tls_refused", "Peers that a port refused because of TLS or of their certificate, by reason.", "reason",
             by_name("tls.refused")),
    counter("audit_rows", "Rows of the audit: acts, calls of `@audited` methods, denials.", "kind",
             by_name("audit.rows")),
    counter("audit_denials", "Refused calls, handshakes and questions, also those that the mode `audit` let through.",
             "kind", by_name("audit.denials")),
    counter("audit_suppressed", "Denials without a row: their caller had ten.", "", at("audit.suppressed")),
    gauge("audit_waiting", "Rows that are not in the table of the audit yet.", "", at("audit.waiting")),
    counter("audit_lost", "Rows that will not come into the table of the audit.", "", at("audit.lost")),
    counter("secret_reads", "Secrets that were read for connections and tokens, by source and outcome.",
             "source outcome", _secret_reads),
    gauge("secrets_unread", "Secrets that cannot be read now; their last good values are used.", "source",
           by_name("secrets.unread")),
    counter("secret_logins_refused", "Logins that a store refused, also after the secrets were read again.", "",
             at("secrets.refused")),
)  # fmt: skip
