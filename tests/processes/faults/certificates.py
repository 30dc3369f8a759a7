"""The certificates of a stage with TLS: a linked folder for each silo and for the load, and a list of revocations."""

from __future__ import annotations

from pathlib import Path

from grange.security.authority import IssuedPair
from grange.testing.certificates import CertificateAuthority
from tests.security.linked_pair import LinkedPair

CLIENT = "load"


class Certificates:
    """`pairs` by the name of the silo, and `CLIENT` for the load, which is an admin, so that it may ask."""

    def __init__(self, folder: Path, cluster: str) -> None:
        self.authority = CertificateAuthority(cluster)
        self.pairs: dict[str, LinkedPair] = {}
        self._folder = folder
        self._issued: dict[str, IssuedPair] = {}
        self._ca = self.authority.ca
        self._revoked = folder / "revoked.txt"
        folder.mkdir(parents=True)
        self._revoked.write_text("")
        self._add(CLIENT)

    def environment(self, name: str) -> dict[str, str]:
        """The table `[tls]` of this silo."""
        if name not in self.pairs:
            self._add(name)
        table = self.pairs[name].table() | {"revoked": str(self._revoked)}
        return {f"GRANGE_TLS__{option.upper()}": value for option, value in table.items()}

    def options(self) -> list[str]:
        """The options of commands that ask the silos."""
        return [word for option, path in self.pairs[CLIENT].table().items() for word in (f"--tls-{option}", path)]

    def write_all(self, issuer: CertificateAuthority | None, ca: bytes) -> None:
        """Certificates of this issuer (None: those of before) that trust these authorities."""
        self._ca = ca
        for name, pair in self.pairs.items():
            if issuer is not None:
                self._issued[name] = self._issue(issuer, name)
            pair.write(self._issued[name], ca)

    def thief(self) -> LinkedPair:
        """Another certificate of a client."""
        stolen = LinkedPair(self._folder / f"stolen-{len(list(self._folder.iterdir()))}")
        stolen.write(self.authority.client("stolen"), self._ca)
        return stolen

    def revoke(self, fingerprint: str) -> None:
        """Add a line to the list."""
        self._revoked.write_text(self._revoked.read_text() + fingerprint + "\n")

    def _add(self, name: str) -> None:
        self.pairs[name] = LinkedPair(self._folder / name)
        self._issued[name] = self._issue(self.authority, name)
        self.pairs[name].write(self._issued[name], self._ca)

    @staticmethod
    def _issue(issuer: CertificateAuthority, name: str) -> IssuedPair:
        return issuer.admin(CLIENT) if name == CLIENT else issuer.silo()
