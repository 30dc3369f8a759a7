"""The files of one process in a folder as Kubernetes makes it: each change swaps one link to another folder."""

from __future__ import annotations

import itertools
from pathlib import Path

from grange.security.authority import IssuedPair, write_pair
from grange.security.pair import describe_pem

NAMES = {"certificate": "tls.crt", "key": "tls.key", "ca": "ca.crt"}


class LinkedPair:
    """`fingerprint` is that of the certificate which the files have now."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fingerprint = ""
        self._numbers = itertools.count(1)
        folder.mkdir(parents=True)

    def write(self, pair: IssuedPair, ca: bytes) -> None:
        """Replace all files at once."""
        new = self.folder / f"..{next(self._numbers)}"
        write_pair(new, IssuedPair(pair.certificate, pair.key, ca))
        self._swap(new)
        self.fingerprint = describe_pem(pair.certificate, "tls.crt")[0].fingerprint

    def write_half(self, pair: IssuedPair, ca: bytes) -> None:
        """Have a certificate and a key that do not fit, as between two writes."""
        before = (self.folder / "tls.key").read_bytes()
        new = self.folder / f"..{next(self._numbers)}"
        write_pair(new, IssuedPair(pair.certificate, before, ca))
        self._swap(new)

    def table(self) -> dict[str, str]:
        """The options that name the files."""
        return {option: str(self.folder / name) for option, name in NAMES.items()}

    def _swap(self, new: Path) -> None:
        link = self.folder / "..new"
        link.symlink_to(new.name)
        link.rename(self.folder / "..data")
        for name in NAMES.values():
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(Path("..data") / name)
