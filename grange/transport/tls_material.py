"""Opens the files of TLS for a silo or client, looks at them while it runs, and publishes what happens to them.

Called by the start of a silo and of a client. The transports take the `Material` from them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from grange.clock import utc_now
from grange.observability.certificate_events import (
    CertificateExpires,
    CertificateRefused,
    CertificatesRevoked,
    CertificateTaken,
    RevocationsRefused,
)
from grange.observability.events import Event
from grange.observability.security_snapshot import CertificateSnapshot
from grange.security.material import KeyPair, Material
from grange.security.options import TlsOptions
from grange.security.pair import Described

DAY = 86_400.0


class PublishedReports:
    """Publishes each report about the files as an event. `publish` is that of a silo's `Events`, or of a client's."""

    def __init__(self, publish: Callable[[Event], None]) -> None:
        self._publish = publish

    def taken(self, pair: KeyPair) -> None:
        """MaterialReports: the event `certificate_taken`."""
        facts = pair.facts
        self._publish(CertificateTaken(facts.uri, facts.fingerprint, _date(facts.not_after)))

    def refused(self, problem: str, kept: KeyPair) -> None:
        """MaterialReports: the event `certificate_refused`."""
        self._publish(CertificateRefused(problem, _date(kept.facts.not_after)))

    def expires(self, certificate: Described, seconds: float) -> None:
        """MaterialReports: the event `certificate_expires`."""
        subject = certificate.uri or certificate.subject
        until = _date(certificate.not_after)
        self._publish(CertificateExpires(subject, certificate.fingerprint, until, seconds / DAY))

    def revoked(self, added: int, removed: int, total: int) -> None:
        """MaterialReports: the event `certificates_revoked`."""
        self._publish(CertificatesRevoked(added, removed, total))

    def revocations_refused(self, problem: str) -> None:
        """MaterialReports: the event `revocations_refused`."""
        self._publish(RevocationsRefused(problem))


@asynccontextmanager
async def open_material(
    options: TlsOptions,
    cluster: str,
    roles: Collection[str],
    publish: Callable[[Event], None],
    now: Callable[[], datetime] = utc_now,
) -> AsyncGenerator[Material]:
    """The material of `options`, looked at again and again until the `with` ends. See `Material.open`.

    Raises ConfigurationError at the start if the files cannot be used.
    """
    material = await Material.open(options, cluster, roles, PublishedReports(publish), now)
    task = asyncio.create_task(material.run(), name="grange-tls-material")
    try:
        yield material
    finally:
        task.cancel()
        await asyncio.wait([task])


def certificate_snapshot(material: Material) -> CertificateSnapshot:
    """The figures of the material."""
    own, *above = material.current.chain
    ends = min((each.not_after for each in above), default=own.not_after)
    return CertificateSnapshot(own.not_after, ends, material.taken, material.refusals, len(material.revocations))


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
