"""What `grange certs check` finds in the files of TLS: the checks of a start, and what will be wrong soon."""

from __future__ import annotations

import enum
import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

from grange.errors import ConfigurationError
from grange.security.material import KeyPair, read_pair, read_revocations
from grange.security.options import TlsOptions
from grange.security.pair import Described, describe_pem
from grange.security.rotation import DAY, warning_time

_OF_OTHERS = 0o077


class Outcome(enum.StrEnum):
    """How good a finding is. `bad`: a silo would not start, or would refuse the files."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


class CertificateFinding(msgspec.Struct, frozen=True):
    """One check: its subject, its outcome, and what was found. `days`: until that certificate ends; None elsewhere."""

    check: str
    outcome: Outcome
    found: str
    days: float | None = None


def check_files(options: TlsOptions, cluster: str, roles: Collection[str], now: float) -> list[CertificateFinding]:
    """All checks of the files, in seconds since 1970. `roles` as `Material.open` takes them. Blocks; raises nothing."""
    return [*_pair(options, cluster, roles, now), *_key_file(options), *_authorities(options, now), *_revoked(options)]


def _pair(options: TlsOptions, cluster: str, roles: Collection[str], now: float) -> Iterator[CertificateFinding]:
    try:
        revocations = read_revocations(options)
    except ConfigurationError:
        revocations = frozenset[str]()  # `_revoked` tells it
    try:
        pair: KeyPair = read_pair(options, (cluster, roles), revocations, now)
    except ConfigurationError as error:
        yield CertificateFinding("pair", Outcome.BAD, str(error))
        return
    own = pair.facts
    yield CertificateFinding("pair", Outcome.OK, f"{own.uri}, signed by {own.issuer}, SHA-256 {own.fingerprint}")
    for each in pair.chain:
        yield _end("certificate" if each is own else "its authority", each, now)


def _end(check: str, certificate: Described, now: float) -> CertificateFinding:
    left = certificate.not_after - now
    outcome = Outcome.OK if left > warning_time(certificate) else Outcome.WARN if left > 0 else Outcome.BAD
    words = f"ends in {left / DAY:.1f} days" if left > 0 else f"has ended {-left / DAY:.1f} days ago"
    return CertificateFinding(check, outcome, f"{certificate.uri or certificate.subject} {words}", round(left / DAY, 2))


def _key_file(options: TlsOptions) -> Iterator[CertificateFinding]:
    try:
        mode = Path(options.key).stat().st_mode
    except OSError:
        return  # the pair tells it
    if mode & _OF_OTHERS and os.name == "posix":
        found = f"{options.key} may be read or written by other users (mode {stat.S_IMODE(mode):o}); chmod 600 it"
        yield CertificateFinding("key file", Outcome.WARN, found)
    else:
        yield CertificateFinding("key file", Outcome.OK, "only its user may read it")


def _authorities(options: TlsOptions, now: float) -> Iterator[CertificateFinding]:
    """Each authority in `ca`: one that has ended is of no use, and does no harm beside others."""
    try:
        trusted = describe_pem(Path(options.ca).read_bytes(), options.ca)
    except (OSError, ConfigurationError):
        return  # the pair tells it
    for each in trusted:
        if each.not_after <= now:
            yield CertificateFinding("ca", Outcome.WARN, f"{each.subject} has ended; remove it from {options.ca}")
        elif not each.is_authority:
            yield CertificateFinding("ca", Outcome.WARN, f"{each.subject} in {options.ca} is no authority; remove it")
        else:
            yield CertificateFinding("ca", Outcome.OK, f"{each.subject} is trusted, SHA-256 {each.fingerprint}")


def _revoked(options: TlsOptions) -> Iterator[CertificateFinding]:
    if not options.revoked:
        return
    try:
        count = len(read_revocations(options))
    except ConfigurationError as error:
        yield CertificateFinding("revoked", Outcome.BAD, str(error))
    else:
        yield CertificateFinding("revoked", Outcome.OK, f"{count} in {options.revoked}")
