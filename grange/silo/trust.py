"""The system target that answers which certificates a silo has, trusts, and sees on its connections."""

from __future__ import annotations

import asyncio

from grange.proto.acts import Level
from grange.proto.ids import SiloAddress
from grange.proto.management import encode
from grange.proto.trust import TRUST, PeerCertificate, Trust, TrustedCertificate
from grange.runtime.system_target import SystemTargets
from grange.security.certificate import Certificate
from grange.security.material import Material
from grange.security.pair import Described, describe_pem
from grange.silo.renewals import Renewals

MOST_PEERS = 500
"""Most certificates of peers in one answer."""


class TrustTarget:
    """The answer of one silo. `material`: None without TLS."""

    def __init__(self, address: SiloAddress, material: Material | None, renewals: Renewals) -> None:
        self._address = address
        self._material = material
        self._renewals = renewals

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system target."""
        targets.serve(TRUST, self._answer, Level.VIEWER)

    def trust(self) -> Trust:
        """What it has and sees now."""
        material = self._material
        if material is None:
            return Trust(self._address)
        pair, peers = material.current, self._peers()
        return Trust(
            self._address,
            tuple(map(_trusted, pair.chain)),
            tuple(map(_trusted, describe_pem(pair.ca, "ca"))),
            len(material.revocations),
            tuple(peers[:MOST_PEERS]),
            max(0, len(peers) - MOST_PEERS),
        )

    def _peers(self) -> list[PeerCertificate]:
        now = asyncio.get_running_loop().time()
        found: dict[Certificate, list[tuple[float, bool]]] = {}
        for standing in self._renewals.standings():
            if standing.certificate is not None:
                age = now - standing.accepted, standing.asked is not None
                found.setdefault(standing.certificate, []).append(age)
        rows = [
            PeerCertificate(
                each.uri, each.fingerprint, each.not_after, len(ages), max(ages)[0], sum(asked for _, asked in ages)
            )
            for each, ages in found.items()
        ]
        return sorted(rows, key=lambda row: -row.oldest)

    async def _answer(self, _: bytes) -> bytes:
        return encode(self.trust())


def _trusted(certificate: Described) -> TrustedCertificate:
    return TrustedCertificate(certificate.uri or certificate.subject, certificate.fingerprint, certificate.not_after)
