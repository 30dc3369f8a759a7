"""Pairs of certificate and key for tests of transports, without files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from grange.security.authority import IssuedPair, write_pair
from grange.security.material import KeyPair
from grange.security.pair import describe_pem
from grange.testing.certificates import CertificateAuthority
from grange.transport.tls import Tls

CLUSTER = "test"


def key_pair(pair: IssuedPair, ca: bytes = b"", number: int = 1) -> KeyPair:
    """The pair as a transport uses it. It is not checked, so that wrong ones can be used."""
    return KeyPair(pair.certificate, pair.key, ca or pair.ca, tuple(describe_pem(pair.certificate, "tls.crt")), number)


class StaticMaterial:
    """The material of a process, in memory: a test may set another pair and revoke certificates."""

    def __init__(self, pair: KeyPair) -> None:
        self.current = pair
        self.revoked: set[str] = set()
        self._callbacks: list[Callable[[KeyPair], None]] = []

    def is_revoked(self, fingerprint: str) -> bool:
        return fingerprint in self.revoked

    def on_change(self, callback: Callable[[KeyPair], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback) if callback in self._callbacks else None

    def change(self, pair: KeyPair) -> None:
        """Use another pair from now on."""
        self.current = pair
        for each in self._callbacks:
            each(pair)


class Pairs:
    """An authority, and TLS with certificates of it."""

    def __init__(self, cluster: str = CLUSTER) -> None:
        self.cluster = cluster
        self.authority = CertificateAuthority(cluster)
        self.refused: list[tuple[str, str]] = []

    def silo(self, *, required: bool = True) -> Tls:
        return self.tls(self.authority.silo(), required=required)

    def client(self, name: str = "web", *, required: bool = True) -> Tls:
        return self.tls(self.authority.client(name), required=required)

    def tls(self, pair: IssuedPair, ca: bytes = b"", *, required: bool = True) -> Tls:
        """TLS with any pair that trusts these authorities, by default its own."""
        material = StaticMaterial(key_pair(pair, ca))
        return Tls(material, self.cluster, required=required, on_refused=self._on_refused)

    def _on_refused(self, word: str, text: str) -> None:
        self.refused.append((word, text))


class StoredPairs(Pairs):
    """Gives silos the pair in a folder, as `store` has written it, for another process of a test."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    @staticmethod
    def store(pairs: Pairs, folder: Path) -> None:
        write_pair(folder, pairs.authority.silo())

    def silo(self, *, required: bool = True) -> Tls:
        names = ("tls.crt", "tls.key", "ca.crt")
        return self.tls(IssuedPair(*((self._folder / name).read_bytes() for name in names)), required=required)
