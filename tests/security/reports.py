"""What the material of TLS has reported, for tests."""

from __future__ import annotations

from grange.security.material import KeyPair
from grange.security.pair import Described


class Kept:
    """Keeps all reports as texts and numbers."""

    def __init__(self) -> None:
        self.pairs: list[KeyPair] = []
        self.problems: list[str] = []
        self.ends: list[tuple[str, float]] = []
        self.revocations: list[tuple[int, int, int]] = []
        self.list_problems: list[str] = []

    def taken(self, pair: KeyPair) -> None:
        self.pairs.append(pair)

    def refused(self, problem: str, kept: KeyPair) -> None:
        self.problems.append(problem)

    def expires(self, certificate: Described, seconds: float) -> None:
        self.ends.append((certificate.uri or certificate.subject, seconds))

    def revoked(self, added: int, removed: int, total: int) -> None:
        self.revocations.append((added, removed, total))

    def revocations_refused(self, problem: str) -> None:
        self.list_problems.append(problem)
