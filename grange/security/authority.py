"""A small certificate authority: it issues the certificates of `grange certs dev` and of tests. It is no service.

Keys are EC P-256. Each certificate has one URI SAN, the identity, and the DNS name that peers of a silo expect.

Needs the package cryptography; import it as `certificate.py` does where it may be absent.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CLOCK_SKEW = timedelta(minutes=5)
"""How long before now a certificate begins to be valid, for machines whose clocks are behind."""

LONGEST_COMMON_NAME = 64
"""Characters of a common name (RFC 5280, upper bound ub-common-name). A longer one is cut: the URI is the identity."""


class IssuedPair(msgspec.Struct, frozen=True):
    """A certificate with those of the authorities between it and the root, its key, and the roots to trust: all PEM."""

    certificate: bytes
    key: bytes
    ca: bytes

    def __repr__(self) -> str:
        return "IssuedPair(…)"  # the key is a secret


class Validity(msgspec.Struct, frozen=True):
    """When a certificate begins and ceases to be valid."""

    not_before: datetime
    not_after: datetime

    @classmethod
    def of(cls, now: datetime, length: timedelta) -> Validity:
        """From now on, for this long."""
        return cls(now - CLOCK_SKEW, now + length)


class Authority:
    """The certificate and the key of an authority. `above` are those that signed it, without the root.

    The nearest is the first. `Authority.root` makes one that signs itself, `subordinate` one that this one signs.
    """

    def __init__(
        self,
        certificate: x509.Certificate,
        key: ec.EllipticCurvePrivateKey,
        root: x509.Certificate,
        above: Sequence[x509.Certificate] = (),
    ) -> None:
        self._certificate = certificate
        self._key = key
        self._root = root
        self._above = tuple(above)

    @classmethod
    def root(cls, name: str, validity: Validity) -> Authority:
        """A new root, with a key of its own."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name)
        certificate = _authority_certificate(subject, subject, key.public_key(), validity, key)
        return cls(certificate, key, certificate)

    def subordinate(self, name: str, validity: Validity) -> Authority:
        """A new authority whose certificate this one signs."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = self._certificate.subject
        certificate = _authority_certificate(_name(name), issuer, key.public_key(), validity, self._key)
        above = () if self._certificate is self._root else (self._certificate, *self._above)
        return Authority(certificate, key, self._root, above)

    @property
    def ca(self) -> bytes:
        """The root, PEM: what the others trust."""
        return _pem(self._root)

    @property
    def key(self) -> bytes:
        """The key of this authority, PEM. With it anything can be signed: it belongs to no silo."""
        return _key_pem(self._key)

    def issue(self, uris: Sequence[str], names: Sequence[str], validity: Validity) -> IssuedPair:
        """A certificate with these URI SANs and DNS names, for both ends of a connection, and a new key."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = [*map(x509.UniformResourceIdentifier, uris), *map(x509.DNSName, names)]
        common_name = (uris or names or ("unnamed",))[0].rpartition("://")[2]
        builder = _builder(_name(common_name), self._certificate.subject, key.public_key(), validity)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(authority=False), critical=True)
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(both), critical=False)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        builder = builder.add_extension(_signed_by(self._key.public_key()), critical=False)
        chain = () if self._certificate is self._root else (self._certificate, *self._above)
        pems = [_pem(each) for each in (builder.sign(self._key, SHA256()), *chain)]
        return IssuedPair(b"".join(pems), _key_pem(key), self.ca)


def _authority_certificate(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    validity: Validity,
    signer: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    return (
        _builder(subject, issuer, public, validity)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(_signed_by(signer.public_key()), critical=False)
        .sign(signer, SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, validity: Validity
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.not_before)
        .not_valid_after(validity.not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _signed_by(public: ec.EllipticCurvePublicKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(public)


def _key_usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:LONGEST_COMMON_NAME])])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write_pair(folder: Path, pair: IssuedPair) -> None:
    """Write `tls.crt`, `tls.key` and `ca.crt`, the names of Kubernetes, into a folder, which is made if need be.

    Each file takes the place of an earlier one at once. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, content, mode in (
        ("ca.crt", pair.ca, 0o644), ("tls.key", pair.key, 0o600), ("tls.crt", pair.certificate, 0o644),
    ):  # fmt: skip
        write_file(folder / name, content, mode)


def write_file(path: Path, content: bytes, mode: int) -> None:
    """Write a file with this mode, under another name first. Raises OSError."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    draft.replace(path)
