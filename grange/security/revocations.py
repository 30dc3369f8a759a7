"""Reads the list of revoked certificates: one SHA-256 fingerprint in each line. Pure."""

from __future__ import annotations

import re

from grange.errors import ConfigurationError

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


def parse_revocations(text: bytes, name: str) -> frozenset[str]:
    """The fingerprints of a file, in lower case without colons. `#` begins a comment.

    openssl's form is read, too: upper case, colons between the bytes, and the words before an equals sign. Raises
    ConfigurationError that names file and line: a list that is read in part would let a revoked certificate in.
    """
    try:
        lines = text.decode().splitlines()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{name} is not UTF-8 at byte {error.start}; write it anew") from None
    found: set[str] = set()
    for number, line in enumerate(lines, 1):
        entry = line.partition("#")[0].strip()
        fingerprint = entry.rpartition("=")[2].replace(":", "").strip().lower()
        if not entry:
            continue
        if not _FINGERPRINT.fullmatch(fingerprint):
            raise ConfigurationError(
                f"{name}, line {number}: {entry!r:.100} is no SHA-256 fingerprint, which has 64 hexadecimal digits; "
                "`grange certs show` and `openssl x509 -noout -fingerprint -sha256` print it"
            )
        found.add(fingerprint)
    return frozenset(found)
