"""Certificates for tests: a small authority whose certificates silos and clients of grange accept.

Needs the package cryptography, which the extra `testing` installs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from grange.clock import utc_now
from grange.proto.identity import SpiffeId, server_name
from grange.security.authority import Authority, IssuedPair, Validity, write_pair
from grange.security.options import TlsOptions

DAY = timedelta(days=1)
YEAR = timedelta(days=365)


class CertificateAuthority:
    """An authority of one cluster. Two of them have different keys, so that neither trusts the other's certificates.

    `now` is the wall clock, such as `VirtualTime.utc_now`. `valid` is the life of its own certificate. With `parent`
    its certificate is signed by that authority, and the certificates that it issues carry it along.
    """

    def __init__(
        self,
        cluster: str = "default",
        now: Callable[[], datetime] = utc_now,
        valid: timedelta = YEAR,
        parent: CertificateAuthority | None = None,
    ) -> None:
        self.cluster = cluster
        self._now = now
        self._name: str = f"CA of {cluster}" if parent is None else f"{parent._name}, below"
        validity = Validity.of(now(), valid)
        self._authority = (
            Authority.root(self._name, validity) if parent is None else parent.sign_authority(self._name, validity)
        )

    def sign_authority(self, name: str, validity: Validity) -> Authority:
        """An authority below this one."""
        return self._authority.subordinate(name, validity)

    @property
    def ca(self) -> bytes:
        """The certificate of the root, PEM."""
        return self._authority.ca

    def bundle(self, *others: CertificateAuthority) -> bytes:
        """The roots of this authority and of others, PEM: who has it trusts both."""
        return b"".join([self.ca, *(each.ca for each in others)])

    def silo(self, valid: timedelta = DAY) -> IssuedPair:
        """A pair of a silo of the cluster."""
        return self.issue([str(SpiffeId(self.cluster, "silo"))], [server_name(self.cluster)], valid)

    def client(self, name: str, valid: timedelta = DAY) -> IssuedPair:
        """A pair of the client with this name."""
        return self.issue([str(SpiffeId(self.cluster, "client", name))], valid=valid)

    def admin(self, name: str, valid: timedelta = DAY) -> IssuedPair:
        """A pair of the admin with this name."""
        return self.issue([str(SpiffeId(self.cluster, "admin", name))], valid=valid)

    def issue(
        self,
        uris: Sequence[str] = (),
        names: Sequence[str] = (),
        valid: timedelta = DAY,
        not_before: datetime | None = None,
    ) -> IssuedPair:
        """A pair with any URIs and DNS names, also wrong ones. It is valid from five minutes ago or `not_before`."""
        now = self._now()
        validity = Validity.of(now, valid) if not_before is None else Validity(not_before, not_before + valid)
        return self._authority.issue(uris, names, validity)

    @staticmethod
    def write(folder: Path, pair: IssuedPair, ca: bytes | None = None) -> TlsOptions:
        """Write `tls.crt`, `tls.key` and `ca.crt` into a folder, and return the options that name them."""
        write_pair(folder, pair if ca is None else IssuedPair(pair.certificate, pair.key, ca))
        return TlsOptions(certificate=str(folder / "tls.crt"), key=str(folder / "tls.key"), ca=str(folder / "ca.crt"))
