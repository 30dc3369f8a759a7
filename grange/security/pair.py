"""Reads and checks a certificate with its key and the authorities that it needs; each refusal names file and remedy.

Called by `material.py` for each new content of the files, by the transports for the certificate of a peer, and by
`grange certs`. The work is done by `x509.py`, which is imported at the first use: it needs the package cryptography,
which is installed with the extra `tls`.
"""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from types import ModuleType
from typing import cast

import msgspec

from grange.errors import ConfigurationError
from grange.security.certificate import Certificate

LARGEST_PEM = 256 * 1024
"""Bytes of certificates in one file, or of a key: a bundle of a hundred authorities has less."""

MOST_CERTIFICATES = 200
"""Certificates in one file."""


class Described(Certificate, frozen=True, kw_only=True):
    """A certificate with the facts that people ask for.

    `subject` is its name for people, `uris` are all its URI SANs, `key` is the kind of its key, `is_authority` tells
    whether it may sign others.
    """

    subject: str = ""
    uris: tuple[str, ...] = ()
    key: str = ""
    is_authority: bool = False


class PemFiles(msgspec.Struct, frozen=True):
    """The content of the three files of a pair, PEM, and their names for messages."""

    certificate: bytes
    key: bytes
    ca: bytes
    certificate_name: str = "the certificate"
    key_name: str = "the key"
    ca_name: str = "the ca"

    def __repr__(self) -> str:
        return f"PemFiles({self.certificate_name!r}, {self.key_name!r}, {self.ca_name!r})"  # the key is a secret


def check_pair(files: PemFiles, cluster: str, roles: Collection[str], now: float) -> tuple[Described, ...]:
    """The chain of a pair that can be used: our certificate, those between, and the authority in `ca` that signed them.

    `cluster` and `roles` say which identities will do, `now` is in seconds since 1970. Raises ConfigurationError that
    names the file and the remedy: not PEM, a half-written file, an encrypted key, a key of another certificate, no URI
    SAN or several, another cluster or role, no DNS name of a silo, an unfit use, a time of validity that is over or
    has not come, a chain that does not lead to `ca`. Blocks for milliseconds.
    """
    return cast("tuple[Described, ...]", with_cryptography("x509").check_pair(files, cluster, roles, now))


def describe_pem(pem: bytes, name: str) -> list[Described]:
    """The certificates in a PEM text, in its order. `name` is its file. Raises ConfigurationError if there is none."""
    return cast("list[Described]", with_cryptography("x509").describe_pem(pem, name))


def peer_certificate(data: bytes) -> Certificate:
    """The facts of a peer's certificate, PEM or DER, whose chain TLS has verified.

    Raises ConfigurationError for one that names no process of grange: it has exactly one URI SAN, see `SpiffeId`.
    """
    return cast("Certificate", with_cryptography("x509").peer_certificate(data))


def with_cryptography(module: str) -> ModuleType:
    """A module of this room that needs cryptography. Raises ConfigurationError if that is not installed."""
    try:
        return import_module(f"grange.security.{module}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "cryptography":
            raise
        raise ConfigurationError(
            'TLS needs the package cryptography, which is not installed: pip install "cryptography>=45" '
            "(it is the extra 'tls' of grange)"
        ) from error
