"""Reads X.509 certificates (RFC 5280) and verifies pairs. With `authority.py` it is all that uses cryptography.

Imported by `pair.py` at the first use. What TLS itself does at a handshake is not repeated here: this is the check
before a pair is used, so that a wrong one is refused with a reason and not by each peer with none.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, Store, VerificationError

from grange.errors import ConfigurationError
from grange.proto.identity import parse_spiffe, server_name
from grange.security.certificate import Certificate
from grange.security.pair import LARGEST_PEM, MOST_CERTIFICATES, Described, PemFiles

CURVES = ("secp256r1", "secp384r1")
SHORTEST_RSA = 2048

_BEGIN = b"-----BEGIN CERTIFICATE-----"
_END = b"-----END CERTIFICATE-----"
_MALFORMED = (
    ValueError, TypeError, x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm, InvalidSignature,
    Warning,  # a program may turn cryptography's warnings about odd certificates into errors
)  # fmt: skip
"""What cryptography raises for certificates and keys that it does not read."""


def check_pair(files: PemFiles, cluster: str, roles: Collection[str], now: float) -> tuple[Described, ...]:
    """See `pair.check_pair`."""
    leaf, *between = _read(files.certificate, files.certificate_name)
    _check_key(leaf, files)
    own = _described(leaf, files.certificate_name)
    _check_identity(own, cluster, roles, files.certificate_name)
    _check_use(leaf, files.certificate_name, is_silo="silo" in roles)
    for each in (own, *(_described(one, files.certificate_name) for one in between)):
        _check_time(each, now, files.certificate_name)
    return _verified(leaf, between, files, now)


def describe_pem(pem: bytes, name: str) -> list[Described]:
    """See `pair.describe_pem`."""
    return [_described(each, name) for each in _read(pem, name)]


def peer_certificate(data: bytes) -> Certificate:
    """See `pair.peer_certificate`."""
    name = "the certificate of the peer"
    if data.startswith(b"-----"):
        certificate = _read(data, name)[0]
    else:
        try:
            certificate = x509.load_der_x509_certificate(data)
        except _MALFORMED as error:
            raise _malformed(name, error) from None
    found = _described(certificate, name)
    _check_uri(found, name)
    return found


def _read(pem: bytes, name: str) -> list[x509.Certificate]:
    """The certificates in a PEM text: all that begin in it, at least one."""
    if len(pem) > LARGEST_PEM:
        raise ConfigurationError(f"{name} is larger than {LARGEST_PEM} bytes: it is no file of certificates")
    begun, ended = pem.count(_BEGIN), pem.count(_END)
    if not begun:
        raise ConfigurationError(
            f"{name} holds no certificate in PEM: it has no line {_BEGIN.decode()}; convert it with openssl x509"
        )
    if begun != ended or begun > MOST_CERTIFICATES:
        problem = f"more than {MOST_CERTIFICATES} certificates" if begun == ended else "a certificate in part"
        raise ConfigurationError(
            f"{name} holds {problem}; write the whole file, best by renaming a new one to its name"
        )
    try:
        found = x509.load_pem_x509_certificates(pem)
    except _MALFORMED as error:
        raise _malformed(name, error) from None
    if len(found) != begun:
        raise ConfigurationError(f"{name} holds {begun} certificates, of which {len(found)} can be read; write it anew")
    return found


def _described(certificate: x509.Certificate, name: str) -> Described:
    try:
        return _facts(certificate)
    except _MALFORMED as error:
        raise _malformed(name, error) from None


def _facts(certificate: x509.Certificate) -> Described:
    uris: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    extensions = certificate.extensions
    for each in extensions:
        if isinstance(each.value, x509.SubjectAlternativeName):
            uris = tuple(each.value.get_values_for_type(x509.UniformResourceIdentifier))
            names = tuple(each.value.get_values_for_type(x509.DNSName))
    constraints = [each.value for each in extensions if isinstance(each.value, x509.BasicConstraints)]
    return Described(
        uri=uris[0] if len(uris) == 1 else "",
        names=names,
        fingerprint=certificate.fingerprint(SHA256()).hex(),
        serial=f"{certificate.serial_number:x}",
        issuer=certificate.issuer.rfc4514_string(),
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        subject=certificate.subject.rfc4514_string(),
        uris=uris,
        key=_kind(certificate.public_key()),
        is_authority=any(each.ca for each in constraints),
    )


def _kind(key: object) -> str:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    return f"RSA {key.key_size}" if isinstance(key, rsa.RSAPublicKey) else type(key).__name__.removesuffix("PublicKey")


def _check_kind(key: object, name: str) -> None:
    """BoringSSL, which gRPC uses, refuses the handshake for other keys."""
    is_curve = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES
    if not is_curve and not (isinstance(key, rsa.RSAPublicKey) and key.key_size >= SHORTEST_RSA):
        raise ConfigurationError(
            f"{name} has a key of the kind {_kind(key)}, which TLS of gRPC does not take; use EC P-256 or P-384, or "
            f"RSA of at least {SHORTEST_RSA} bits"
        )


def _check_key(leaf: x509.Certificate, files: PemFiles) -> None:
    _check_kind(leaf.public_key(), files.certificate_name)
    if len(files.key) > LARGEST_PEM:
        raise ConfigurationError(f"{files.key_name} is larger than {LARGEST_PEM} bytes: it is no file of a key")
    if b"ENCRYPTED" in files.key:
        raise ConfigurationError(
            f"{files.key_name} holds an encrypted key, and a silo has no pass phrase for it; store the key without one "
            "(openssl pkey) in a file that only the silo's user may read"
        )
    try:
        public = load_pem_private_key(files.key, None).public_key()
        ours = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        theirs = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except _MALFORMED:  # the reason may show a part of the key
        raise ConfigurationError(
            f"{files.key_name} holds no private key in PEM that can be read; write the one of {files.certificate_name}"
        ) from None
    if ours != theirs:
        raise ConfigurationError(
            f"{files.key_name} holds the key of another certificate than the first one in {files.certificate_name}; "
            "replace both together"
        )


def _check_uri(own: Described, name: str) -> str:
    if len(own.uris) != 1:
        found = f"has {len(own.uris)} URIs" if own.uris else "has no URI"
        raise ConfigurationError(
            f"{name} {found} in its subject alternative names, and needs one: spiffe://<cluster>/silo, "
            "spiffe://<cluster>/client/<name> or spiffe://<cluster>/admin/<name>"
        )
    return own.uris[0]


def _check_identity(own: Described, cluster: str, roles: Collection[str], name: str) -> None:
    uri = _check_uri(own, name)
    try:
        identity = parse_spiffe(uri)
    except ValueError as error:
        raise ConfigurationError(f"{name}: {error}") from None
    if identity.cluster != cluster:
        raise ConfigurationError(
            f"{name} belongs to the cluster {identity.cluster!r} ({uri}), and this one is {cluster!r}: use a "
            "certificate of this cluster, or set `cluster`"
        )
    if identity.role not in roles:
        raise ConfigurationError(
            f"{name} names a {identity.role} ({uri}), and is used as {' or '.join(sorted(roles))}: {_remedy(roles)}"
        )
    expected = server_name(cluster)
    if "silo" in roles and expected not in [each.lower() for each in own.names]:
        raise ConfigurationError(
            f"{name} has not the DNS name {expected!r} in its subject alternative names; its peers check that name in "
            "place of an address"
        )


def _remedy(roles: Collection[str]) -> str:
    if "silo" in roles:
        return "give the silo that of a silo"
    return "give a client its own by tls=, a command that of an admin by --tls-certificate and --tls-key"


def _check_use(leaf: x509.Certificate, name: str, is_silo: bool) -> None:
    needed = {ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth"}
    if is_silo:
        needed[ExtendedKeyUsageOID.SERVER_AUTH] = "serverAuth"
    for each in leaf.extensions:
        if isinstance(each.value, x509.ExtendedKeyUsage):
            uses = set(each.value)
            missing = [text for use, text in needed.items() if use not in uses]
            if missing and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in uses:
                raise ConfigurationError(
                    f"{name} may not be used for {' and '.join(missing)} (extended key usage): a silo needs serverAuth "
                    "and clientAuth, a client clientAuth"
                )


def _check_time(each: Described, now: float, name: str) -> None:
    subject = f"{name}: the certificate of {each.uri or each.subject}"
    if each.not_after <= now:
        raise ConfigurationError(f"{subject} has expired at {_date(each.not_after)}; renew it")
    if each.not_before > now:
        raise ConfigurationError(
            f"{subject} is not valid before {_date(each.not_before)}, and now is {_date(now)}; check the clock of this "
            "machine"
        )


def _verified(
    leaf: x509.Certificate, between: list[x509.Certificate], files: PemFiles, now: float
) -> tuple[Described, ...]:
    trusted = _read(files.ca, files.ca_name)
    signers = [_described(each, files.ca_name) for each in trusted]
    policy = PolicyBuilder().store(Store(trusted)).time(datetime.fromtimestamp(now, UTC).replace(tzinfo=None))
    ca_policy = (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _must_be_authority)
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _must_sign)
    )
    policy = policy.extension_policies(ca_policy=ca_policy, ee_policy=ExtensionPolicy.permit_all())
    try:
        chain = policy.build_client_verifier().verify(leaf, between).chain
    except (VerificationError, *_MALFORMED) as error:
        raise ConfigurationError(_unverified(leaf, between, files, signers, now, error)) from None
    return tuple(_described(each, files.certificate_name) for each in chain)


def _unverified(
    leaf: x509.Certificate,
    between: list[x509.Certificate],
    files: PemFiles,
    signers: list[Described],
    now: float,
    error: Exception,
) -> str:
    """Why the chain does not lead to the trusted authorities, and what to do."""
    known = {each.subject for each in signers}
    issuers = {each.issuer.rfc4514_string() for each in (leaf, *between)}
    start = f"{files.certificate_name} is not signed by an authority in {files.ca_name}"
    if not issuers & known:
        missing = leaf.issuer.rfc4514_string()
        return f"{start}: it was issued by {missing}, and that file has {', '.join(sorted(known))}; add the issuer's"
    over = [each for each in signers if each.subject in issuers and each.not_after <= now]
    if over:
        return f"{start} that is still valid: {over[0].subject} has expired at {_date(over[0].not_after)}; renew it"
    reason = " ".join(str(error).split()).partition(" (encountered")[0]
    if "signature does not match" in reason:
        return f"{start}: an authority in it has the name of the issuer, and another key; add the issuer's certificate"
    return f"{start}: {reason:.200}"


def _must_be_authority(_: Policy, certificate: x509.Certificate, constraints: x509.BasicConstraints) -> None:
    if not constraints.ca:
        raise ValueError(f"{certificate.subject.rfc4514_string()} is no authority: its basic constraints say CA:FALSE")


def _must_sign(_: Policy, certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError(f"the key usage of {certificate.subject.rfc4514_string()} has no keyCertSign")


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _malformed(name: str, error: Exception) -> ConfigurationError:
    reason = " ".join(str(error).split())
    return ConfigurationError(f"{name} holds a certificate that cannot be read ({reason:.200}); write it anew")
